package pipeline

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/work"
)

// missing are the formats in which alternatives to a rendition are still to be
// tried.
func (s *Service) missing(r catalog.Rendition) []format.Format {
	o := s.presets[r.Preset]
	if !s.builtin() || !o.Auto || o.Lossless || s.cannot(r) != "" {
		return nil
	}
	n := noteOf(r)
	if s.retargeted(r) {
		n.Formats = nil
	}
	var formats []format.Format
	for _, name := range s.config.Formats {
		f := format.Parse(name)
		if f != r.Format && !n.tried(f) && (r.Pages <= 1 || f.Animates()) {
			formats = append(formats, f)
		}
	}
	return formats
}

// addAlternatives makes a rendition in other formats, as good as the main one,
// and keeps those that are smaller. The result is the row, which says what was
// tried.
func (s *Service) addAlternatives(ctx context.Context, r *work.Run, img asset.Image, o options.Options, row catalog.Rendition, formats []format.Format) (catalog.Rendition, error) {
	kept, err := s.Catalog.AlternativesTo(ctx, row.Variant)
	if err != nil {
		return row, err
	}
	list := beside(kept, row, formats)
	seen := noteOf(row)
	for i, f := range formats {
		r.Progress(progressChecked+(100-progressChecked)*i/len(formats), "searching "+f.String())
		fresh, release, err := s.alternative(ctx, img, o, row, f, seen)
		if err != nil {
			return row, err
		}
		defer release()
		if fresh != nil {
			list = append(list, *fresh)
		}
		seen.Formats = append(seen.Formats, f.String())
	}
	if err := s.Catalog.PutAlternatives(ctx, img.Owner, row, list); err != nil {
		return row, err
	}
	row.Note = seen.encode()
	if err := s.Catalog.PutRendition(ctx, img.Owner, row); err != nil {
		return row, err
	}
	for _, fresh := range list {
		s.show(ctx, img, fresh)
	}
	return row, nil
}

// beside are those of the same image and preset in other formats than these.
func beside(list []catalog.Rendition, row catalog.Rendition, formats []format.Format) []catalog.Rendition {
	var own []catalog.Rendition
	for _, r := range list {
		if r.Image == row.Image && r.Preset == row.Preset && !slices.Contains(formats, r.Format) {
			own = append(own, r)
		}
	}
	return own
}

// alternative makes one; nil where it is no smaller, not good enough, or this
// installation can't make the format. Its bytes are safe from the sweep until
// release is called.
func (s *Service) alternative(ctx context.Context, img asset.Image, o options.Options, row catalog.Rendition, f format.Format, main note) (*catalog.Rendition, func(), error) {
	nothing := func() {}
	made, err := s.Render.Optimize(ctx, img, o, f, s.searchLike(main))
	switch fault.Of(err) {
	case fault.Unsupported, fault.Unprocessable, fault.Invalid: // too large for the format, say
		if err != nil {
			s.Log.Warn("an alternative can't be made", "image", img.ID, "preset", row.Preset, "format", f, "error", err)
			return nil, nothing, nil
		}
	}
	if err != nil {
		return nil, nothing, err
	}
	defer made.File.Close()
	n := noteFor(made)
	if n.missed() || made.Bytes >= row.Bytes {
		return nil, nothing, nil
	}
	n.Before = row.FirstBytes
	fresh := catalog.Rendition{Image: row.Image, Preset: row.Preset, Rendition: made.Meta, FirstBytes: row.FirstBytes, Encoder: n.Encoder, Note: n.encode()}
	release, err := s.storeBytes(ctx, &fresh, io.NewSectionReader(made.File, 0, made.Bytes))
	return &fresh, release, err
}

// searchLike looks for what is as good as the main rendition: for its target, or
// the configured one where it had none.
func (s *Service) searchLike(main note) plan.Search {
	search := plan.Search{Tier: quality.Tier(s.config.Tier), Targets: s.targets}
	if t, err := quality.ParseTargets(main.Target); err == nil {
		search.Targets = t
	}
	return search
}

// storeBytes writes a rendition's bytes to the home store, and sets the digest
// and the length to what was written. release lets the sweep look at them.
func (s *Service) storeBytes(ctx context.Context, r *catalog.Rendition, body io.Reader) (release func(), err error) {
	release = func() {}
	w, err := s.Home.Create(ctx)
	if err != nil {
		return release, err
	}
	defer w.Abort()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), body)
	if err != nil {
		return release, err
	}
	r.Bytes, r.Digest = n, asset.Digest(h.Sum(nil))
	name := blob.RenditionName(r.Digest.String())
	release = s.Home.Keep(name)
	if err := w.Commit(ctx, name); err != nil {
		return release, err
	}
	s.Home.Trust(name)
	return release, nil
}
