package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Image is an image's metadata as JSON.
type Image struct {
	ID          string          `json:"id" doc:"Sorts by upload time"`
	Key         string          `json:"key,omitempty" doc:"The path that points at it"`
	Name        string          `json:"name" doc:"The client's file name, cleaned"`
	URL         string          `json:"url" doc:"Where it is shown"`
	Category    string          `json:"category,omitempty"`
	Tags        []string        `json:"tags"`
	Created     time.Time       `json:"created"`
	Format      string          `json:"format" enum:"jpeg,png,webp,gif,avif,heic,tiff"`
	Width       int             `json:"width" doc:"Pixels, upright"`
	Height      int             `json:"height" doc:"Pixels, upright"`
	Pages       int             `json:"pages"`
	Animated    bool            `json:"animated"`
	Alpha       bool            `json:"alpha"`
	Orientation int             `json:"orientation" doc:"Exif orientation of the stored pixels; already applied in width and height"`
	Bytes       int64           `json:"bytes"`
	SHA256      string          `json:"sha256"`
	Verified    bool            `json:"verified" doc:"Every pixel was decoded once"`
	ThumbHash   []byte          `json:"thumbhash,omitempty" doc:"Base64"`
	BlurHash    string          `json:"blurhash,omitempty"`
	PHash       string          `json:"phash,omitempty" doc:"64-bit perceptual hash, hexadecimal; near pictures differ in few bits"`
	Renditions  []RenditionInfo `json:"renditions,omitempty" doc:"Those in the disk cache now"`

	// Of one image only, not in listings.
	Presets   []PresetInfo      `json:"presets,omitempty" doc:"What is made of it beforehand, and how far it is"`
	Published []PublicationInfo `json:"published,omitempty" doc:"Where the original was published"`
	Local     *bool             `json:"local,omitempty" doc:"The original is in the home store; otherwise it has expired, and is fetched from a destination when somebody asks"`
	Source    *SourceInfo       `json:"source,omitempty" doc:"How the original is stored at home"`
	Tasks     []TaskRef         `json:"tasks,omitempty" doc:"Tasks about it, newest first"`
}

// SourceInfo tells how an original is stored in the home store.
type SourceInfo struct {
	Stored string `json:"stored" doc:"jxl: as JPEG XL, from which its very bytes are restored when somebody asks; otherwise its own format. Empty when it has expired"`
	Bytes  int64  `json:"stored_bytes" doc:"At rest"`
	Reason string `json:"reason,omitempty" doc:"Why it was not recompressed"`
}

// RenditionInfo describes a rendition that is kept.
type RenditionInfo struct {
	Options string    `json:"options" doc:"Canonical parameters"`
	Format  string    `json:"format"`
	Width   int       `json:"width"`
	Height  int       `json:"height"`
	Pages   int       `json:"pages"`
	Bytes   int64     `json:"bytes"`
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
}

func (s *Server) describe(img asset.Image) Image {
	h := img.Source.Header
	w, height := h.Upright()
	out := Image{
		ID: img.ID.String(), Key: img.Key, Name: img.Name, URL: s.urlOf(img), Category: img.Category, Tags: img.Tags, Created: img.Created,
		Format: h.Format.String(), Width: w, Height: height, Pages: max(h.Pages, 1), Animated: h.Animated, Alpha: h.Alpha, Orientation: max(h.Orientation, 1),
		Bytes: img.Source.Bytes, SHA256: img.Source.Digest.String(), Verified: img.Looks.Verified,
		ThumbHash: img.Looks.ThumbHash, BlurHash: img.Looks.BlurHash,
	}
	if out.Tags == nil {
		out.Tags = []string{}
	}
	if img.Looks.Verified {
		out.PHash = fmt.Sprintf("%016x", img.Looks.PHash)
	}
	return out
}

type imageID struct {
	ID string `path:"id" doc:"The image's id"`
}

type imageAnswer struct{ Body Image }

func (s *Server) getImage(ctx context.Context, in *imageID) (*imageAnswer, error) {
	id, err := s.Mint.Parse(in.ID)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	img, err := s.Catalog.Image(ctx, owner(ctx), id)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	out := s.describe(img)
	kept, err := s.Disk.List(ctx, img.Source.Digest)
	if err != nil {
		s.log.Warn("renditions can't be listed", "image", id, "error", err)
	}
	for _, r := range kept {
		if r.Options == "" { // a source that was recalled
			continue
		}
		out.Renditions = append(out.Renditions, RenditionInfo{
			Options: r.Options, Format: r.Format.String(), Width: r.Width, Height: r.Height, Pages: r.Pages, Bytes: r.Bytes,
			SHA256: r.Digest.String(), Created: r.Created,
		})
	}
	if err := s.made(ctx, img, &out); err != nil {
		return nil, s.problem(ctx, err)
	}
	return &imageAnswer{out}, nil
}

type listQuery struct {
	Cursor string `query:"cursor" doc:"next_cursor of the page before; empty for the newest images"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Prefix string `query:"prefix" doc:"Only images whose key starts with this"`
	Tag    string `query:"tag" doc:"Only images with this tag"`
	Key    string `query:"key" doc:"Only the image that this key points at; not beside the others"`
}

type listAnswer struct {
	Body struct {
		Images     []Image `json:"images"`
		NextCursor string  `json:"next_cursor,omitempty" doc:"Absent on the last page"`
	}
}

func (s *Server) listImages(ctx context.Context, in *listQuery) (*listAnswer, error) {
	if in.Key != "" {
		return s.listKey(ctx, in)
	}
	q := catalog.Query{Owner: owner(ctx), Prefix: in.Prefix, Tag: in.Tag, Limit: in.Limit}
	if in.Cursor != "" {
		id, err := s.Mint.Parse(in.Cursor)
		if err != nil {
			return nil, s.problem(ctx, fault.New(fault.Invalid, "cursor: expected the next_cursor of an earlier page"))
		}
		q.Before = id
	}
	page, err := s.Catalog.List(ctx, q)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	out := &listAnswer{}
	out.Body.Images = make([]Image, len(page.Images))
	for i, img := range page.Images {
		out.Body.Images[i] = s.describe(img)
	}
	if page.More && len(page.Images) > 0 {
		out.Body.NextCursor = page.Images[len(page.Images)-1].ID.String()
	}
	return out, nil
}

// listKey lists the image that a key points at, or none.
func (s *Server) listKey(ctx context.Context, in *listQuery) (*listAnswer, error) {
	if in.Prefix != "" || in.Tag != "" || in.Cursor != "" {
		return nil, s.problem(ctx, fault.New(fault.Invalid, "key: give it without prefix, tag and cursor"))
	}
	out := &listAnswer{}
	out.Body.Images = []Image{}
	img, err := s.Catalog.Resolve(ctx, owner(ctx), in.Key)
	switch {
	case err == nil:
		out.Body.Images = append(out.Body.Images, s.describe(img))
	case fault.Of(err) != fault.NotFound:
		return nil, s.problem(ctx, err)
	}
	return out, nil
}

func (s *Server) deleteImage(ctx context.Context, in *imageID) (*struct{}, error) {
	id, err := s.Mint.Parse(in.ID)
	if err == nil {
		err = s.Purge.Delete(ctx, owner(ctx), id)
	}
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	return nil, nil
}

// imageOperations registers the JSON interface to images.
func (s *Server) imageOperations(api huma.API) {
	huma.Register(api, s.operation(http.MethodGet, "/v1/images/{id}", "get-image", "An image's metadata and renditions", auth.Read), s.getImage)
	huma.Register(api, s.operation(http.MethodGet, "/v1/images", "list-images", "Images, newest first", auth.Read), s.listImages)
	s.fetchOperation(api)
	huma.Register(api, s.operation(http.MethodDelete, "/v1/images/{id}", "delete-image",
		"Deletes an image with its renditions; its source goes when no other image has it", auth.Upload), s.deleteImage)
}
