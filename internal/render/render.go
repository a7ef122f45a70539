// Package render answers with renditions: from memory, from disk, or made by a
// codec process, once however many ask for the same variant at the same time.
package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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
)

// Encoded is what a codec process made: bytes that nobody can change any more,
// in a file that lives until Close.
type Encoded struct {
	plan.Result
	File  *os.File
	Bytes int64
	CPU   time.Duration // of the codec process
}

// Urgency says whether somebody waits for a render.
type Urgency uint8

// The urgencies.
const (
	Awaited   Urgency = iota
	Unawaited         // gives way to those that are awaited
)

// renderer has a codec process carry out a job. The first input is the source.
type renderer interface {
	Render(ctx context.Context, urgency Urgency, job plan.Job, inputs ...*os.File) (*Encoded, error)
}

// keeper finds renditions that are kept for good; fault.NotFound is none.
type keeper interface {
	KeptVariant(ctx context.Context, v asset.VariantKey) (catalog.Rendition, error)
	AlternativesTo(ctx context.Context, main asset.VariantKey) ([]catalog.Rendition, error)
}

// Status says where a rendition came from.
type Status uint8

// The places, fastest first.
const (
	FromMemory Status = iota
	FromDisk
	Made
	Joined     // made for another request at the same time
	FromHome   // kept for good in the home store, or fetched back from a destination
	FromShared // in a cache that nodes share
)

// Service answers with renditions. It is safe for concurrent use.
type Service struct {
	config    Config
	revision  string
	home      *blob.Home
	catalog   catalog.Catalog
	kept      keeper
	memory    cache.Cache
	disk      cache.Cache
	codec     renderer
	log       *slog.Logger
	flights   flights[cache.Key, *product]
	admission *admission
	failed    *failures

	shared cache.Cache // nil without
	turns  Turns       // nil without
	slots  chan struct{}
}

// New makes a service over its parts.
func New(config Config, home *blob.Home, cat catalog.Catalog, kept keeper, memory, disk cache.Cache, codec renderer, log *slog.Logger) *Service {
	return &Service{
		config: config, revision: config.Plan.Revision(), home: home, catalog: cat, kept: kept, memory: memory, disk: disk,
		codec: codec, log: log, admission: newAdmission(config.Budget, config.Queue, config.QueueWait), failed: newFailures(),
	}
}

// Waiting is the number of renders that wait for admission now, and Refused
// that of those turned away since start.
func (s *Service) Waiting() int64 { return s.admission.waiting.Load() }

// Refused counts renders that were turned away since start.
func (s *Service) Refused() int64 { return s.admission.refused.Load() }

// wanted is a rendition that was asked for, with everything that decides what
// it is.
type wanted struct {
	img       asset.Image
	options   options.Options
	mark      *asset.Source // of the watermark, nil without
	canonical string
	key       cache.Key
}

// want works out which variant is meant. With format=auto it is the smallest
// that is kept for good, of those that the client accepts.
func (s *Service) want(ctx context.Context, img asset.Image, o options.Options, accept plan.Accept) (wanted, error) {
	auto := o.Auto
	main := s.config.Plan.Target(o, img.Source.Header, plan.Accept{})
	target := s.config.Plan.Target(o, img.Source.Header, accept)
	o.Auto = false
	o, mark, err := s.overlay(ctx, img.Owner, o)
	if err != nil {
		return wanted{}, err
	}
	if auto && accept != (plan.Accept{}) {
		f, err := s.smallest(ctx, s.in(img, o, mark, main), accept)
		if err != nil {
			return wanted{}, err
		}
		if f != format.Unknown {
			target = f
		}
	}
	return s.in(img, o, mark, target), nil
}

// in is what is wanted in a format.
func (s *Service) in(img asset.Image, o options.Options, mark *asset.Source, f format.Format) wanted {
	o.Format = f
	o = encodable(o)
	canonical := o.Canonical()
	key := cache.Key{Source: img.Source.Digest, Variant: asset.Variant(img.Source.Digest, canonical+"\x00"+s.revision)}
	return wanted{img, o, mark, canonical, key}
}

// meta describes what a codec process has made; the digest is still missing.
func (w *wanted) meta(e *Encoded) asset.Rendition {
	return asset.Rendition{
		Variant: w.key.Variant, Source: w.key.Source, Options: w.canonical, Format: w.options.Format,
		Width: e.Width, Height: e.Height, Pages: max(e.Pages, 1), Bytes: e.Bytes,
		Created: time.Now().UTC().Truncate(time.Second),
	}
}

// Rendition finds or makes the rendition of an image for normalized options.
// The caller closes the entry. The last caller to go away cancels the work.
func (s *Service) Rendition(ctx context.Context, img asset.Image, o options.Options, accept plan.Accept) (*cache.Entry, Status, error) {
	w, err := s.want(ctx, img, o, accept)
	if err != nil {
		return nil, 0, err
	}
	if entry, status, ok := s.cached(ctx, w.key); ok {
		return entry, status, nil
	}
	p, joined, err := s.flights.do(ctx, w.key, func(ctx context.Context) (*product, error) {
		ctx, cancel := context.WithTimeout(ctx, s.config.Deadline)
		defer cancel()
		if p, err := s.fromHome(ctx, w.key); p != nil || err != nil {
			return p, err
		}
		if err := s.failed.recall(w.key); err != nil {
			return nil, err
		}
		p, err := s.makeInTurn(ctx, w)
		if err != nil {
			s.failed.note(w.key, err)
			return nil, err
		}
		return p, nil
	})
	if err != nil {
		if ctx.Err() != nil && fault.As(err) == nil {
			err = fault.Wrap(fault.Canceled, err, "the client went away")
		}
		return nil, 0, err
	}
	entry, err := p.entry()
	switch {
	case err != nil:
		return nil, 0, err
	case joined:
		return entry, Joined, nil
	}
	return entry, p.from, nil
}

// encodable drops settings that the format does not have, so that they make no
// second variant.
func encodable(o options.Options) options.Options {
	switch o.Format {
	case format.PNG, format.GIF:
		o.Quality, o.Lossless = 0, false
	case format.JPEG:
		o.Lossless = false
	}
	return o
}

// cached looks through the levels; what is found on disk and small goes up
// into memory.
func (s *Service) cached(ctx context.Context, key cache.Key) (*cache.Entry, Status, bool) {
	if e, ok, _ := s.memory.Get(ctx, key); ok {
		return e, FromMemory, true
	}
	e, ok, err := s.disk.Get(ctx, key)
	if err != nil {
		s.log.Warn("disk cache", "error", err)
	}
	if !ok {
		e, ok = s.fromShared(ctx, key)
		return e, FromShared, ok
	}
	if e.File == nil || e.Meta.Bytes > s.config.KeepInCache {
		return e, FromDisk, true
	}
	data := make([]byte, e.Meta.Bytes)
	_, err = e.File.ReadAt(data, 0)
	_ = e.Close()
	if err != nil {
		s.log.Warn("disk cache", "error", err)
		return nil, 0, false
	}
	s.keep(ctx, s.memory, key, e.Meta, bytes.NewReader(data))
	return &cache.Entry{Meta: e.Meta, Data: data}, FromDisk, true
}

func (s *Service) keep(ctx context.Context, c cache.Cache, key cache.Key, meta asset.Rendition, body io.Reader) {
	if err := c.Put(ctx, key, meta, body); err != nil {
		s.log.Warn("a rendition could not be cached", "variant", key.Variant, "error", err)
	}
}

// overlay resolves the watermark to an image and puts its digest into the
// options in place of its key.
func (s *Service) overlay(ctx context.Context, owner string, o options.Options) (options.Options, *asset.Source, error) {
	if o.Watermark.Key == "" {
		return o, nil, nil
	}
	img, err := s.catalog.Resolve(ctx, owner, o.Watermark.Key)
	if fault.Of(err) == fault.NotFound {
		return o, nil, fault.New(fault.Invalid, "watermark: there is no image with the key %q", o.Watermark.Key)
	}
	if err != nil {
		return o, nil, err
	}
	o.Watermark.Key, o.Watermark.Digest = "", img.Source.Digest.String()
	return o, &img.Source, nil
}

// make plans, waits for admission, has the codec work, and keeps what comes.
func (s *Service) make(ctx context.Context, w wanted, urgency Urgency) (*product, error) {
	encoded, err := s.encode(ctx, w, urgency, nil)
	if err != nil {
		return nil, err
	}
	return s.finish(ctx, encoded, w.meta(encoded), w.key)
}

// encode plans, waits for admission and has the codec work; change, if not nil,
// changes the planned encoder.
func (s *Service) encode(ctx context.Context, w wanted, urgency Urgency, change func(*plan.Save)) (*Encoded, error) {
	var overlay *plan.Overlay
	if w.mark != nil {
		overlay = &plan.Overlay{Format: w.mark.Header.Format}
	}
	p, err := s.config.Plan.Render(w.options, w.img.Source.Header, overlay)
	if err != nil {
		return nil, err
	}
	cost := p.Cost
	if change != nil {
		change(p.Job.Save)
	}
	if search := p.Job.Save.Search; search != nil && search.Tier != quality.Fast {
		cost += searchBytes * int64(p.Out.W) * int64(p.Out.H)
	}
	if w.mark != nil {
		cost += w.mark.Header.Pixels() * 4
	}
	leave, err := s.admission.enter(ctx, cost, urgency)
	if err != nil {
		return nil, err
	}
	defer leave()
	inputs, err := s.open(ctx, &w.img.Source, w.mark)
	defer closeAll(inputs)
	if err != nil {
		return nil, err
	}
	return s.codec.Render(ctx, urgency, p.Job, inputs...)
}

// searchBytes is what measuring a pixel takes, about.
const searchBytes = 200

// open opens the sources afresh for one job.
func (s *Service) open(ctx context.Context, sources ...*asset.Source) ([]*os.File, error) {
	var files []*os.File
	for _, src := range sources {
		if src == nil {
			continue
		}
		r, err := s.home.Open(ctx, blob.SourceName(src.Digest.String()))
		if err != nil {
			if fault.Of(err) == fault.NotFound {
				err = fault.Wrap(fault.Internal, errors.Unwrap(err), "the source's bytes are missing from the store")
			}
			return files, err
		}
		filer, ok := r.(blob.Filer)
		if !ok {
			_ = r.Close()
			return files, fault.New(fault.Internal, "the store does not keep local files")
		}
		f, err := filer.File()
		_ = r.Close()
		if err != nil {
			return files, fault.Wrap(fault.Unavailable, err, "the source could not be opened; try again")
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// finish hashes the result and puts it into the caches.
func (s *Service) finish(ctx context.Context, e *Encoded, meta asset.Rendition, key cache.Key) (*product, error) {
	ctx = context.WithoutCancel(ctx) // what is made is kept, whoever left
	if meta.Bytes > s.config.KeepInCache {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(e.File, 0, e.Bytes)); err != nil {
			_ = e.File.Close()
			return nil, fmt.Errorf("read the codec's result: %w", err)
		}
		meta.Digest = asset.Digest(h.Sum(nil))
		s.keep(ctx, s.disk, key, meta, io.NewSectionReader(e.File, 0, e.Bytes))
		p := newFileProduct(meta, e.File)
		p.from = Made
		return p, nil
	}
	data := make([]byte, e.Bytes)
	_, err := e.File.ReadAt(data, 0)
	_ = e.File.Close()
	if err != nil {
		return nil, fmt.Errorf("read the codec's result: %w", err)
	}
	meta.Digest = sha256.Sum256(data)
	s.keep(ctx, s.memory, key, meta, bytes.NewReader(data))
	s.keep(ctx, s.disk, key, meta, bytes.NewReader(data))
	return &product{meta: meta, data: data, from: Made, shared: s.share(ctx, key, meta, data)}, nil
}
