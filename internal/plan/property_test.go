package plan_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/options"
	"safelight/internal/plan"
)

func drawHeader(t *rapid.T) format.Header {
	side := rapid.OneOf(rapid.IntRange(1, 64), rapid.IntRange(1, 5000), rapid.IntRange(1, 65535))
	h := format.Header{
		Format: rapid.SampledFrom(format.All()).Draw(t, "format"), Width: side.Draw(t, "width"), Height: side.Draw(t, "height"),
		Pages: rapid.SampledFrom([]int{1, 1, 2, 40, 600}).Draw(t, "pages"), Orientation: rapid.IntRange(0, 8).Draw(t, "orientation"),
		Alpha: rapid.Bool().Draw(t, "alpha"), Color: format.Color(rapid.IntRange(0, 3).Draw(t, "color")),
		Bands: rapid.IntRange(0, 5).Draw(t, "bands"), BitDepth: rapid.SampledFrom([]int{1, 8, 16, 32}).Draw(t, "depth"),
	}
	h.Animated = h.Pages > 1 && rapid.Bool().Draw(t, "animated")
	return h
}

// values are some for each option that shapes a plan.
var values = map[string][]string{
	"w": {"0", "1", "10", "333", "5000", "16384"}, "h": {"0", "1", "9", "500", "5000", "16384"}, "dpr": {"0.1", "1.5", "8"}, "fit": geom.Fits(),
	"gravity": {"smart", "north", "0.3,0.9"}, "crop": {"0,0,1,1", "5,5,100,100", "60,0,60000,60000"}, "rot": {"90", "180", "-7", "45"},
	"flip": {"h", "hv"}, "trim": {"10"}, "pad": {"1", "4096", "0,9,8,7"}, "bg": {"fff", "fff8"}, "blur": {"3"}, "sharp": {"1"},
	"bright": {"0", "2"}, "gray": {"1"}, "text": {"hi"}, "format": {"auto", "jpeg", "webp", "avif", "png", "gif", "jxl"}, "q": {"50"},
	"lossless": {"1"}, "page": {"1", "39"}, "anim": {"0"}, "strip": {"0"},
}

func drawOptions(t *rapid.T) options.Options {
	var o options.Options
	for _, f := range options.Fields() {
		some := values[f.Name]
		if len(some) == 0 || rapid.IntRange(0, 2).Draw(t, "with "+f.Name) > 0 {
			continue
		}
		if err := o.Set(f.Name, rapid.SampledFrom(some).Draw(t, f.Name)); err != nil {
			t.Fatal(err)
		}
	}
	return o.Normalize()
}

func TestPlansHold(t *testing.T) {
	t.Parallel()
	config := plan.DefaultConfig()
	planned := 0
	rapid.Check(t, func(t *rapid.T) {
		h, o := drawHeader(t), drawOptions(t)
		accept := plan.Accept{AVIF: rapid.Bool().Draw(t, "takes AVIF"), WebP: rapid.Bool().Draw(t, "takes WebP"), JXL: rapid.Bool().Draw(t, "takes JPEG XL")}
		asked := o.Format
		o.Format, o.Auto = config.Target(o, h, accept), false
		if !o.Format.Encodable() || asked != format.Unknown && o.Format != asked {
			t.Fatalf("the target is %s", o.Format)
		}
		var overlay *plan.Overlay
		if rapid.Bool().Draw(t, "overlay") {
			overlay = &plan.Overlay{Format: format.PNG}
		}
		p, err := config.Render(o, h, overlay)
		if err != nil {
			e := fault.As(err)
			if e == nil || e.Kind != fault.Invalid && e.Kind != fault.Unprocessable || e.Limit != "" && e.Got <= e.Max {
				t.Fatalf("%+v", err)
			}
			return
		}
		planned++
		checkPlan(t, config, o, h, p)
	})
	if planned == 0 {
		t.Error("every request was refused")
	}
}

func checkPlan(t *rapid.T, config plan.Config, o options.Options, h format.Header, p plan.Plan) {
	if p.Cost <= 0 || p.Out.W < 1 || p.Out.H < 1 || max(p.Out.W, p.Out.H) > options.MaxSide || int64(p.Out.W)*int64(p.Out.H) > config.MaxOutputPixels {
		t.Fatalf("out %v at a cost of %d", p.Out, p.Cost)
	}
	load := p.Job.Load
	if p.Frames < 1 || p.Frames > 1 && !o.Format.Animates() || load.Pages != p.Frames || load.Page+load.Pages > max(h.Pages, 1) {
		t.Fatalf("%d frames from %+v of %d", p.Frames, load, h.Pages)
	}
	if load.Shrink != 0 && (h.Format != format.JPEG || load.Shrink != 2 && load.Shrink != 4 && load.Shrink != 8) || load.Scale < 0 || load.Scale >= 1 {
		t.Fatalf("load %+v of %s", load, h.Format)
	}
	if p.Job.Save == nil || p.Job.Save.Format != o.Format || p.Job.Inspect {
		t.Fatalf("save %+v", p.Job.Save)
	}
	orients, flat := 0, false
	for _, s := range p.Job.Steps {
		if set(s) != 1 {
			t.Fatalf("%d operations in one step: %+v", set(s), s)
		}
		if s.Orient != 0 {
			orients++
		}
		flat = flat || s.Flatten != nil
		if s.Resize != nil && s.Resize.Exact && min(s.Resize.To.W, s.Resize.To.H) < 1 {
			t.Fatalf("%+v", *s.Resize)
		}
	}
	if turned := h.Orientation > 1; turned && orients != 1 || !turned && orients != 0 || !flat && !o.Format.HasAlpha() {
		t.Fatalf("orientation %d is undone %d times; flattened: %t", h.Orientation, orients, flat)
	}
}

// set is the number of fields of a step that are set.
func set(s plan.Step) int {
	n := 0
	for _, f := range reflect.ValueOf(s).Fields() {
		if !f.IsZero() {
			n++
		}
	}
	return n
}
