package postgres

import (
	"encoding/json"
	"slices"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// header is format.Header as it is stored; the names are part of the schema.
type header struct {
	Width       int    `json:"w"`
	Height      int    `json:"h"`
	Pages       int    `json:"pages,omitempty"`
	Orientation int    `json:"orient,omitempty"`
	Alpha       bool   `json:"alpha,omitempty"`
	Animated    bool   `json:"anim,omitempty"`
	Color       string `json:"color,omitempty"`
	Bands       int    `json:"bands,omitempty"`
	BitDepth    int    `json:"depth,omitempty"`
	ICC         bool   `json:"icc,omitempty"`
	Location    bool   `json:"gps,omitempty"`
	Scans       int    `json:"scans,omitempty"`
	Format      string `json:"format"`
	MaxPixels   int64  `json:"maxpx,omitempty"`
}

var colors = []string{format.RGB: "rgb", format.Gray: "gray", format.CMYK: "cmyk", format.Palette: "palette"}

func encodeHeader(h format.Header) (string, error) {
	if int(h.Color) >= len(colors) {
		return "", fault.New(fault.Internal, "the colour model %d can't be stored", h.Color)
	}
	text, err := json.Marshal(header{
		h.Width, h.Height, h.Pages, h.Orientation, h.Alpha, h.Animated, colors[h.Color],
		h.Bands, h.BitDepth, h.ICC, h.Location, h.Scans, h.Format.String(), h.MaxPixels,
	})
	return string(text), err
}

func decodeHeader(text []byte) (format.Header, error) {
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return format.Header{}, fault.Wrap(fault.Internal, err, "the database is damaged")
	}
	return format.Header{
		Format: format.Parse(h.Format), Width: h.Width, Height: h.Height, Pages: h.Pages,
		Orientation: h.Orientation, Alpha: h.Alpha, Animated: h.Animated,
		Color: format.Color(max(slices.Index(colors, h.Color), 0)),
		Bands: h.Bands, BitDepth: h.BitDepth, ICC: h.ICC, Location: h.Location, Scans: h.Scans,
		MaxPixels: h.MaxPixels,
	}, nil
}

// row is what of an image must be encoded.
type row struct {
	header    string
	tags      *string // JSON
	thumbHash []byte
}

func imageRow(img asset.Image) (row, error) {
	var r row
	var err error
	if r.header, err = encodeHeader(img.Source.Header); err != nil {
		return r, err
	}
	if len(img.Tags) > 0 {
		text, err := json.Marshal(img.Tags)
		if err != nil {
			return r, err
		}
		list := string(text)
		r.tags = &list
	}
	if len(img.Looks.ThumbHash) > 0 {
		r.thumbHash = img.Looks.ThumbHash
	}
	return r, nil
}

// asStored is the image as a later read gives it.
func asStored(img asset.Image) asset.Image {
	img.Created = fromMilli(img.Created.UnixMilli())
	if len(img.Tags) == 0 {
		img.Tags = nil
	}
	if len(img.Looks.ThumbHash) == 0 {
		img.Looks.ThumbHash = nil
	}
	return img
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// scanner is a pgx.Row or pgx.Rows.
type scanner interface{ Scan(...any) error }

// scanImage reads a row of imageColumns.
func scanImage(s scanner) (asset.Image, error) {
	var (
		img            asset.Image
		id, digest     []byte
		tags           *string
		head           string
		created, phash int64
	)
	err := s.Scan(&id, &img.Owner, &img.Key, &img.Name, &img.Category, &tags, &created,
		&img.Looks.Verified, &img.Looks.ThumbHash, &img.Looks.BlurHash, &phash, &digest, &img.Source.Bytes, &head)
	if err != nil {
		return asset.Image{}, err
	}
	if len(id) != len(img.ID) || len(digest) != len(img.Source.Digest) {
		return asset.Image{}, fault.New(fault.Internal, "the database is damaged")
	}
	copy(img.ID[:], id)
	copy(img.Source.Digest[:], digest)
	img.Created, img.Looks.PHash = fromMilli(created), uint64(phash)
	if tags != nil {
		if err := json.Unmarshal([]byte(*tags), &img.Tags); err != nil {
			return asset.Image{}, fault.Wrap(fault.Internal, err, "the database is damaged")
		}
	}
	img.Source.Header, err = decodeHeader([]byte(head))
	return img, err
}
