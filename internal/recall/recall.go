// Package recall brings bytes back that the home store does not have as they
// are, from where they can be fetched: places are asked in their order. What was
// brought back is kept in a cache for a while. However many ask for the same
// bytes at the same time, they are fetched once.
package recall

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Fetch writes the bytes of a name in the home store, which have a digest. It
// need not hold them against it. What it has nothing of is fault.NotFound.
type Fetch func(ctx context.Context, name string, digest asset.Digest, to blob.Landing) error

// keeper keeps files, and fetches what it has not.
type keeper interface {
	Open(ctx context.Context, place, name string, fetch blob.Fetch) (blob.Reader, error)
}

// renditions finds what a rendition was made of.
type renditions interface {
	RenditionsWith(ctx context.Context, d asset.Digest) ([]catalog.Rendition, error)
}

// Service recalls. It is safe for concurrent use.
type Service struct {
	cache      keeper
	renditions renditions
	from       []Fetch
}

// New makes a service that keeps what it has recalled in a cache, and asks the
// places in the order given.
func New(cache keeper, renditions renditions, from ...Fetch) *Service {
	return &Service{cache: cache, renditions: renditions, from: from}
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
	source, err := s.source(ctx, name, digest)
	if err != nil {
		return nil, err
	}
	return s.cache.Open(ctx, Place(source), name, func(ctx context.Context, to blob.Landing) error {
		return s.fetch(ctx, name, digest, to)
	})
}

// Place is where in the cache lies what was recalled of a source.
func Place(source asset.Digest) string { return "recalled/" + source.String() }

func nowhere() error { return fault.New(fault.NotFound, "there is no such blob") }

func (s *Service) fetch(ctx context.Context, name string, digest asset.Digest, to blob.Landing) error {
	var failed []error
	for _, fetch := range s.from {
		if err := to.Reset(); err != nil {
			return err
		}
		err := fetch(ctx, name, digest, to)
		if err == nil {
			got := asset.Digest(to.Sum())
			if got == digest {
				return nil
			}
			err = blob.Damage(fmt.Errorf("%s came with the SHA-256 %s", name, got))
		}
		if ctx.Err() != nil {
			return err
		}
		if fault.Of(err) != fault.NotFound {
			failed = append(failed, err)
		}
	}
	return gather(failed)
}

// source is what a rendition was made of, so that what was recalled of it goes
// when its source does.
func (s *Service) source(ctx context.Context, name string, digest asset.Digest) (asset.Digest, error) {
	if !strings.HasPrefix(name, blob.RenditionPrefix) {
		return digest, nil
	}
	uses, err := s.renditions.RenditionsWith(ctx, digest)
	if err != nil || len(uses) == 0 {
		return digest, err
	}
	return uses[0].Source, nil
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
