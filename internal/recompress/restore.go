package recompress

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/plan"
)

// Fetch restores a source from its smaller form, for package recall.
//
// What has none is fault.NotFound. A file that the source does not come out of
// is fault.Internal; where it can't be restored now, as without libjxl, it is
// fault.Unavailable.
func (s *Service) Fetch(ctx context.Context, name string, digest asset.Digest, to blob.Landing) error {
	if !strings.HasPrefix(name, blob.SourcePrefix) {
		return fault.New(fault.NotFound, "there is no such blob")
	}
	err := s.fetch(ctx, digest, to)
	switch {
	case err == nil:
		s.stats.restored.Add(1)
	case !missing(err) && ctx.Err() == nil && !errors.As(err, new(*unread)):
		s.stats.failed.Add(1)
		if blob.IsDamage(err) {
			s.home.Forget(smallName(digest)) // it may have come here damaged
		}
		s.log.Error("a source could not be restored from JPEG XL", "source", digest, "error", err)
	}
	return err
}

func (s *Service) fetch(ctx context.Context, digest asset.Digest, to blob.Landing) error {
	file, err := s.restore(ctx, digest, Reader)
	if fault.Of(err) == fault.Timeout && ctx.Err() == nil { // the machine is busy; it was quick enough once
		file, err = s.restore(ctx, digest, Nobody)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(to, file); err != nil {
		return err
	}
	if got := asset.Digest(to.Sum()); got != digest {
		return other(digest, got)
	}
	return nil
}

// restore has a codec process restore a source. That can't tell whether it is
// the right one: the caller compares the digest.
func (s *Service) restore(ctx context.Context, d asset.Digest, urgency Urgency) (*os.File, error) {
	r, err := s.home.Store.Open(ctx, smallName(d))
	if err != nil {
		return nil, &unread{err}
	}
	defer r.Close()
	file, err := s.transcode(ctx, urgency, plan.ToJPEG, r)
	known := fault.As(err)
	switch {
	case known == nil || ctx.Err() != nil:
		return file, err
	case known.Kind == fault.TooLarge, known.Code == codeMemory: // settings were lowered since it was checked
		return nil, fault.Wrap(fault.Unavailable, err, "the source can't be restored from JPEG XL: %s", known.Message)
	case known.Kind == fault.Unprocessable:
		return nil, blob.Damage(err)
	}
	return nil, err
}

// unread is the error of a store that did not give the smaller form, which says
// nothing about it.
type unread struct{ error }

func (u *unread) Unwrap() error { return u.error }

// codeMemory is the pool's, for a picture that needs more than codec.memory_bytes.
const codeMemory = "needs-memory"

// same holds a restored source against its digest.
func same(r io.Reader, d asset.Digest) error {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return fault.Wrap(fault.Internal, err, "the codec's result can't be read")
	}
	if got := asset.Digest(h.Sum(nil)); got != d {
		return other(d, got)
	}
	return nil
}

// other is the error of a file that gives other bytes than its source had.
func other(d, got asset.Digest) error {
	return blob.Damage(fmt.Errorf("the JPEG XL file of %s gives bytes with the SHA-256 %s", d, got))
}
