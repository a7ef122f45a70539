package pipeline

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/publish"
	"safelight/internal/task"
	"safelight/internal/work"
)

// publication is the result of publish.
type publication struct {
	Destination string       `json:"destination"`
	Name        string       `json:"name"`
	Bytes       int64        `json:"bytes"`
	SHA256      asset.Digest `json:"sha256"`
}

// publish copies a source or a rendition to a destination, and reads it back.
func (s *Service) publish(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, err := argsOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	img, ok, err := s.subject(ctx, r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	if !ok { // an earlier attempt may have left something
		if err := s.Publish.Unpublish(ctx, r.Task.Image, &a.Preset, &a.Destination); err != nil {
			return work.Outcome{}, err
		}
		return skip(whyGone)
	}
	p, err := s.Publish.Publish(ctx, img, a.Preset, a.Destination)
	if fault.Of(err) == fault.NotFound {
		return skip(fault.As(err).Message)
	}
	switch known := fault.As(err); {
	case known == nil:
	case known.Code == catalog.NameWithdrawn:
		return work.Outcome{}, work.Postpone(nameFree, known.Message)
	case known.Code == publish.ContentLost && a.Preset != "" && r.Task.Attempt >= remakeAfter:
		return s.remake(ctx, img, a.Preset, err)
	}
	if err != nil {
		return work.Outcome{}, err
	}
	return s.afterPublish(img, p), nil
}

// remakeAfter is the attempt at which a rendition is made anew whose bytes are
// neither at home nor can be fetched from a destination.
const remakeAfter = 3

// remake makes a lost rendition anew; its publication follows.
func (s *Service) remake(ctx context.Context, img asset.Image, preset string, lost error) (work.Outcome, error) {
	o, err := s.preset(preset)
	if err != nil {
		return work.Outcome{}, lost
	}
	s.Log.Warn("a rendition's bytes are lost; it is made anew", "image", img.ID, "preset", preset, "error", lost)
	fresh, err := s.make(ctx, img, preset, o)
	if err != nil {
		return orGone(err)
	}
	return s.afterRender(img, *fresh), nil
}

// nameFree is when to try again after a name at a destination was not free yet.
const nameFree = 2 * time.Second

// afterPublish lets the local copies expire when their time is over; each
// publication puts it off.
func (s *Service) afterPublish(img asset.Image, p catalog.Publication) work.Outcome {
	out := work.Outcome{Result: publication{p.Destination, p.Name, p.Bytes, p.Digest}}
	if s.config.Expire > 0 {
		out.Next = []task.New{{
			Owner: img.Owner, Function: Expire, Name: img.ID.String(), Image: img.ID, Priority: task.Idle, RunAt: time.Now().Add(s.config.Expire),
		}}
	}
	return out
}

// published reads back what a worker outside has written to the destination.
func (s *Service) published(ctx context.Context, t task.Task, _ json.RawMessage) (work.Outcome, error) {
	a, err := argsOf(t)
	if err != nil {
		return work.Outcome{}, err
	}
	img, ok, err := s.subject(ctx, t)
	if err != nil || !ok {
		return orSkip(err, whyGone)
	}
	p, err := s.Publish.Witness(ctx, img, a.Preset, a.Destination)
	if err != nil {
		return work.Outcome{}, err
	}
	return s.afterPublish(img, p), nil
}

// unpublish removes what an image, or one publication of it, has left at
// destinations. Of an image that is still there only what lies at home too is
// withdrawn: an object that could not be written again may be the only copy.
func (s *Service) unpublish(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, err := argsOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	img, ok, err := s.subject(ctx, r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	if !ok {
		return work.Outcome{}, s.withdraw(ctx, r.Task)
	}
	rows, err := s.Catalog.PublicationsOf(ctx, img.ID)
	if err != nil {
		return work.Outcome{}, err
	}
	kept := []string{}
	for _, p := range rows {
		if a.Destination != "" && (p.Preset != a.Preset || p.Destination != a.Destination) {
			continue
		}
		spare, err := s.onlyCopy(ctx, img, p)
		if err != nil {
			return work.Outcome{}, err
		}
		if spare {
			kept = append(kept, p.Name)
			continue
		}
		if err := s.Publish.Unpublish(ctx, img.ID, &p.Preset, &p.Destination); err != nil {
			return work.Outcome{}, err
		}
	}
	return work.Outcome{Result: map[string][]string{"kept": kept}}, nil
}

// writersEnd is when to look again whether nobody writes objects of an image
// that is gone.
const writersEnd = 5 * time.Second

// withdraw removes everything that a deleted image has left at destinations,
// and gives the names free once no publication of it is under way.
func (s *Service) withdraw(ctx context.Context, t task.Task) error {
	if err := s.Publish.Unpublish(ctx, t.Image, nil, nil); err != nil {
		return err
	}
	writing, err := s.Queue.List(ctx, task.Query{Limit: 1, Filter: task.Filter{
		Owner: t.Owner, Function: Publish, Image: t.Image, States: []task.State{task.Running},
	}})
	if err != nil {
		return err
	}
	if len(writing.Tasks) > 0 {
		return work.Postpone(writersEnd, "a publication of the image is still under way")
	}
	return s.Publish.Forget(ctx, t.Image)
}

// onlyCopy tells whether an object may be all that is left of its bytes.
func (s *Service) onlyCopy(ctx context.Context, img asset.Image, p catalog.Publication) (bool, error) {
	if p.State == catalog.Withdrawn {
		return false, nil
	}
	name := blob.SourceName(img.Source.Digest.String())
	if p.Preset != "" {
		name = blob.RenditionName(p.Digest.String())
	}
	_, err := s.Home.Stat(ctx, name)
	if fault.Of(err) == fault.NotFound {
		return true, nil
	}
	return false, err
}

// expire removes the local copies of what lies safely at a destination.
func (s *Service) expire(ctx context.Context, r *work.Run) (work.Outcome, error) {
	img, ok, err := s.subject(ctx, r.Task)
	if err != nil || !ok {
		return orSkip(err, whyGone)
	}
	done, err := s.Publish.Expire(ctx, img, time.Now().Add(-s.config.Expire))
	if err != nil {
		return work.Outcome{}, err
	}
	if len(done.Kept) > 0 {
		later := min(time.Hour, max(s.config.Expire/10, time.Second))
		return work.Outcome{}, work.Postpone(later, "a local copy is kept: "+done.Kept[0].Reason)
	}
	return work.Outcome{Result: map[string]int{"removed": len(done.Removed)}}, nil
}

// reconcile holds the catalog against the destinations, and has mended what
// differs.
func (s *Service) reconcile(ctx context.Context, r *work.Run) (work.Outcome, error) {
	if len(s.Publish.Destinations()) == 0 {
		return skip("there are no destinations")
	}
	mended := make(map[publish.Reason]int)
	report, err := s.Publish.Reconcile(ctx, publish.Plan{
		Wanted: s.wanted,
		Due: func(d publish.Due) error {
			mended[d.Reason]++
			t := task.New{
				Function: Publish, Name: nameOf(d.Image, d.Preset, d.Destination), Image: d.Image,
				Args: args{Preset: d.Preset, Destination: d.Destination}.encode(), Priority: priorityPublish,
			}
			if d.Reason == publish.Unrendered {
				t = s.renderTask(d.Image, d.Preset, priorityBackfill)
			}
			_, err := s.Queue.Submit(ctx, own(d.Owner, []task.New{t}))
			return err
		},
		Stray: func(destination string, object blob.Info) error {
			s.Log.Warn("an object at a destination is not known", "destination", destination, "object", object.Name)
			return nil
		},
		Progress: func(done, total int) { r.Progress(done*100/max(total, 1), "") },
	})
	if err != nil {
		return work.Outcome{}, err
	}
	return work.Outcome{Result: map[string]any{
		"checked": report.Checked, "due": report.Due, "removed": report.Removed, "strays": report.Strays, "reasons": mended,
	}}, nil
}

// wanted lists the presets that are published of an image.
func (s *Service) wanted(asset.Image) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.presets)) {
		if s.config.has(name, StepPublish) && s.config.has(name, StepRender) {
			names = append(names, name)
		}
	}
	return names
}
