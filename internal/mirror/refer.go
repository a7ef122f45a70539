package mirror

import (
	"context"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/task"
	"safelight/internal/work"
)

// nameFree is when to try again after an object still counted as another
// image's, which was deleted or replaced just now.
const nameFree = 2 * time.Second

// refer notes that an image's original is to be read from its object, and has the
// home copy removed a little later.
func (s *Service) refer(ctx context.Context, a args, p Place, img asset.Image) ([]task.New, error) {
	err := s.Publish.Adopt(ctx, img, a.Mirror, a.Object)
	if known := fault.As(err); known != nil && known.Code == catalog.NameWithdrawn {
		return nil, work.Postpone(nameFree, known.Message)
	}
	if fault.Of(err) == fault.NotFound && err != nil { // the image was deleted meanwhile; whoever did it has the last word
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []task.New{{
		Owner: img.Owner, Function: Release, Name: img.ID.String(), Image: img.ID, Priority: task.Idle, RunAt: time.Now().Add(p.kept()),
	}}, nil
}

// release removes the home copy of an image's source, unless it is needed: the
// object is read back once more before.
func (s *Service) release(ctx context.Context, r *work.Run) (work.Outcome, error) {
	img, err := s.Catalog.Image(ctx, r.Task.Owner, r.Task.Image)
	if fault.Of(err) == fault.NotFound && err != nil {
		return work.Outcome{}, nil
	}
	if err != nil {
		return work.Outcome{}, err
	}
	done, err := s.Publish.ExpireSource(ctx, img, time.Now())
	if err != nil {
		return work.Outcome{}, err
	}
	if len(done.Kept) > 0 {
		kept := done.Kept[0]
		if kept.Waits() {
			return work.Outcome{}, work.Postpone(time.Minute, "the home copy is kept: "+kept.Reason)
		}
		return work.Outcome{Result: map[string]string{"kept": kept.Reason}}, nil
	}
	return work.Outcome{Result: map[string]int{"removed": len(done.Removed)}}, nil
}
