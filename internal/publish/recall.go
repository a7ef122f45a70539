package publish

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Recall brings back bytes whose home copy has expired, by their name in the
// home store; it is meant for blob.Home. They come from the disk cache, or from
// a destination by way of it, and are held against their name first. However
// many ask for a name at the same time, it is fetched once; the reader is a
// blob.Filer.
//
// What no confirmed publication has is fault.NotFound. Where none of those
// that do can be read it is fault.Unavailable, and fault.Internal where all
// have other bytes by now.
func (s *Service) Recall(ctx context.Context, name string) (blob.Reader, error) {
	digest, err := asset.ParseDigest(path.Base(name))
	if err != nil || name != blob.SourceName(digest.String()) && name != blob.RenditionName(digest.String()) {
		return nil, nowhere()
	}
	f := s.recalls.join(ctx, name, func(ctx context.Context) (blob.Writer, int64, error) { return s.fetch(ctx, name, digest) })
	select {
	case <-f.done:
	case <-ctx.Done():
		s.recalls.leave(f)
		return nil, canceled(ctx)
	}
	if f.err != nil {
		s.recalls.leave(f)
		return nil, f.err
	}
	file, err := f.file()
	if err != nil {
		s.recalls.leave(f)
		return nil, err
	}
	return &recalled{file: file, flight: f, flights: &s.recalls, info: blob.Info{Name: name, Bytes: f.bytes, Modified: f.at}}, nil
}

func nowhere() error { return fault.New(fault.NotFound, "there is no such blob") }

// fetch puts the bytes of a name into temporary space of the home store.
func (s *Service) fetch(ctx context.Context, name string, digest asset.Digest) (blob.Writer, int64, error) {
	source := digest
	if strings.HasPrefix(name, blob.RenditionPrefix) {
		// Under its source's name, so that it goes when the source does.
		uses, err := s.records.RenditionsWith(ctx, digest)
		if err != nil {
			return nil, 0, err
		}
		if len(uses) > 0 {
			source = uses[0].Source
		}
	}
	key := cache.Key{Source: source, Variant: asset.Variant(digest, "recalled\x00"+name)}
	if w, size, ok := s.cached(ctx, key, digest); ok {
		return w, size, nil
	}
	published, err := s.records.Published(ctx, digest)
	if err != nil {
		return nil, 0, err
	}
	if len(published) == 0 {
		return nil, 0, nowhere()
	}
	var failed failures
	for _, p := range published {
		w, err := s.download(ctx, p)
		if err == nil {
			s.keep(ctx, key, p, w)
			return w, p.Bytes, nil
		}
		if ctx.Err() != nil {
			return nil, 0, err
		}
		failed.add(p.Destination, err)
		s.log.Warn("a published object could not be recalled", "destination", p.Destination, "object", p.Name, "error", err)
	}
	return nil, 0, failed.err("the bytes lie at a destination which can't give them back now")
}

// cached looks for what was recalled before.
func (s *Service) cached(ctx context.Context, key cache.Key, digest asset.Digest) (blob.Writer, int64, bool) {
	entry, ok, err := s.disk.Get(ctx, key)
	if err != nil {
		s.log.Warn("disk cache", "error", err)
	}
	if !ok {
		return nil, 0, false
	}
	defer entry.Close()
	r := io.Reader(bytes.NewReader(entry.Data))
	if entry.File != nil {
		r = io.NewSectionReader(entry.File, 0, entry.Meta.Bytes)
	}
	w, err := s.spool(ctx, r, catalog.Publication{Digest: digest, Bytes: entry.Meta.Bytes, Name: key.Variant.String(), Destination: "the disk cache"})
	if err != nil {
		s.log.Warn("what was recalled before can't be read", "error", err)
		return nil, 0, false
	}
	return w, entry.Meta.Bytes, true
}

// download fetches and checks an object.
func (s *Service) download(ctx context.Context, p catalog.Publication) (blob.Writer, error) {
	d, err := s.destination(p.Destination)
	if err != nil {
		return nil, err
	}
	r, err := d.Open(ctx, p.Name)
	if err != nil {
		return nil, atDestination(err, "read from")
	}
	defer r.Close()
	return s.spool(ctx, r, p)
}

// spool puts a publication's bytes, which are checked, into temporary space.
func (s *Service) spool(ctx context.Context, r io.Reader, p catalog.Publication) (blob.Writer, error) {
	w, err := s.home.Create(ctx)
	if err != nil {
		return nil, err
	}
	if err := hashTo(ctx, w, r, p); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// keep puts what was recalled into the disk cache, which may decline.
func (s *Service) keep(ctx context.Context, key cache.Key, p catalog.Publication, w blob.Writer) {
	meta := asset.Rendition{Bytes: p.Bytes, Digest: p.Digest, Created: time.Now().UTC().Truncate(time.Second)}
	if err := s.disk.Put(ctx, key, meta, io.NewSectionReader(w, 0, p.Bytes)); err != nil {
		s.log.Warn("what was recalled could not be cached", "object", p.Name, "error", err)
	}
}

// recalled reads what a flight has fetched. The flight's temporary file lives
// as long as its readers.
type recalled struct {
	file    *os.File // with an offset of its own
	flight  *flight
	flights *flights
	info    blob.Info
}

var (
	_ blob.Reader = (*recalled)(nil)
	_ blob.Filer  = (*recalled)(nil)
)

func (r *recalled) Read(p []byte) (int, error)                   { return r.file.Read(p) }
func (r *recalled) ReadAt(p []byte, off int64) (int, error)      { return r.file.ReadAt(p, off) }
func (r *recalled) Seek(offset int64, whence int) (int64, error) { return r.file.Seek(offset, whence) }
func (r *recalled) Info() blob.Info                              { return r.info }

// File implements blob.Filer.
func (r *recalled) File() (*os.File, error) { return r.flight.file() }

// Close implements io.Closer; it is for one call.
func (r *recalled) Close() error {
	err := r.file.Close()
	if !errors.Is(err, os.ErrClosed) {
		r.flights.leave(r.flight)
	}
	return err
}
