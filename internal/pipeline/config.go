package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/quality"
	"safelight/internal/task"
)

// Config says what is made of images, and what becomes of it.
type Config struct {
	// Steps is what is done with every preset, Presets with single ones: any
	// of render (at upload), optimize (afterwards) and publish.
	Steps   []string            `koanf:"steps"`
	Presets map[string][]string `koanf:"presets"`
	// Expire is how long after publishing local copies are kept; 0 keeps them.
	Expire time.Duration `koanf:"expire"`
	// ReconcileEvery is how often the catalog is held against the destinations.
	ReconcileEvery time.Duration `koanf:"reconcile_every"`
	// Encoder optimises: "builtin", "guetzli", or "none".
	Encoder string `koanf:"encoder"`
	// Target is what the builtin encoders must reach where a preset leaves the
	// quality open, as quality.ParseTargets reads it; where a preset names a
	// quality, they must be as good as a plain encoder with that.
	Target string `koanf:"target"`
	// Tier is how much they spend: "balanced" or "max".
	Tier string `koanf:"tier"`
	// Formats are made of presets with format=auto beside their main one, where
	// they come out smaller: "avif", "webp".
	Formats []string `koanf:"formats"`
	// MaxPixels is the largest rendition that they optimise, all frames together.
	MaxPixels int64 `koanf:"max_pixels"`
	// Parallel is how many optimisations run at once, on all nodes together.
	Parallel int `koanf:"parallel"`
	// Recompress keeps JPEG sources in a smaller form at home: "jxl", or "none".
	Recompress string `koanf:"recompress"`
	// RecompressAfter is how long after the upload that is done.
	RecompressAfter time.Duration `koanf:"recompress_after"`
}

// The steps.
const (
	StepRender   = "render"
	StepOptimize = "optimize"
	StepPublish  = "publish"
)

// Encoders.
const (
	EncoderBuiltin = "builtin"
	EncoderGuetzli = "guetzli"
	EncoderNone    = "none"
)

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{
		Steps: []string{StepRender, StepOptimize, StepPublish}, Presets: map[string][]string{},
		Expire: 120 * time.Hour, ReconcileEvery: 24 * time.Hour, Encoder: EncoderBuiltin, Parallel: 1,
		Target: quality.Web.String(), Tier: string(quality.Balanced), Formats: []string{"avif", "webp"}, MaxPixels: 8_000_000,
		Recompress: RecompressNone, RecompressAfter: 24 * time.Hour,
	}
}

// Validate tells what is wrong with a configuration, given the presets there
// are.
func (c Config) Validate(presets map[string]string) error {
	var errs []error
	check := func(where string, steps []string) {
		for _, s := range steps {
			if s != StepRender && s != StepOptimize && s != StepPublish {
				errs = append(errs, fmt.Errorf("%s: expected render, optimize or publish but received %q", where, s))
			}
		}
		if len(steps) > 0 && !slices.Contains(steps, StepRender) {
			errs = append(errs, fmt.Errorf("%s: what is optimized or published must be rendered: add render, or leave the list empty", where))
		}
	}
	check("pipeline.steps", c.Steps)
	for name, steps := range c.Presets {
		check("pipeline.presets."+name, steps)
		if _, ok := presets[name]; !ok {
			errs = append(errs, fmt.Errorf("pipeline.presets.%s: there is no preset of this name", name))
		}
	}
	for name, query := range presets {
		if err := checkPreset(name); err != nil {
			errs = append(errs, err)
		}
		if o, err := options.Parse(query); err == nil && o.Normalize().Identity() && len(c.steps(name)) > 0 {
			errs = append(errs, fmt.Errorf("presets.%s: %q changes nothing, so there is nothing to render; give it options, or no steps (pipeline.presets)", name, query))
		}
	}
	if c.Expire > maxExpire {
		errs = append(errs, fmt.Errorf("pipeline.expire: %s is more than five years; 0 keeps local copies for good", c.Expire))
	}
	if c.Expire < 0 || c.ReconcileEvery < time.Second || c.Parallel < 1 {
		errs = append(errs, errors.New("pipeline: expire must not be negative, reconcile_every at least 1s and parallel at least 1"))
	}
	if c.Encoder != EncoderBuiltin && c.Encoder != EncoderGuetzli && c.Encoder != EncoderNone {
		errs = append(errs, fmt.Errorf("pipeline.encoder: expected builtin, guetzli or none but received %q", c.Encoder))
	}
	return errors.Join(append(append(errs, c.validateSearch()...), c.checkRecompress())...)
}

// validateSearch checks what the builtin encoders go by.
func (c Config) validateSearch() []error {
	var errs []error
	if _, err := quality.ParseTargets(c.Target); err != nil {
		errs = append(errs, fmt.Errorf("pipeline.%w", err))
	}
	if t := quality.Tier(c.Tier); t != quality.Balanced && t != quality.Max {
		errs = append(errs, fmt.Errorf("pipeline.tier: expected balanced or max but received %q", c.Tier))
	}
	for i, name := range c.Formats {
		if f := format.Parse(name); f != format.AVIF && f != format.WebP && f != format.JXL || slices.Contains(c.Formats[:i], name) {
			errs = append(errs, fmt.Errorf("pipeline.formats: expected avif, webp and jxl, each at most once, but received %q", name))
		}
	}
	if c.MaxPixels < 1 {
		errs = append(errs, errors.New("pipeline.max_pixels: expected at least 1; pipeline.encoder is none where nothing is to be optimised"))
	}
	return errs
}

// maxPresetName bounds names of presets, in bytes: they are parts of names of
// tasks.
const maxPresetName = 64

func checkPreset(name string) error {
	ok := name != "" && len(name) <= maxPresetName
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_')
	}
	if !ok || name[0] == '.' {
		return fmt.Errorf("presets: expected names of 1 to %d letters, digits, dots, dashes and underscores but received %.80q", maxPresetName, name)
	}
	if name == sourceName {
		return fmt.Errorf("presets: the name %q stands for the source", name)
	}
	return nil
}

// maxExpire is well within what a task can be put off.
const maxExpire = 5 * 366 * 24 * time.Hour

// steps is what is done with a preset.
func (c Config) steps(preset string) []string {
	if own, ok := c.Presets[preset]; ok {
		return own
	}
	return c.Steps
}

// has tells whether a step is done with a preset.
func (c Config) has(preset, step string) bool { return slices.Contains(c.steps(preset), step) }

// sourceName is what a source is called where presets have their names.
const sourceName = "original"

// Priorities of the functions.
const (
	priorityRender   = task.Prompt
	priorityPublish  = task.Normal
	priorityOptimize = task.Slow
	priorityBackfill = task.Idle
)
