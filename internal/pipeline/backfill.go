package pipeline

import (
	"context"
	"fmt"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/task"
	"safelight/internal/work"
)

// page is how many images one step of a walk takes.
const page = 500

// backfill submits a render for each image of the owner that has no rendition
// of a preset as it is configured now, or one that could be optimised by now.
func (s *Service) backfill(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, o, err := s.presetOf(r.Task)
	if fault.Of(err) == fault.Unavailable && err != nil { // somebody waits to be told
		err = fault.Wrap(fault.Invalid, err, "preset: none of the name %q is configured", a.Preset)
	}
	if err != nil {
		return work.Outcome{}, err
	}
	if !s.config.has(a.Preset, StepRender) {
		return work.Outcome{}, fault.New(fault.Invalid, "preset: %q is not rendered beforehand (pipeline.steps, pipeline.presets)", a.Preset)
	}
	submitted, seen := 0, 0
	err = s.walk(ctx, r, catalog.Query{Owner: r.Task.Owner}, func(images []asset.Image) error {
		var tasks []task.New
		for _, img := range images {
			variant, _, err := s.Render.Identify(ctx, img, o)
			if err != nil {
				return err
			}
			kept, err := s.kept(ctx, img, a.Preset, variant)
			if err != nil {
				return err
			}
			if kept != nil && !s.optimizable(*kept) {
				continue
			}
			waits, err := s.renders(ctx, img, a.Preset)
			if err != nil {
				return err
			}
			if !waits {
				tasks = append(tasks, s.renderTask(img.ID, a.Preset, priorityBackfill))
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

// renders tells whether a preset of an image is about to be rendered anyway,
// with a priority that must not be taken from it.
func (s *Service) renders(ctx context.Context, img asset.Image, preset string) (bool, error) {
	live, err := s.Queue.List(ctx, task.Query{Limit: 1, Filter: task.Filter{
		Owner: img.Owner, Function: Render, Name: nameOf(img.ID, preset, ""), States: []task.State{task.Scheduled, task.Ready},
	}})
	return len(live.Tasks) > 0, err
}

// walk goes through images, newest first, telling the progress.
func (s *Service) walk(ctx context.Context, r *work.Run, q catalog.Query, do func([]asset.Image) error) error {
	total, err := s.Catalog.CountImages(ctx, q.Owner)
	if err != nil {
		return err
	}
	q.Limit = page
	for seen := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := s.Catalog.List(ctx, q)
		if err != nil || len(found.Images) == 0 {
			return err
		}
		if err := do(found.Images); err != nil {
			return err
		}
		seen += len(found.Images)
		r.Progress(seen*100/max(total, seen), fmt.Sprintf("%d of %d images", seen, max(total, seen)))
		if !found.More {
			return nil
		}
		q.Before = found.Images[len(found.Images)-1].ID
	}
}

// purge deletes images: the one the task is about, or those of the owner with a
// prefix or a tag.
func (s *Service) purge(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, err := argsOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	deleted := 0
	remove := func(id asset.ID) error {
		err := s.Purge.Delete(ctx, r.Task.Owner, id)
		if fault.Of(err) == fault.NotFound {
			return nil
		}
		if err == nil {
			deleted++
		}
		return err
	}
	switch {
	case r.Task.Image != (asset.ID{}):
		err = remove(r.Task.Image)
	case a.Prefix == "" && a.Tag == "":
		return work.Outcome{}, fault.New(fault.Invalid, "args: purge needs an image, a prefix or a tag")
	default:
		err = s.walk(ctx, r, catalog.Query{Owner: r.Task.Owner, Prefix: a.Prefix, Tag: a.Tag}, func(images []asset.Image) error {
			for _, img := range images {
				if err := remove(img.ID); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return work.Outcome{}, err
	}
	return work.Outcome{Result: map[string]int{"deleted": deleted}}, nil
}

// sweep removes what nobody refers to any more.
func (s *Service) sweep(ctx context.Context, _ *work.Run) (work.Outcome, error) {
	done, err := s.Purge.Sweep(ctx, s.Home, s.Deps.Sweep)
	if err != nil {
		return work.Outcome{}, err
	}
	atDestinations, failed := s.Publish.SweepTemp(ctx, s.Deps.Sweep.TempAge)
	done.Temp += atDestinations
	if done.Any() {
		s.Log.Info("swept", "temporary", done.Temp, "released", done.Released, "orphans", done.Orphans,
			"renditions", done.Renditions, "outputs", done.Outputs, "replays", done.Replays)
	}
	if failed != nil {
		return work.Outcome{}, failed
	}
	return work.Outcome{Result: done}, nil
}
