package render

import (
	"bytes"
	"context"
	"io"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/options"
	"safelight/internal/plan"
)

// fromHome finds a rendition that is kept for good, and puts it into the
// caches; nil where there is none. One whose bytes can't be read is made anew.
func (s *Service) fromHome(ctx context.Context, key cache.Key) (*product, error) {
	if s.kept == nil {
		return nil, nil
	}
	kept, err := s.kept.KeptVariant(ctx, key.Variant)
	if err != nil {
		if fault.Of(err) == fault.NotFound {
			return nil, nil
		}
		return nil, err
	}
	p, err := s.load(ctx, kept.Rendition, key)
	if err != nil {
		s.log.Warn("a kept rendition can't be read; it is made anew", "variant", key.Variant, "sha256", kept.Digest, "error", err)
		return nil, nil
	}
	return p, nil
}

// load reads a rendition from the home store.
func (s *Service) load(ctx context.Context, meta asset.Rendition, key cache.Key) (*product, error) {
	r, err := s.home.Open(ctx, blob.RenditionName(meta.Digest.String()))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if meta.Bytes <= s.config.KeepInCache {
		data := make([]byte, meta.Bytes)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, fault.Wrap(fault.Internal, err, "the kept rendition is shorter than it should be")
		}
		s.keep(ctx, s.memory, key, meta, bytes.NewReader(data))
		s.share(ctx, key, meta, data)
		return &product{meta: meta, data: data, from: FromHome}, nil
	}
	filer, ok := r.(blob.Filer)
	if !ok {
		return nil, fault.New(fault.Internal, "the store does not keep local files")
	}
	f, err := filer.File()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the rendition could not be opened; try again")
	}
	p := newFileProduct(meta, f)
	p.from = FromHome
	return p, nil
}

// Make makes the rendition of an image for normalized options, or finds it in a
// cache, for nobody who waits: it gives way to those who do. The caller closes
// the entry. Without an Accept header the format is one that everybody reads.
func (s *Service) Make(ctx context.Context, img asset.Image, o options.Options) (*cache.Entry, error) {
	w, err := s.want(ctx, img, o, plan.Accept{})
	if err != nil {
		return nil, err
	}
	if entry, _, ok := s.cached(ctx, w.key); ok {
		return entry, nil
	}
	p, err := s.make(ctx, w, Unawaited)
	if err != nil {
		return nil, err
	}
	return p.entry()
}

// Identify tells which variant Make would make, and its format.
func (s *Service) Identify(ctx context.Context, img asset.Image, o options.Options) (asset.VariantKey, format.Format, error) {
	w, err := s.want(ctx, img, o, plan.Accept{})
	return w.key.Variant, w.options.Format, err
}

// Size tells how large the rendition of an image is in a format; with trim, what
// it is if nothing is cut off.
func (s *Service) Size(img asset.Image, o options.Options, f format.Format) (geom.Size, error) {
	o.Format, o.Auto = f, false
	var overlay *plan.Overlay
	if o.Watermark.Key != "" {
		overlay = &plan.Overlay{}
	}
	p, err := s.config.Plan.Render(o, img.Source.Header, overlay)
	return p.Out, err
}

// Lossless makes what Make would encode, as a PNG: what an encoder of higher
// effort starts from. The caller closes the file.
func (s *Service) Lossless(ctx context.Context, img asset.Image, o options.Options) (*Encoded, error) {
	w, err := s.want(ctx, img, o, plan.Accept{})
	if err != nil {
		return nil, err
	}
	return s.encode(ctx, w, Unawaited, func(save *plan.Save) { *save = plan.Save{Format: format.PNG, Effort: 1} })
}

// Optimized is a rendition that a search found, with what was measured.
type Optimized struct {
	Encoded
	Meta asset.Rendition // without the digest
}

// Optimize makes the rendition of an image for normalized options in a format
// (Unknown is that of Make) with the encoder and the setting that search finds.
// It gives way to those who wait. The caller closes the file.
func (s *Service) Optimize(ctx context.Context, img asset.Image, o options.Options, f format.Format, search plan.Search) (*Optimized, error) {
	if f != format.Unknown {
		o.Format, o.Auto = f, false
	}
	w, err := s.want(ctx, img, o, plan.Accept{})
	if err != nil {
		return nil, err
	}
	encoded, err := s.encode(ctx, w, Unawaited, func(save *plan.Save) { save.Search = &search })
	if err != nil {
		return nil, err
	}
	return &Optimized{Encoded: *encoded, Meta: w.meta(encoded)}, nil
}

// smallest is the format in which a client gets the smallest file of those that
// are kept of a rendition: of the main one, or an alternative to it. Unknown is
// told where nobody has compared them.
func (s *Service) smallest(ctx context.Context, main wanted, accept plan.Accept) (format.Format, error) {
	if s.kept == nil {
		return format.Unknown, nil
	}
	list, err := s.kept.AlternativesTo(ctx, main.key.Variant)
	if err != nil {
		return format.Unknown, err
	}
	for _, r := range list { // smallest first, and smaller than the main one
		if accept.Shows(r.Format) {
			return r.Format, nil
		}
	}
	if len(list) > 0 {
		return main.options.Format, nil
	}
	row, err := s.kept.KeptVariant(ctx, main.key.Variant)
	if fault.Of(err) == fault.NotFound || err == nil && !row.Compared() {
		return format.Unknown, nil
	}
	return main.options.Format, err
}

// Adopt puts a rendition into the caches in the place of the one of its variant,
// reading its bytes from f. Nobody waits for it.
func (s *Service) Adopt(ctx context.Context, meta asset.Rendition, f io.ReaderAt) {
	key := cache.Key{Source: meta.Source, Variant: meta.Variant}
	if meta.Bytes <= s.config.KeepInCache {
		s.keep(ctx, s.memory, key, meta, io.NewSectionReader(f, 0, meta.Bytes))
	}
	s.keep(ctx, s.disk, key, meta, io.NewSectionReader(f, 0, meta.Bytes))
	if s.shared != nil {
		s.keep(ctx, s.shared, key, meta, io.NewSectionReader(f, 0, meta.Bytes))
	}
}
