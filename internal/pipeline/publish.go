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
	"safelight/internal/format"
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
	if !ok {
		return s.leaveNothing(ctx, r.Task, a)
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
		return work.Outcome{}, mayPass(err)
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

// mayPass lets a publication that another node has overtaken be tried again. A
// name that belongs to another image stays taken.
func mayPass(err error) error {
	if known := fault.As(err); fault.Of(err) == fault.Conflict && known.Code != "name-taken" {
		return fault.Wrap(fault.Unavailable, err, "%s", known.Message)
	}
	return err
}

// leaveNothing removes what an earlier attempt, or a worker outside, has written
// of an image that is gone.
func (s *Service) leaveNothing(ctx context.Context, t task.Task, a args) (work.Outcome, error) {
	return orSkip(later(s.Publish.Unpublish(ctx, t.Image, &a.Preset, &a.Destination)), whyGone)
}

// later lets a removal be tried again for which an object was too young.
func later(err error) error {
	if known := fault.As(err); known != nil && known.Code == publish.TooYoung {
		return work.Postpone(nameFree, known.Message)
	}
	return err
}

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
	if err != nil {
		return work.Outcome{}, err
	}
	if !ok {
		return s.leaveNothing(ctx, t, a)
	}
	p, err := s.Publish.Witness(ctx, img, a.Preset, a.Destination)
	if err != nil {
		return work.Outcome{}, err
	}
	return s.afterPublish(img, p), nil
}

// unpublish removes what an image has left at destinations: all of it, or what
// is of a preset, at a destination, or both. Of an image that is still there only
// what lies at home too is withdrawn: an object that could not be written again
// may be the only copy.
func (s *Service) unpublish(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, err := argsOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	img, ok, err := s.subject(ctx, r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	preset, destination := a.selected()
	if !ok {
		return work.Outcome{}, later(s.withdrawAll(ctx, r.Task))
	}
	rows, err := s.Catalog.PublicationsOf(ctx, img.ID)
	if err != nil {
		return work.Outcome{}, err
	}
	kept := []string{}
	for _, p := range rows {
		if preset != nil && p.Preset != *preset || destination != nil && p.Destination != *destination {
			continue
		}
		gone, err := s.withdraw(ctx, img, p)
		if err != nil {
			return work.Outcome{}, later(err)
		}
		if !gone {
			kept = append(kept, p.Name)
		}
	}
	return work.Outcome{Result: map[string][]string{"kept": kept}}, nil
}

// writersEnd is when to look again whether nobody writes objects of an image
// that is gone.
const writersEnd = 5 * time.Second

// withdrawAll removes everything that a deleted image has left at destinations,
// and gives the names free once no publication of it is under way.
func (s *Service) withdrawAll(ctx context.Context, t task.Task) error {
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

// selected are the preset and the destination that publications are selected
// by; nil is any. With a destination the preset "" is the source.
func (a args) selected() (preset, destination *string) {
	if a.Destination != "" {
		return &a.Preset, &a.Destination
	}
	if a.Preset != "" {
		preset = &a.Preset
	}
	return preset, nil
}

// withdraw removes an object, unless it may be all that is left of its bytes,
// and tells whether it did. The home copy can't expire meanwhile.
func (s *Service) withdraw(ctx context.Context, img asset.Image, p catalog.Publication) (bool, error) {
	name := blob.SourceName(img.Source.Digest.String())
	if p.Preset != "" {
		name = blob.RenditionName(p.Digest.String())
	}
	if p.State != catalog.Withdrawn {
		release, err := s.Home.Hold(ctx, name)
		if err != nil {
			return false, err
		}
		defer release()
		if at, err := s.atHome(ctx, name); err != nil || !at {
			return false, err
		}
	}
	return true, s.Publish.Unpublish(ctx, img.ID, &p.Preset, &p.Destination)
}

// atHome tells whether a blob lies in the home store, in whichever form.
func (s *Service) atHome(ctx context.Context, name string) (bool, error) {
	copies, err := s.Home.Copies(ctx, name)
	return len(copies) > 0, err
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
	for _, d := range done.Damaged {
		if err := s.mend(ctx, d); err != nil {
			return work.Outcome{}, err
		}
	}
	// What is not published yet expires with its own publication.
	if i := slices.IndexFunc(done.Kept, publish.HomeCopy.Waits); i >= 0 {
		later := min(time.Hour, max(s.config.Expire/10, time.Second))
		return work.Outcome{}, work.Postpone(later, "a local copy is kept: "+done.Kept[i].Reason)
	}
	return work.Outcome{Result: map[string]int{"removed": len(done.Removed)}}, nil
}

// reconcile holds the catalog against the destinations, and has mended what
// differs.
func (s *Service) reconcile(ctx context.Context, r *work.Run) (work.Outcome, error) {
	if s.Publish.Places() == 0 {
		return skip("there are no destinations")
	}
	mended := make(map[publish.Reason]int)
	report, err := s.Publish.Reconcile(ctx, publish.Plan{
		Wanted: s.wanted,
		Due: func(d publish.Due) error {
			mended[d.Reason]++
			return s.mend(ctx, d)
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

// mend submits what makes good for something that is not published as it should
// be.
func (s *Service) mend(ctx context.Context, d publish.Due) error {
	if !slices.Contains(s.Publish.Destinations(), d.Destination) {
		return nil // it was begun before the destination left the configuration
	}
	img, err := s.Catalog.Image(ctx, d.Owner, d.Image)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	is, made := img.Source.Header.Format, true
	if _, known := s.presets[d.Preset]; known { // others can't be rendered again
		if is, made, err = s.publishable(ctx, img, d); err != nil {
			return err
		}
	}
	t := s.publishTask(img, d.Preset, d.Destination, is)
	if !made {
		t = s.renderTask(d.Image, d.Preset, priorityBackfill)
	}
	_, err = s.Queue.Submit(ctx, own(d.Owner, []task.New{t}))
	return err
}

// publishable finds the format of a preset's rendition, and tells whether there
// are bytes to publish. An object that is bad, and was the last of its bytes, is
// withdrawn, so that nobody counts on it when the rendition is made again.
func (s *Service) publishable(ctx context.Context, img asset.Image, d publish.Due) (format.Format, bool, error) {
	row, err := s.Catalog.RenditionOf(ctx, img.Owner, img.ID, d.Preset)
	if fault.Of(err) == fault.NotFound {
		return row.Format, false, nil
	}
	if err != nil {
		return row.Format, false, err
	}
	at, err := s.atHome(ctx, blob.RenditionName(row.Digest.String()))
	if err != nil || at {
		return row.Format, at, err
	}
	switch d.Reason {
	case publish.Missing, publish.Resized, publish.Damaged:
		err = s.Publish.Unpublish(ctx, img.ID, &d.Preset, &d.Destination)
		if known := fault.As(err); known != nil && known.Code == publish.TooYoung {
			err = nil // the row is what others count on
		}
	}
	return row.Format, false, err
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
