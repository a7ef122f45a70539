package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/task"
	"safelight/internal/work"
)

// optimizable tells whether a rendition is one that the encoder may make
// smaller, and has not tried yet, or that alternatives may be made to.
func (s *Service) optimizable(r catalog.Rendition) bool {
	return s.whyNot(r) == "" || len(s.missing(r)) > 0
}

// whyNot is the reason why a rendition is not optimised (any more).
func (s *Service) whyNot(r catalog.Rendition) string {
	if why := s.cannot(r); why != "" || s.retargeted(r) {
		return why
	}
	if r.Encoder != "" {
		return "it is optimised"
	}
	if r.Note != "" {
		return noteOf(r).why()
	}
	return ""
}

// retargeted tells that a rendition was optimised for another target than the one
// that is configured now.
func (s *Service) retargeted(r catalog.Rendition) bool {
	n := noteOf(r)
	named := s.presets[r.Preset].Quality != 0 && r.Format.HasQuality()
	return s.builtin() && n.Target != "" && !named && n.Target != s.targets.String()
}

// cannot is the reason why the encoder does not take a rendition.
func (s *Service) cannot(r catalog.Rendition) string {
	pixels := int64(r.Width) * int64(r.Height) * int64(max(r.Pages, 1))
	switch {
	case !s.config.has(r.Preset, StepOptimize):
		return "the preset is not to be optimised (pipeline.steps)"
	case s.OptimizePixels == 0:
		return "there is no encoder (pipeline.encoder, guetzli.path)"
	case !s.builtin() && (r.Format != format.JPEG || r.Pages > 1):
		return "only JPEG renditions are optimised: format=jpeg in the preset makes it one"
	case pixels > s.OptimizePixels && s.config.Encoder == EncoderBuiltin:
		return fmt.Sprintf("it has more than %d pixels (pipeline.max_pixels)", s.OptimizePixels)
	case pixels > s.OptimizePixels:
		return fmt.Sprintf("it has more than %d pixels (guetzli.max_pixels)", s.OptimizePixels)
	}
	return ""
}

// builtin tells that codec processes optimise, in any format.
func (s *Service) builtin() bool { return s.config.Encoder == EncoderBuiltin && !s.Outside }

// AimsAbove tells whether presets are optimised for a higher score than one.
func (s *Service) AimsAbove(score float64) bool {
	return s.builtin() && len(s.presets) > 0 && s.targets.SSIMULACRA2 > score
}

// optimizeTask has a rendition optimised.
func (s *Service) optimizeTask(id asset.ID, preset string) task.New {
	a := args{Preset: preset, Quality: s.Quality(s.presets[preset])}
	return task.New{Function: Optimize, Name: nameOf(id, preset, ""), Args: a.encode(), Image: id, Priority: priorityOptimize}
}

// optimize encodes a kept rendition again with more effort, from lossless
// pixels, and puts the result in its place if it is smaller. Then it makes the
// alternatives.
func (s *Service) optimize(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, o, err := s.presetOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	img, row, why, err := s.toOptimize(ctx, r.Task, a.Preset)
	if err != nil || why != "" {
		return orSkip(err, why)
	}
	why = s.whyNot(row)
	if why == "" {
		if row, err = s.replaceBy(ctx, r, img, o, row); err != nil {
			return orGone(err)
		}
	}
	formats := s.missing(row)
	if why != "" && row.Encoder == "" && len(formats) == 0 {
		return skip(why)
	}
	if len(formats) > 0 {
		if row, err = s.addAlternatives(ctx, r, img, o, row, formats); err != nil {
			return orGone(err)
		}
	}
	if row.Encoder == "" {
		return work.Outcome{Result: triedResult(row)}, nil
	}
	return s.replaced(ctx, img, row)
}

// replaceBy has the encoder work on a rendition and keeps the better one. The
// result is the row as it is then.
func (s *Service) replaceBy(ctx context.Context, r *work.Run, img asset.Image, o options.Options, row catalog.Rendition) (catalog.Rendition, error) {
	encoded, tried, err := s.encode(ctx, r, img, o, row)
	if err != nil {
		return row, err
	}
	defer encoded.File.Close()
	r.Progress(progressChecked, "checking")
	header, err := format.Probe(encoded.File, encoded.Bytes)
	if err != nil {
		return row, fault.Wrap(fault.Unprocessable, err, "the encoder's result is no picture")
	}
	if err := same(header, row); err != nil {
		return row, err
	}
	if _, err := s.Codec.Inspect(ctx, plan.Inspect(header), encoded.File); err != nil {
		return row, err
	}
	return s.replace(ctx, img, row, tried, encoded.Bytes, func(fresh *catalog.Rendition) error {
		return s.keep(ctx, img.Owner, fresh, io.NewSectionReader(encoded.File, 0, encoded.Bytes))
	})
}

// Progress of an optimisation, percent: the main format is most of what people
// wait for, and alternatives come after it.
const (
	progressRendered = 5
	progressChecked  = 50
)

// encode has the configured encoder make a rendition's main format.
func (s *Service) encode(ctx context.Context, r *work.Run, img asset.Image, o options.Options, row catalog.Rendition) (*Encoded, note, error) {
	if s.builtin() {
		r.Progress(progressRendered, "searching "+row.Format.String())
		made, err := s.Render.Optimize(ctx, img, o, row.Format, s.searchFor(o, row.Format))
		if err != nil {
			return nil, note{}, err
		}
		return &Encoded{File: made.File, Bytes: made.Bytes, CPU: made.CPU}, noteFor(made), nil
	}
	if s.Encoder == nil {
		return nil, note{}, fault.New(fault.Unavailable, "there is no encoder here (pipeline.encoder)")
	}
	r.Progress(0, "rendering without loss")
	png, err := s.Render.Lossless(ctx, img, o)
	if err != nil {
		return nil, note{}, err
	}
	defer png.File.Close()
	r.Progress(progressRendered, "encoding")
	encoded, err := s.Encoder.Encode(ctx, png.File, int64(row.Width)*int64(row.Height), s.Quality(o))
	if err != nil {
		return nil, note{}, err
	}
	return encoded, note{Encoder: s.Encoder.Name(), CPUSeconds: encoded.CPU.Seconds()}, nil
}

// searchFor is the search for a preset's main format: where the preset names a
// quality the result is to be as good as that, otherwise as configured.
func (s *Service) searchFor(o options.Options, f format.Format) plan.Search {
	search := plan.Search{Tier: quality.Tier(s.config.Tier), Targets: s.targets}
	if o.Quality != 0 && f.HasQuality() {
		search.Targets = quality.Targets{}
	}
	return search
}

// toOptimize finds what a task is to optimise; why is not "" when there is
// nothing to do.
func (s *Service) toOptimize(ctx context.Context, t task.Task, preset string) (img asset.Image, row catalog.Rendition, why string, err error) {
	img, ok, err := s.subject(ctx, t)
	if err != nil || !ok {
		return img, row, whyGone, err
	}
	row, err = s.Catalog.RenditionOf(ctx, img.Owner, img.ID, preset)
	if fault.Of(err) == fault.NotFound {
		return img, row, "there is no rendition yet", nil
	}
	if err != nil {
		return img, row, "", err
	}
	o, err := s.preset(preset)
	if err != nil {
		return img, row, "", err
	}
	if variant, _, err := s.Render.Identify(ctx, img, o); err != nil || variant != row.Variant {
		return img, row, "the rendition is one of other options; it must be rendered again first", err
	}
	return img, row, "", nil
}

// same refuses a result that is not the same picture in the same format.
func same(h format.Header, row catalog.Rendition) error {
	w, height := h.Upright()
	if h.Format != row.Format || w != row.Width || height != row.Height {
		return fault.New(fault.Unprocessable, "the result is a %s of %d×%d px; expected a %s of %d×%d px",
			h.Format, w, height, row.Format, row.Width, row.Height)
	}
	return nil
}

// replace puts an encoder's result in the place of a rendition, if it is good
// enough and smaller than the fast one; otherwise it is noted that the encoder
// has tried. The result is the row as it is then.
func (s *Service) replace(ctx context.Context, img asset.Image, row catalog.Rendition, tried note, bytes int64, keep func(*catalog.Rendition) error) (catalog.Rendition, error) {
	fresh := row
	tried.Before = row.FirstBytes
	if bytes >= row.FirstBytes || tried.missed() {
		fresh.Note = tried.unused(noteOf(row), bytes).encode()
		return fresh, s.Catalog.PutRendition(ctx, img.Owner, fresh)
	}
	fresh.Encoder, fresh.Note = tried.Encoder, tried.encode()
	if err := keep(&fresh); err != nil {
		return row, err
	}
	if saved := row.Bytes - fresh.Bytes; saved > 0 { // a higher target may have cost some of what was saved
		s.Metrics.Saved(saved)
	}
	return fresh, nil
}

// replaced is what follows once a rendition is optimised. The node may have died
// before, so that it is the next attempt which comes here.
func (s *Service) replaced(ctx context.Context, img asset.Image, row catalog.Rendition) (work.Outcome, error) {
	s.show(ctx, img, row)
	return work.Outcome{Result: triedResult(row), Next: own(img.Owner, s.publishTasks(img, row.Preset, row.Format))}, nil
}

// triedResult tells what a rendition's note says.
func triedResult(row catalog.Rendition) renditionResult {
	seen := noteOf(row)
	result := resultOf(row)
	result.Before, result.Tried, result.Encoder, result.CPUSeconds = seen.Before, seen.Tried, seen.Encoder, seen.CPUSeconds
	result.Scores, result.Alternatives = seen.Scores, seen.Formats
	return result
}

// optimized takes over what a worker outside has encoded.
func (s *Service) optimized(ctx context.Context, t task.Task, _ json.RawMessage) (work.Outcome, error) {
	a, err := argsOf(t)
	if err != nil {
		return work.Outcome{}, err
	}
	img, row, why, err := s.toOptimize(ctx, t, a.Preset)
	if err != nil || why != "" {
		return orSkip(err, why)
	}
	if row.Encoder != "" {
		return s.replaced(ctx, img, row)
	}
	out, err := s.openOutput(ctx, t)
	if err != nil {
		return work.Outcome{}, err
	}
	defer out.Close()
	if _, err := s.prove(ctx, out, t.Output.Bytes, func(h format.Header) error { return same(h, row) }); err != nil {
		return work.Outcome{}, err
	}
	tried := note{Encoder: "worker " + t.Worker}
	row, err = s.replace(ctx, img, row, tried, t.Output.Bytes, func(fresh *catalog.Rendition) error {
		return s.keep(ctx, img.Owner, fresh, out)
	})
	if err != nil {
		return orGone(err)
	}
	if row.Encoder == "" {
		return work.Outcome{Result: triedResult(row)}, nil
	}
	return s.replaced(ctx, img, row)
}

// openOutput opens what a worker has uploaded.
func (s *Service) openOutput(ctx context.Context, t task.Task) (blob.Reader, error) {
	if t.Output == nil {
		return nil, fault.New(fault.Invalid, "output: upload the result before reporting the task done")
	}
	return s.Home.Open(ctx, blob.OutputName(t.Output.Digest.String()))
}
