package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/scrub"
	"safelight/internal/task"
)

// Content is bytes for a worker or a client. It is for one goroutine.
type Content struct {
	io.ReadSeeker
	io.Closer
	Bytes  int64
	Type   string       // media type
	Digest asset.Digest // zero where it is not known
}

// Input is what a worker outside gets for a task: of the product's functions
// what they start from, and otherwise the original of the task's image (without
// its location), or the rendition that the task's input options describe.
func (s *Service) Input(ctx context.Context, t task.Task) (*Content, error) {
	img, ok, err := s.subject(ctx, t)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "the image of this task was deleted")
	}
	a, err := argsOf(t)
	if err != nil {
		return nil, err
	}
	switch t.Function {
	case Optimize:
		return s.losslessInput(ctx, img, a.Preset)
	case Publish:
		if _, err := s.Publish.Intended(ctx, img, a.Preset, a.Destination); err != nil {
			return nil, err // noted before the worker can have written anything
		}
		return s.exact(ctx, img, a.Preset)
	}
	if t.Input == "" {
		return s.original(ctx, img)
	}
	o, err := options.Parse(t.Input)
	if err != nil {
		return nil, err
	}
	entry, err := s.Render.Make(ctx, img, o.Normalize())
	if err != nil {
		return nil, err
	}
	return fromEntry(entry), nil
}

func fromEntry(e *cache.Entry) *Content {
	c := &Content{Closer: e, Bytes: e.Meta.Bytes, Type: e.Meta.Format.MIME(), Digest: e.Meta.Digest}
	if e.File != nil {
		c.ReadSeeker = io.NewSectionReader(e.File, 0, e.Meta.Bytes)
	} else {
		c.ReadSeeker = bytes.NewReader(e.Data)
	}
	return c
}

func (s *Service) losslessInput(ctx context.Context, img asset.Image, preset string) (*Content, error) {
	o, err := s.preset(preset)
	if err != nil {
		return nil, err
	}
	png, err := s.Render.Lossless(ctx, img, o)
	if err != nil {
		return nil, err
	}
	return &Content{ReadSeeker: io.NewSectionReader(png.File, 0, png.Bytes), Closer: png.File, Bytes: png.Bytes, Type: format.PNG.MIME()}, nil
}

// exact are the bytes that are published.
func (s *Service) exact(ctx context.Context, img asset.Image, preset string) (*Content, error) {
	digest, is := img.Source.Digest, img.Source.Header.Format
	name := blob.SourceName(digest.String())
	if preset != "" {
		row, err := s.Catalog.RenditionOf(ctx, img.Owner, img.ID, preset)
		if err != nil {
			return nil, err
		}
		digest, is = row.Digest, row.Format
		name = blob.RenditionName(digest.String())
	}
	return s.stored(ctx, name, digest, is.MIME())
}

func (s *Service) stored(ctx context.Context, name string, digest asset.Digest, media string) (*Content, error) {
	r, err := s.Home.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Content{ReadSeeker: r, Closer: r, Bytes: r.Info().Bytes, Type: media, Digest: digest}, nil
}

// original is the source without its location.
func (s *Service) original(ctx context.Context, img asset.Image) (*Content, error) {
	src := img.Source
	c, err := s.stored(ctx, blob.SourceName(src.Digest.String()), src.Digest, src.Header.Format.MIME())
	if err != nil || !src.Header.Location {
		return c, err
	}
	at, ok := c.ReadSeeker.(io.ReaderAt)
	if !ok {
		_ = c.Close()
		return nil, fault.New(fault.Internal, "the store's readers can't be read at a place")
	}
	patches, err := scrub.Plan(at, src.Bytes, src.Header.Format)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	c.ReadSeeker, c.Digest = scrub.NewReader(at, src.Bytes, patches), asset.Digest{}
	return c, nil
}

// TakeOutput stores what a worker uploads for a task. Until the task has it
// (by a report) it is swept after the grace time.
func (s *Service) TakeOutput(ctx context.Context, _ task.Task, body io.Reader) (task.Output, error) {
	w, err := s.Home.Create(ctx)
	if err != nil {
		return task.Output{}, err
	}
	defer w.Abort()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(body, s.MaxOutput+1))
	if err != nil {
		if fault.As(err) == nil {
			err = fault.Wrap(fault.Invalid, err, "the body broke off after %d bytes", n)
		}
		return task.Output{}, err
	}
	if n > s.MaxOutput {
		return task.Output{}, fault.Limit(fault.TooLarge, "ingest.max_file_bytes", s.MaxOutput, n, "the output is larger than %d bytes, the limit for one file", s.MaxOutput)
	}
	out := task.Output{Bytes: n, Type: mediaOf(w, n)}
	sum := h.Sum(nil)
	copy(out.Digest[:], sum)
	name := blob.OutputName(hex.EncodeToString(sum))
	if err := w.Commit(ctx, name); err != nil {
		return task.Output{}, err
	}
	return out, nil
}

// mediaOf tells a picture's media type from its bytes; anything else is bytes.
func mediaOf(r io.ReaderAt, size int64) string {
	if h, err := format.Probe(r, size); err == nil {
		return h.Format.MIME()
	}
	return "application/octet-stream"
}

// OpenOutput opens what a worker has uploaded for a task.
func (s *Service) OpenOutput(ctx context.Context, t task.Task) (*Content, error) {
	if t.Output == nil {
		return nil, fault.New(fault.NotFound, "this task has no output")
	}
	return s.stored(ctx, blob.OutputName(t.Output.Digest.String()), t.Output.Digest, t.Output.Type)
}
