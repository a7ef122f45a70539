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
func (s *Service) Fetch(ctx context.Context, _ string, digest asset.Digest, to blob.Landing) error {
	published, err := s.records.Published(ctx, digest)
	if err != nil {
		return err
	}
	if len(published) == 0 {
		return fault.New(fault.NotFound, "there is no such blob")
	}
	var failed failures
	for _, p := range published {
		if err := to.Reset(); err != nil {
			return err
		}
		err := s.download(ctx, p, to)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed.add(p.Destination, err)
		s.log.Warn("a published object could not be recalled", "destination", p.Destination, "object", p.Name, "error", err)
	}
	return failed.err("the bytes lie at a destination which can't give them back now")
}

// download fetches and checks an object.
func (s *Service) download(ctx context.Context, p catalog.Publication, to io.Writer) error {
	d, err := s.destination(p.Destination)
	if err != nil {
		return err
	}
	r, err := d.Open(ctx, p.Name)
	if err != nil {
		return atDestination(err, "read from")
	}
	defer r.Close()
	return hashTo(ctx, to, r, p)
}
