package pipeline

import (
	"context"
	"maps"
	"slices"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// PresetState says how far a preset of an image is.
type PresetState struct {
	Preset    string
	State     string // waiting, rendered, optimized, outdated, failed
	Rendition *catalog.Rendition
	Local     bool   // its bytes are in the home store; otherwise at a destination
	Reason    string // why it is not optimised
	Error     string // of the task that is dead

	Alternatives []catalog.Rendition // in other formats, smaller than Rendition; by format
}

// States of a preset.
const (
	Waiting   = "waiting"
	Rendered  = "rendered"
	Optimized = "optimized"
	Outdated  = "outdated" // made with other options than the preset has now
	Failed    = "failed"
)

// Description is what the pipeline has done with an image.
type Description struct {
	Local        bool // the source is in the home store; otherwise at a destination
	AtRest       AtRest
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
	others, err := s.Catalog.AlternativesOf(ctx, img.Owner, img.ID)
	if err != nil {
		return d, err
	}
	for _, r := range others {
		if p := states[r.Preset]; p != nil {
			p.Alternatives = append(p.Alternatives, r)
		}
	}
	for i := range kept {
		if p := states[kept[i].Preset]; p != nil { // presets of the past are not shown
			if err := s.describe(ctx, img, &kept[i], p); err != nil {
				return d, err
			}
		}
	}
	if d.AtRest, err = s.atRest(ctx, img.Source); err != nil {
		return d, err
	}
	d.Local = d.AtRest.Form != ""
	for _, name := range slices.Sorted(maps.Keys(states)) {
		d.Presets = append(d.Presets, *states[name])
	}
	return d, nil
}

// describe fills in what a kept rendition tells of its preset.
func (s *Service) describe(ctx context.Context, img asset.Image, r *catalog.Rendition, p *PresetState) error {
	p.Rendition, p.State, p.Error = r, Rendered, ""
	variant, _, err := s.Render.Identify(ctx, img, s.presets[r.Preset])
	switch {
	case err != nil && fault.Of(err) != fault.Invalid: // its watermark may be gone
		return err
	case variant != r.Variant:
		p.State = Outdated
	case r.Encoder != "":
		p.State = Optimized
	default:
		p.Reason = s.whyNot(*r)
	}
	p.Local, err = s.atHome(ctx, blob.RenditionName(r.Digest.String()))
	return err
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
