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
	"safelight/internal/plan"
	"safelight/internal/task"
	"safelight/internal/work"
)

// optimizable tells whether a rendition is one that the encoder may make
// smaller, and has not tried yet.
func (s *Service) optimizable(r catalog.Rendition) bool { return s.whyNot(r) == "" }

// whyNot is the reason why a rendition is not optimised (any more).
func (s *Service) whyNot(r catalog.Rendition) string {
	switch {
	case !s.config.has(r.Preset, StepOptimize):
		return "the preset is not to be optimised (pipeline.steps)"
	case r.Encoder != "":
		return "it is optimised"
	case r.Note != "":
		return "the encoder has tried, and its result was no smaller"
	case s.OptimizePixels == 0:
		return "there is no encoder (pipeline.encoder, guetzli.path)"
	case r.Format != format.JPEG || r.Pages > 1:
		return "only JPEG renditions are optimised: format=jpeg in the preset makes it one"
	case int64(r.Width)*int64(r.Height) > s.OptimizePixels:
		return fmt.Sprintf("it has more than %d pixels (guetzli.max_pixels)", s.OptimizePixels)
	}
	return ""
}

// optimizeTask has a rendition optimised.
func (s *Service) optimizeTask(id asset.ID, preset string) task.New {
	a := args{Preset: preset, Quality: s.Quality(s.presets[preset])}
	return task.New{Function: Optimize, Name: nameOf(id, preset, ""), Args: a.encode(), Image: id, Priority: priorityOptimize}
}

// optimize encodes a kept rendition again with more effort, from lossless
// pixels, and puts the result in its place if it is smaller.
func (s *Service) optimize(ctx context.Context, r *work.Run) (work.Outcome, error) {
	a, o, err := s.presetOf(r.Task)
	if err != nil {
		return work.Outcome{}, err
	}
	img, row, why, err := s.toOptimize(ctx, r.Task, a.Preset)
	if err != nil || why != "" {
		return orSkip(err, why)
	}
	if row.Encoder != "" {
		return s.replaced(ctx, img, row)
	}
	if why := s.whyNot(row); why != "" {
		return skip(why)
	}
	if s.Encoder == nil {
		return work.Outcome{}, fault.New(fault.Unavailable, "there is no encoder here (pipeline.encoder)")
	}
	r.Progress(0, "rendering without loss")
	png, err := s.Render.Lossless(ctx, img, o)
	if err != nil {
		return work.Outcome{}, err
	}
	defer png.File.Close()
	r.Progress(10, "encoding")
	encoded, err := s.Encoder.Encode(ctx, png.File, int64(row.Width)*int64(row.Height), s.Quality(o))
	if err != nil {
		return work.Outcome{}, err
	}
	defer encoded.File.Close()
	r.Progress(90, "checking")
	header, err := format.Probe(encoded.File, encoded.Bytes)
	if err != nil {
		return work.Outcome{}, fault.Wrap(fault.Unprocessable, err, "the encoder's result is no picture")
	}
	if err := same(header, row); err != nil {
		return work.Outcome{}, err
	}
	if _, err := s.Codec.Inspect(ctx, plan.Inspect(header), encoded.File); err != nil {
		return work.Outcome{}, err
	}
	note := note{Before: row.Bytes, Encoder: s.Encoder.Name(), CPUSeconds: encoded.CPU.Seconds()}
	return s.replace(ctx, img, row, note, encoded.Bytes, func(fresh *catalog.Rendition) error {
		return s.keep(ctx, img.Owner, fresh, io.NewSectionReader(encoded.File, 0, encoded.Bytes))
	})
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

// replace puts an encoder's result in the place of the fast rendition, if it is
// smaller; otherwise it is noted that the encoder has tried.
func (s *Service) replace(ctx context.Context, img asset.Image, row catalog.Rendition, tried note, bytes int64, keep func(*catalog.Rendition) error) (work.Outcome, error) {
	fresh := row
	if bytes >= row.Bytes {
		tried.Tried = bytes
		fresh.Note = tried.encode()
		if err := s.Catalog.PutRendition(ctx, img.Owner, fresh); err != nil {
			return orGone(err)
		}
		result := resultOf(fresh)
		result.Before, result.Tried, result.Encoder, result.CPUSeconds = row.Bytes, bytes, tried.Encoder, tried.CPUSeconds
		return work.Outcome{Result: result}, nil
	}
	fresh.Encoder, fresh.Note = tried.Encoder, tried.encode()
	if err := keep(&fresh); err != nil {
		return orGone(err)
	}
	s.Metrics.Saved(row.Bytes - fresh.Bytes)
	return s.replaced(ctx, img, fresh)
}

// replaced is what follows once a rendition is optimised. The node may have died
// before, so that it is the next attempt which comes here.
func (s *Service) replaced(ctx context.Context, img asset.Image, row catalog.Rendition) (work.Outcome, error) {
	s.show(ctx, img, row)
	result := resultOf(row)
	var seen note
	if err := json.Unmarshal([]byte(row.Note), &seen); err == nil {
		result.Before, result.CPUSeconds = seen.Before, seen.CPUSeconds
	}
	return work.Outcome{Result: result, Next: own(img.Owner, s.publishTasks(img, row.Preset, row.Format))}, nil
}

// note is what an optimisation has measured, as it is kept with the rendition.
type note struct {
	Before     int64   `json:"before"`          // bytes of the fast rendition
	Tried      int64   `json:"tried,omitempty"` // bytes of a result that was no smaller, and is not used
	Encoder    string  `json:"encoder"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
}

func (n note) encode() string {
	text, _ := json.Marshal(n) // numbers and strings can't fail
	return string(text)
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
	note := note{Before: row.Bytes, Encoder: "worker " + t.Worker}
	return s.replace(ctx, img, row, note, t.Output.Bytes, func(fresh *catalog.Rendition) error {
		return s.keep(ctx, img.Owner, fresh, out)
	})
}

// openOutput opens what a worker has uploaded.
func (s *Service) openOutput(ctx context.Context, t task.Task) (blob.Reader, error) {
	if t.Output == nil {
		return nil, fault.New(fault.Invalid, "output: upload the result before reporting the task done")
	}
	return s.Home.Open(ctx, blob.OutputName(t.Output.Digest.String()))
}
