package pipeline

import (
	"context"
	"maps"
	"slices"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/task"
)

// PresetState says how far a preset of an image is.
type PresetState struct {
	Preset    string
	State     string // waiting, rendered, optimized, failed; absent where it is not made beforehand
	Rendition *catalog.Rendition
	Error     string // of the task that is dead
}

// States of a preset.
const (
	Waiting   = "waiting"
	Rendered  = "rendered"
	Optimized = "optimized"
	Failed    = "failed"
)

// Description is what the pipeline has done with an image.
type Description struct {
	Presets      []PresetState
	Publications []catalog.Publication
	Tasks        []task.Task // newest first, at most 100
}

// Describe tells what the pipeline has done with an image so far.
func (s *Service) Describe(ctx context.Context, img asset.Image) (Description, error) {
	var d Description
	page, err := s.Queue.List(ctx, task.Query{Filter: task.Filter{Owner: img.Owner, Image: img.ID}, Limit: 100})
	if err != nil {
		return d, err
	}
	d.Tasks = page.Tasks
	kept, err := s.Catalog.RenditionsOf(ctx, img.Owner, img.ID)
	if err != nil {
		return d, err
	}
	if d.Publications, err = s.Catalog.PublicationsOf(ctx, img.ID); err != nil {
		return d, err
	}
	states := make(map[string]*PresetState)
	for name := range s.presets {
		if s.config.has(name, StepRender) {
			states[name] = s.preview(name, d.Tasks)
		}
	}
	for i, r := range kept {
		p := states[r.Preset]
		if p == nil {
			p = &PresetState{Preset: r.Preset}
			states[r.Preset] = p
		}
		p.Rendition, p.State, p.Error = &kept[i], Rendered, ""
		if r.Encoder != "" {
			p.State = Optimized
		}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		d.Presets = append(d.Presets, *states[name])
	}
	return d, nil
}

// preview is the state of a preset that has no rendition: its task's.
func (s *Service) preview(preset string, tasks []task.Task) *PresetState {
	p := &PresetState{Preset: preset, State: Waiting}
	for _, t := range tasks {
		if a, err := argsOf(t); t.Function != Render || err != nil || a.Preset != preset {
			continue
		}
		if t.State == task.Dead {
			p.State, p.Error = Failed, t.Error
		}
		return p
	}
	return p
}

// Presets are the names of the presets that are made of every new image.
func (s *Service) Presets() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.presets)) {
		if s.config.has(name, StepRender) {
			names = append(names, name)
		}
	}
	return names
}
