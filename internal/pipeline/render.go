package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/task"
	"safelight/internal/work"
)

// rendered is the result of render and optimize.
type renditionResult struct {
	Preset string        `json:"preset"`
	Format format.Format `json:"format"`
	Width  int           `json:"width"`
	Height int           `json:"height"`
	Bytes  int64         `json:"bytes"`
	SHA256 asset.Digest  `json:"sha256"`

	Before     int64   `json:"before,omitempty"` // bytes; optimize only
	Tried      int64   `json:"tried,omitempty"`  // bytes of a result that was no smaller, and is not used
	Encoder    string  `json:"encoder,omitempty"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`

	Scores       *quality.Scores `json:"scores,omitempty"`
	Alternatives []string        `json:"alternatives,omitempty"` // formats that were tried beside this one
}

func resultOf(r catalog.Rendition) renditionResult {
	return renditionResult{Preset: r.Preset, Format: r.Format, Width: r.Width, Height: r.Height, Bytes: r.Bytes, SHA256: r.Digest, Encoder: r.Encoder}
}

// render makes a preset's rendition with a fast encoder and keeps it.
func (s *Service) render(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, o, err := s.presetOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	img, ok, err := s.subject(ctx, r.Task)
	if err != nil || !ok {
		return orSkip(err, whyGone)
	}
	variant, _, err := s.Render.Identify(ctx, img, o)
	if err != nil {
		return work.Outcome{}, err
	}
	kept, err := s.kept(ctx, img, a.Preset, variant)
	if err != nil {
		return work.Outcome{}, err
	}
	if kept == nil {
		if kept, err = s.make(ctx, img, a.Preset, o); err != nil {
			return orGone(err)
		}
	}
	return s.afterRender(img, *kept), nil
}

// make makes a rendition, or finds it in a cache, and keeps it.
func (s *Service) make(ctx context.Context, img asset.Image, preset string, o options.Options) (*catalog.Rendition, error) {
	entry, err := s.Render.Make(ctx, img, o)
	if err != nil {
		return nil, err
	}
	defer entry.Close()
	fresh := catalog.Rendition{Image: img.ID, Preset: preset, Rendition: entry.Meta, FirstBytes: entry.Meta.Bytes}
	row, err := s.Catalog.RenditionOf(ctx, img.Owner, img.ID, preset)
	if err == nil && row.Variant == entry.Meta.Variant && row.Digest == entry.Meta.Digest {
		fresh = row // a cache still has the optimised one
	} else if known, err := s.Catalog.KeptVariant(ctx, entry.Meta.Variant); err == nil && known.Digest == entry.Meta.Digest && known.Encoder != "" {
		fresh = known // optimised for another image with the same source
		fresh.Image, fresh.Preset, fresh.Note = img.ID, preset, noteOf(known).alone().encode()
	}
	return &fresh, s.keep(ctx, img.Owner, &fresh, content(entry))
}

// afterRender publishes a rendition, and has it optimised.
func (s *Service) afterRender(img asset.Image, r catalog.Rendition) work.Outcome {
	next := s.publishTasks(img, r.Preset, r.Format)
	if s.optimizable(r) {
		next = append(next, s.optimizeTask(img.ID, r.Preset))
	}
	return work.Outcome{Result: resultOf(r), Next: own(img.Owner, next)}
}

// orSkip is an error, or the result of a task that has nothing to do.
func orSkip(err error, why string) (work.Outcome, error) {
	if err != nil {
		return work.Outcome{}, err
	}
	return skip(why)
}

// orGone is the outcome when a row could not be stored: the image may have been
// deleted, or rendered with other options, meanwhile.
func orGone(err error) (work.Outcome, error) {
	switch known := fault.As(err); fault.Of(err) {
	case fault.NotFound:
		return skip(whyGone)
	case fault.Conflict:
		return skip(known.Message)
	}
	return work.Outcome{}, err
}

// kept is the rendition of a preset if it is of a variant and its bytes are
// there, or at a destination; otherwise nil.
func (s *Service) kept(ctx context.Context, img asset.Image, preset string, variant asset.VariantKey) (*catalog.Rendition, error) {
	row, err := s.Catalog.RenditionOf(ctx, img.Owner, img.ID, preset)
	if fault.Of(err) == fault.NotFound || err == nil && row.Variant != variant {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	at, err := s.atHome(ctx, blob.RenditionName(row.Digest.String()))
	if err != nil || at {
		return &row, err
	}
	published, err := s.Catalog.Published(ctx, row.Digest)
	if err != nil || len(published) == 0 {
		return nil, err
	}
	return &row, nil
}

// content reads a cached rendition from its beginning.
func content(e *cache.Entry) io.Reader {
	if e.File != nil {
		return io.NewSectionReader(e.File, 0, e.Meta.Bytes)
	}
	return bytes.NewReader(e.Data)
}

// keep writes a rendition's bytes to the home store and its row to the catalog.
// It sets the digest and the length to what was written.
func (s *Service) keep(ctx context.Context, owner string, r *catalog.Rendition, body io.Reader) error {
	release, err := s.storeBytes(ctx, r, body)
	defer release()
	if err != nil {
		return err
	}
	return s.Catalog.PutRendition(ctx, owner, *r)
}

// rendered takes over a rendition that a worker outside has made.
func (s *Service) rendered(ctx context.Context, t task.Task, _ json.RawMessage) (work.Outcome, error) {
	a, o, err := s.presetOf(t)
	if err != nil {
		return work.Outcome{}, err
	}
	img, ok, err := s.subject(ctx, t)
	if err != nil || !ok {
		return orSkip(err, whyGone)
	}
	variant, want, err := s.Render.Identify(ctx, img, o)
	if err != nil {
		return work.Outcome{}, err
	}
	out, err := s.openOutput(ctx, t)
	if err != nil {
		return work.Outcome{}, err
	}
	defer out.Close()
	header, err := s.prove(ctx, out, t.Output.Bytes, func(h format.Header) error { return s.fits(img, o, want, h) })
	if err != nil {
		return work.Outcome{}, err
	}
	w, h := header.Upright()
	r := catalog.Rendition{Image: img.ID, Preset: a.Preset, FirstBytes: t.Output.Bytes, Rendition: asset.Rendition{
		Variant: variant, Source: img.Source.Digest, Options: o.Canonical(), Format: want, Width: w, Height: h, Pages: max(header.Pages, 1),
		Created: time.Now().UTC().Truncate(time.Second),
	}}
	if err := s.keep(ctx, img.Owner, &r, out); err != nil {
		return orGone(err)
	}
	s.show(ctx, img, r)
	return s.afterRender(img, r), nil
}

// fits refuses a rendition of another format or size than a preset's.
func (s *Service) fits(img asset.Image, o options.Options, want format.Format, h format.Header) error {
	if h.Format != want {
		return fault.New(fault.Unprocessable, "the output is %s; this preset's renditions are %s", h.Format, want)
	}
	size, err := s.Render.Size(img, o, want)
	if err != nil {
		return err
	}
	off := func(got, planned int) bool { return max(got-planned, planned-got) > 1 } // others round otherwise
	if w, height := h.Upright(); o.Trim == 0 && (off(w, size.W) || off(height, size.H)) {
		return fault.New(fault.Unprocessable, "the output is %d×%d px; this preset's rendition of the image is %d×%d px", w, height, size.W, size.H)
	}
	return nil
}

// prove refuses bytes that are no readable picture, or not the one that is
// expected by its header.
func (s *Service) prove(ctx context.Context, f blob.Reader, bytes int64, expected func(format.Header) error) (format.Header, error) {
	header, err := format.Probe(f, bytes)
	if err == nil {
		err = expected(header)
	}
	if err == nil && header.Location {
		err = fault.New(fault.Unprocessable, "the output carries a location; renditions carry no metadata")
	}
	if err != nil {
		return header, err
	}
	filer, ok := f.(blob.Filer)
	if !ok {
		return header, fault.New(fault.Internal, "the store does not keep local files")
	}
	file, err := filer.File()
	if err != nil {
		return header, fault.Wrap(fault.Unavailable, err, "the output could not be opened; try again")
	}
	defer file.Close()
	_, err = s.Codec.Inspect(ctx, plan.Inspect(header), file)
	return header, err
}

// show lets a kept rendition be served from now on: caches get it, and answers
// that were prepared with the one before are not given any more.
func (s *Service) show(ctx context.Context, img asset.Image, r catalog.Rendition) {
	b, err := s.Home.Open(ctx, blob.RenditionName(r.Digest.String()))
	if err != nil {
		s.Log.Warn("a kept rendition can't be put into the caches", "image", img.ID, "preset", r.Preset, "error", err)
		return
	}
	defer b.Close()
	s.Render.Adopt(ctx, r.Rendition, b)
	s.Purge.Epochs().Bump(img.Owner, img.ID.String())
	if img.Key != "" {
		s.Purge.Epochs().Bump(img.Owner, img.Key)
	}
}
