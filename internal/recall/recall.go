// Package recall brings bytes back that the home store does not have as they
// are: from the disk cache, and otherwise from where they can be fetched, which
// are asked in their order. However many ask for the same bytes at the same
// time, they are fetched once.
package recall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// Fetch puts the bytes of a name in the home store, which have a digest, into
// temporary space of that store, and tells how many they are. It has held them
// against the digest. What it has nothing of is fault.NotFound; the caller
// aborts the writer.
type Fetch func(ctx context.Context, name string, digest asset.Digest) (blob.Writer, int64, error)

// renditions finds what a rendition was made of.
type renditions interface {
	RenditionsWith(ctx context.Context, d asset.Digest) ([]catalog.Rendition, error)
}

// Service recalls. It is safe for concurrent use.
type Service struct {
	home       *blob.Home
	renditions renditions
	disk       cache.Cache
	log        *slog.Logger
	from       []Fetch
	flights    flights
}

// New makes a service that keeps what it has recalled in a cache, and asks the
// places in the order given.
func New(home *blob.Home, renditions renditions, disk cache.Cache, log *slog.Logger, from ...Fetch) *Service {
	return &Service{home: home, renditions: renditions, disk: disk, log: log, from: from}
}

// Open brings bytes back by their name in the home store; it is meant for
// blob.Home. The reader is a blob.Filer. What no place has is fault.NotFound;
// where those that have it fail, the error is that of the first failure which
// may pass, or else of the first.
func (s *Service) Open(ctx context.Context, name string) (blob.Reader, error) {
	digest, err := asset.ParseDigest(path.Base(name))
	if err != nil || name != blob.SourceName(digest.String()) && name != blob.RenditionName(digest.String()) {
		return nil, nowhere()
	}
	f := s.flights.join(ctx, name, func(ctx context.Context) (blob.Writer, int64, error) { return s.fetch(ctx, name, digest) })
	select {
	case <-f.done:
	case <-ctx.Done():
		s.flights.leave(f)
		return nil, canceled(ctx)
	}
	if f.err != nil {
		s.flights.leave(f)
		return nil, f.err
	}
	file, err := f.file()
	if err != nil {
		s.flights.leave(f)
		return nil, err
	}
	return &recalled{file: file, flight: f, flights: &s.flights, info: blob.Info{Name: name, Bytes: f.bytes, Modified: f.at}}, nil
}

func nowhere() error { return fault.New(fault.NotFound, "there is no such blob") }

// canceled classifies the end of a context.
func canceled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, ctx.Err(), "bringing the bytes back took too long")
	}
	return fault.Wrap(fault.Canceled, ctx.Err(), "the request was cancelled")
}

func (s *Service) fetch(ctx context.Context, name string, digest asset.Digest) (blob.Writer, int64, error) {
	key, err := s.key(ctx, name, digest)
	if err != nil {
		return nil, 0, err
	}
	if w, size, ok := s.cached(ctx, key, digest); ok {
		return w, size, nil
	}
	var failed []error
	for _, fetch := range s.from {
		w, size, err := fetch(ctx, name, digest)
		if err == nil {
			s.keep(ctx, key, digest, size, w)
			return w, size, nil
		}
		if ctx.Err() != nil {
			return nil, 0, err
		}
		if fault.Of(err) != fault.NotFound {
			failed = append(failed, err)
		}
	}
	return nil, 0, gather(failed)
}

// key names what is cached. A rendition goes under its source's name, so that it
// goes when the source does.
func (s *Service) key(ctx context.Context, name string, digest asset.Digest) (cache.Key, error) {
	source := digest
	if strings.HasPrefix(name, blob.RenditionPrefix) {
		uses, err := s.renditions.RenditionsWith(ctx, digest)
		if err != nil {
			return cache.Key{}, err
		}
		if len(uses) > 0 {
			source = uses[0].Source
		}
	}
	return cache.Key{Source: source, Variant: asset.Variant(digest, "recalled\x00"+name)}, nil
}

// gather makes one error of those of the places that failed.
func gather(failed []error) error {
	switch len(failed) {
	case 0:
		return nowhere()
	case 1:
		return failed[0]
	}
	worst := failed[0]
	for _, err := range failed {
		if fault.Retryable(err) {
			worst = err
			break
		}
	}
	message := "the bytes can't be brought back"
	if known := fault.As(worst); known != nil {
		message = known.Message
	}
	return fault.Wrap(fault.Of(worst), errors.Join(failed...), "%s", message)
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
	w, n, err := Spool(ctx, s.home, r, digest)
	if err != nil {
		s.log.Warn("what was recalled before can't be read", "error", err)
		return nil, 0, false
	}
	return w, n, true
}

// CodeDamaged is the code of an error: the bytes are not those of the digest.
const CodeDamaged = "damaged-bytes"

// Spool puts bytes into temporary space of the home store. Others than those of
// the digest are fault.Internal with CodeDamaged.
func Spool(ctx context.Context, home *blob.Home, r io.Reader, digest asset.Digest) (blob.Writer, int64, error) {
	w, err := home.Create(ctx)
	if err != nil {
		return nil, 0, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), r)
	if got := asset.Digest(h.Sum(nil)); err == nil && got != digest {
		err = &fault.Error{Kind: fault.Internal, Code: CodeDamaged, Message: "the stored bytes are damaged",
			Cause: fmt.Errorf("%d bytes with the SHA-256 %s instead of %s", n, got, digest)}
	}
	if err != nil {
		w.Abort()
		return nil, 0, err
	}
	return w, n, nil
}

// keep puts what was recalled into the disk cache, which may decline.
func (s *Service) keep(ctx context.Context, key cache.Key, digest asset.Digest, size int64, w blob.Writer) {
	meta := asset.Rendition{Bytes: size, Digest: digest, Created: time.Now().UTC().Truncate(time.Second)}
	if err := s.disk.Put(ctx, key, meta, io.NewSectionReader(w, 0, size)); err != nil {
		s.log.Warn("what was recalled could not be cached", "bytes", digest, "error", err)
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
