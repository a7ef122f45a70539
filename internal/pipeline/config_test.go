package pipeline

import (
	"strings"
	"testing"
	"time"
)

func TestConfigMessages(t *testing.T) {
	t.Parallel()
	presets := map[string]string{"small": "w=100"}
	if err := DefaultConfig().Validate(presets); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change  func(*Config)
		presets map[string]string
		says    string
	}{
		"an unknown step":         {change: func(c *Config) { c.Steps = []string{"render", "shrink"} }, says: `pipeline.steps: expected render, optimize or publish but received "shrink"`},
		"an unknown step of one":  {change: func(c *Config) { c.Presets["small"] = []string{"x"} }, says: `pipeline.presets.small: expected render`},
		"nothing to publish":      {change: func(c *Config) { c.Steps = []string{"publish"} }, says: "pipeline.steps: what is optimized or published must be rendered"},
		"an unknown preset":       {change: func(c *Config) { c.Presets["x"] = []string{"render"} }, says: "pipeline.presets.x: there is no preset of this name"},
		"expire":                  {change: func(c *Config) { c.Expire = -1 }, says: "expire must not be negative"},
		"reconcile":               {change: func(c *Config) { c.ReconcileEvery = time.Millisecond }, says: "reconcile_every at least 1s"},
		"parallel":                {change: func(c *Config) { c.Parallel = 0 }, says: "parallel at least 1"},
		"an unknown encoder":      {change: func(c *Config) { c.Encoder = "x" }, says: `pipeline.encoder: expected builtin, guetzli or none but received "x"`},
		"an unreadable target":    {change: func(c *Config) { c.Target = "good" }, says: "pipeline.target: expected a number such as 80"},
		"a tier without a search": {change: func(c *Config) { c.Tier = "fast" }, says: `pipeline.tier: expected balanced or max but received "fast"`},
		"an odd format":           {change: func(c *Config) { c.Formats = []string{"gif"} }, says: "pipeline.formats: expected avif, webp and jxl"},
		"a format twice":          {change: func(c *Config) { c.Formats = []string{"webp", "webp"} }, says: "pipeline.formats: expected avif, webp and jxl"},
		"no pixels":               {change: func(c *Config) { c.MaxPixels = 0 }, says: "pipeline.max_pixels: expected at least 1"},
		"an unknown form":         {change: func(c *Config) { c.Recompress = "webp" }, says: `pipeline.recompress: expected jxl or none but received "webp"`},
		"recompress before":       {change: func(c *Config) { c.RecompressAfter = -1 }, says: "pipeline.recompress_after: -1ns is not from 0"},
		"a preset with a slash":   {presets: map[string]string{"a/b": "w=1"}, says: `received "a/b"`},
		"a preset without a name": {presets: map[string]string{"": "w=1"}, says: `received ""`},
		"a hidden preset":         {presets: map[string]string{".a": "w=1"}, says: `received ".a"`},
		"a long name":             {presets: map[string]string{strings.Repeat("a", 65): "w=1"}, says: "1 to 64 letters"},
		"the source's name":       {presets: map[string]string{"original": "w=1"}, says: `the name "original" stands for the source`},
		"one that does nothing":   {presets: map[string]string{"x": ""}, says: `presets.x: "" changes nothing`},
	} {
		config := DefaultConfig()
		if c.change != nil {
			c.change(&config)
		}
		of := presets
		if c.presets != nil {
			of = c.presets
		}
		if err := config.Validate(of); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; expected %q", name, err, c.says)
		}
	}
	config := DefaultConfig()
	config.Presets["x"] = nil // one that does nothing is allowed where nothing is done with it
	if err := config.Validate(map[string]string{"x": "", "a.b-c_D9": "w=1"}); err != nil {
		t.Error(err)
	}
}

func TestStepsOfPresets(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.Steps, c.Presets = []string{StepRender, StepPublish}, map[string][]string{"none": {}, "own": {StepRender, StepOptimize}}
	for preset, want := range map[string]string{"any": "render publish", "none": "", "own": "render optimize"} {
		var got []string
		for _, s := range []string{StepRender, StepOptimize, StepPublish} {
			if c.has(preset, s) {
				got = append(got, s)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", preset, got)
		}
	}
	c.Parallel = 3
	functions := c.Functions()
	for name, f := range functions {
		p := f.Policy
		if p.Timeout == 0 || (f.Pool != "") != (p.Concurrency > 0) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if len(functions) != 11 || functions[Optimize].Policy.Concurrency != 3 {
		t.Errorf("%+v", functions)
	}
}
