package publish

import (
	"context"
	"io"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Fetch brings back bytes from any of their confirmed publications, for package
// recall.
//
// What no confirmed publication has is fault.NotFound. Where none of those
// that do can be read it is fault.Unavailable, and fault.Internal where all
// have other bytes by now.
func (s *Service) Fetch(ctx context.Context, _ string, digest asset.Digest) (blob.Writer, int64, error) {
	published, err := s.records.Published(ctx, digest)
	if err != nil {
		return nil, 0, err
	}
	if len(published) == 0 {
		return nil, 0, fault.New(fault.NotFound, "there is no such blob")
	}
	var failed failures
	for _, p := range published {
		w, err := s.download(ctx, p)
		if err == nil {
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
