// Package recompress keeps JPEG sources in a smaller form, JPEG XL, from which a
// codec process restores their very bytes, and restores them when they are
// needed. The source goes only once its bytes have come back out of the file
// that was stored instead.
//
// What there is, the store alone tells: the file sources/D, the file
// recompressed/D, or both for a while. The catalog remembers what came of it.
package recompress

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

// Urgency says who waits for a transcoding.
type Urgency uint8

// Nobody waits for a source to be made smaller; a check must take no longer than
// a reader would wait, but goes after readers; Reader is one.
const (
	Nobody Urgency = iota
	Checking
	Reader
)

// Transcoder has a codec process carry a file over into another format. The
// caller closes the result, which is read from its start.
type Transcoder interface {
	Transcode(ctx context.Context, urgency Urgency, job plan.Transcode, source *os.File) (*os.File, error)
}

// Service recompresses and restores. It is safe for concurrent use.
type Service struct {
	home    *blob.Home
	records catalog.Recompressions
	codec   Transcoder
	log     *slog.Logger
	turns   turns

	stats struct{ sources, saved, restored, failed atomic.Int64 }
}

// New makes a service over its parts.
func New(home *blob.Home, records catalog.Recompressions, codec Transcoder, log *slog.Logger) *Service {
	return &Service{home: home, records: records, codec: codec, log: log, turns: newTurns()}
}

// Stats counts since start.
type Stats struct {
	Sources  int64 // recompressed
	Saved    int64 // bytes, by these
	Restored int64 // times that a source was restored
	Failed   int64 // times that one could not be
}

// Stats says what the service has done.
func (s *Service) Stats() Stats {
	c := &s.stats
	return Stats{Sources: c.sources.Load(), Saved: c.saved.Load(), Restored: c.restored.Load(), Failed: c.failed.Load()}
}

// Outcome is what became of a source.
type Outcome struct {
	Bytes  int64  // of the smaller form, where it has taken the source's place
	Reason string // otherwise why not
	Wait   bool   // ask again later: the source is younger than the caller wants, or was uploaded again
}

// Reasons that are not remembered.
const (
	whyGone    = "the source is not in the home store as it was uploaded"
	whyFormat  = "only JPEG sources are recompressed"
	whyYoung   = "the source was uploaded not long ago"
	whyChanged = "the source was uploaded or removed meanwhile"
)

// Recompress puts the smaller form of a source in its place, unless the source
// was written at or after a time. It may be called again after it has broken off
// anywhere, and with as many images of one source as one likes.
//
// A source that can't be made smaller stays, which is remembered. Errors are
// what may pass: of the store, the catalog, and the codec processes.
func (s *Service) Recompress(ctx context.Context, src asset.Source, before time.Time) (Outcome, error) {
	if src.Header.Format != format.JPEG {
		return Outcome{Reason: whyFormat}, nil
	}
	leave, err := s.turns.take(ctx, src.Digest)
	if err != nil {
		return Outcome{}, err
	}
	defer leave()
	known, err := s.records.RecompressionOf(ctx, src.Digest)
	if err != nil && fault.Of(err) != fault.NotFound {
		return Outcome{}, err
	}
	if known.Reason != "" {
		return Outcome{Reason: known.Reason}, nil
	}
	at, err := s.home.Stat(ctx, sourceName(src.Digest))
	switch {
	case missing(err):
		return Outcome{Reason: whyGone}, nil
	case err != nil:
		return Outcome{}, err
	case !at.Modified.Before(before):
		return Outcome{Reason: whyYoung, Wait: true}, nil
	}
	small, why, err := s.proven(ctx, src)
	if err != nil || why != "" {
		return Outcome{Reason: why}, err
	}
	return s.exchange(ctx, src, small, before)
}

// proven finds or makes the smaller form of a source that lies in the store, and
// from which the source was just restored. why is not "" where there is none.
func (s *Service) proven(ctx context.Context, src asset.Source) (small blob.Info, why string, err error) {
	// An attempt that broke off, or an earlier upload of the same bytes, may have
	// left one.
	small, err = s.verified(ctx, src.Digest)
	switch {
	case err == nil:
		return small, "", nil
	case blob.IsDamage(err):
		s.log.Warn("a recompressed source is damaged; it is made anew", "source", src.Digest, "error", err)
	case !missing(err):
		return small, "", unproven(err)
	}
	if why, err = s.make(ctx, src); err != nil || why != "" {
		return small, why, err
	}
	small, err = s.verified(ctx, src.Digest)
	if missing(err) { // swept with the last image
		return small, whyGone, nil
	}
	return small, "", unproven(err)
}

// verified restores a source from the file in the store as a reader would, and
// tells which file that was. What this node has kept of it does not count.
func (s *Service) verified(ctx context.Context, d asset.Digest) (blob.Info, error) {
	info, err := s.home.Stat(ctx, smallName(d))
	if err != nil {
		return info, err
	}
	s.home.Forget(smallName(d))
	file, err := s.restore(ctx, d, Checking)
	if err != nil {
		return info, err
	}
	defer file.Close()
	return info, same(file, d)
}

// CodeUnproven is the code of an error: a smaller form could not be made or
// proven in the time that there is. That may pass; who has tried often enough
// calls Leave.
const CodeUnproven = "recompression-unproven"

// unproven marks errors that may pass but need not.
func unproven(err error) error {
	if err == nil || fault.Of(err) != fault.Timeout && !blob.IsDamage(err) {
		return err
	}
	return &fault.Error{Kind: fault.Unavailable, Code: CodeUnproven, Cause: err,
		Message: "the source could not be made smaller, or restored from its smaller form, in the time that there is"}
}

// Leave remembers that a source stays as it is.
func (s *Service) Leave(ctx context.Context, d asset.Digest, why string) error {
	leave, err := s.turns.take(ctx, d)
	if err != nil {
		return err
	}
	defer leave()
	_, err = s.home.Remove(ctx, smallName(d), time.Now().Add(time.Hour), func() (bool, error) {
		return s.there(ctx, sourceName(d)) // otherwise it is all there is
	})
	if err != nil {
		return err
	}
	return s.remember(ctx, catalog.Recompression{Source: d, Reason: why})
}

// remember stores what came of a source; one whose last image has gone meanwhile
// needs none.
func (s *Service) remember(ctx context.Context, r catalog.Recompression) error {
	r.Tried = time.Now().UTC().Truncate(time.Millisecond)
	if err := s.records.PutRecompression(ctx, r); !missing(err) {
		return err
	}
	return nil
}

func missing(err error) bool { return err != nil && fault.Of(err) == fault.NotFound }

func sourceName(d asset.Digest) string { return blob.SourceName(d.String()) }
func smallName(d asset.Digest) string  { return blob.RecompressedName(d.String()) }
