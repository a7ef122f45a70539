package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/recompress"
	"safelight/internal/task"
	"safelight/internal/work"
)

// What pipeline.recompress may be.
const (
	RecompressNone = "none"
	RecompressJXL  = "jxl"
)

func (c Config) checkRecompress() error {
	var errs []error
	if c.Recompress != RecompressNone && c.Recompress != RecompressJXL {
		errs = append(errs, fmt.Errorf("pipeline.recompress: expected jxl or none but received %q", c.Recompress))
	}
	if c.RecompressAfter < 0 || c.RecompressAfter > maxExpire {
		errs = append(errs, fmt.Errorf("pipeline.recompress_after: %s is not from 0 to five years", c.RecompressAfter))
	}
	return errors.Join(errs...)
}

// recompressPolicy makes one source smaller at a time, on all nodes together.
func recompressPolicy() work.Function {
	return work.Function{Pool: Recompress, Policy: task.Policy{Timeout: 24 * time.Hour, Concurrency: 1, MaxPostpones: 100_000}}
}

// provenAfter is the attempt after which a source stays as it is, when its
// smaller form could still not be restored in the time that a request has.
const provenAfter = 3

// recompressTasks have the source of a new image made smaller after a while.
func (s *Service) recompressTasks(img asset.Image) []task.New {
	if s.config.Recompress != RecompressJXL || img.Source.Header.Format != format.JPEG {
		return nil
	}
	return []task.New{{
		Function: Recompress, Name: nameOf(img.ID, "", ""), Image: img.ID, Priority: task.Idle, RunAt: time.Now().Add(s.config.RecompressAfter),
	}}
}

// recompressed is the result of recompress.
type recompressed struct {
	Before int64 `json:"before"` // bytes
	Bytes  int64 `json:"bytes"`
}

// recompress keeps an image's source in a smaller form from now on. Without an
// image it submits that for all images of the owner that lack it.
func (s *Service) recompress(ctx context.Context, r *work.Run) (work.Outcome, error) {
	if s.config.Recompress != RecompressJXL {
		return skip("sources are not to be recompressed (pipeline.recompress)")
	}
	if !s.CanRecompress {
		return skip("libjxl is not installed, or lacks what is needed")
	}
	if r.Task.Image == (asset.ID{}) {
		return s.recompressAll(ctx, r)
	}
	img, ok, err := s.subject(ctx, r.Task)
	if err != nil || !ok {
		return orSkip(err, whyGone)
	}
	done, err := s.Recompress.Recompress(ctx, img.Source, time.Now().Add(-s.config.RecompressAfter))
	if known := fault.As(err); known != nil && known.Code == recompress.CodeUnproven && r.Task.Attempt >= provenAfter {
		s.Log.Warn("a source stays a JPEG", "source", img.Source.Digest, "error", err)
		return orSkip(s.Recompress.Leave(ctx, img.Source.Digest, known.Message), known.Message)
	}
	switch {
	case err != nil:
		return work.Outcome{}, err
	case done.Wait:
		return work.Outcome{}, work.Postpone(min(time.Hour, max(s.config.RecompressAfter/10, time.Second)), done.Reason)
	case done.Reason != "":
		return skip(done.Reason)
	}
	return work.Outcome{Result: recompressed{img.Source.Bytes, done.Bytes}}, nil
}

// recompressAll submits the recompression of sources that lie at home as JPEGs,
// and of which it is not known that they stay so.
func (s *Service) recompressAll(ctx context.Context, r *work.Run) (work.Outcome, error) {
	submitted, seen := 0, 0
	err := s.walk(ctx, r, catalog.Query{Owner: r.Task.Owner}, func(images []asset.Image) error {
		var tasks []task.New
		for _, img := range images {
			due, err := s.recompressible(ctx, img)
			if err != nil {
				return err
			}
			if due {
				t := s.recompressTasks(img)
				t[0].RunAt = img.Created.Add(s.config.RecompressAfter)
				tasks = append(tasks, t...)
			}
		}
		seen += len(images)
		submitted += len(tasks)
		if len(tasks) == 0 {
			return nil
		}
		_, err := s.Queue.Submit(ctx, own(r.Task.Owner, tasks))
		return err
	})
	if err != nil {
		return work.Outcome{}, err
	}
	return work.Outcome{Result: map[string]int{"images": seen, "submitted": submitted}}, nil
}

func (s *Service) recompressible(ctx context.Context, img asset.Image) (bool, error) {
	if img.Source.Header.Format != format.JPEG {
		return false, nil
	}
	known, err := s.Catalog.RecompressionOf(ctx, img.Source.Digest)
	if err != nil && fault.Of(err) != fault.NotFound || known.Reason != "" {
		return false, err
	}
	_, err = s.Home.Stat(ctx, blob.SourceName(img.Source.Digest.String()))
	if fault.Of(err) == fault.NotFound {
		return false, nil
	}
	return err == nil, err
}

// AtRest tells how a source is stored at home.
type AtRest struct {
	Form   string // "jpeg" and so on as it was uploaded, "jxl" recompressed; "" is not at home
	Bytes  int64  // of the file, or of both while there are two
	Reason string // why it was not recompressed
}

// atRest finds out how a source is stored.
func (s *Service) atRest(ctx context.Context, src asset.Source) (AtRest, error) {
	var at AtRest
	copies, err := s.Home.Copies(ctx, blob.SourceName(src.Digest.String()))
	if err != nil {
		return at, err
	}
	for _, c := range copies {
		at.Bytes += c.Bytes
		switch {
		case c.Name == blob.SourceName(src.Digest.String()):
			at.Form = src.Header.Format.String()
		case at.Form == "":
			at.Form = RecompressJXL
		}
	}
	known, err := s.Catalog.RecompressionOf(ctx, src.Digest)
	if err != nil && fault.Of(err) != fault.NotFound {
		return at, err
	}
	at.Reason = known.Reason
	return at, nil
}
