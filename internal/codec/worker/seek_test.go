package worker

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/metric"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// scene is a picture with what photographs have: soft gradients, edges of all
// directions, and a textured part.
func scene(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	rng := rand.New(rand.NewPCG(7, 9))
	for y := range h {
		for x := range w {
			fx, fy := float64(x), float64(y)
			r := 120 + 90*math.Sin(fx/37+fy/91)
			g := 110 + 80*math.Sin(fx/53-fy/29)
			b := 130 + 70*math.Cos(fy/41)
			if d := math.Hypot(fx-float64(w)/3, fy-float64(h)/2); d < float64(h)/4 {
				r, g, b = r*0.4+60, g*0.5+20, b*0.7
			}
			if x > 2*w/3 {
				n := rng.Float64()*50 - 25
				r, g, b = r+n, g+n*0.9, b+n*0.7
			}
			m.SetNRGBA(x, y, color.NRGBA{clamp8(r), clamp8(g), clamp8(b), 255})
		}
	}
	return m
}

func clamp8(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

// sought runs a search and scores what came out against the source anew.
func sought(t *testing.T, source []byte, save plan.Save) ([]byte, plan.Measured, float64) {
	t.Helper()
	job := plan.Job{Load: plan.Load{Format: format.Sniff(source), Pages: -1}, Steps: []plan.Step{{SRGB: true}}, Save: &save}
	if !save.Format.HasAlpha() {
		job.Steps = append(job.Steps, plan.Step{Flatten: &plan.RGB{R: 255, G: 255, B: 255, A: 255}})
	}
	out, result, err := execute(t, job, source)
	if err != nil {
		t.Fatal(err)
	}
	if result.Measured == nil {
		t.Fatal("nothing was measured")
	}
	reference, err := metric.Prepare(pixelsOf(t, source))
	if err != nil {
		t.Fatal(err)
	}
	score, err := reference.Score(pixelsOf(t, out))
	if err != nil {
		t.Fatal(err)
	}
	return out, *result.Measured, score
}

// pixelsOf decodes the first frame.
func pixelsOf(t *testing.T, data []byte) metric.Image {
	t.Helper()
	p := newPicture(Files{Source: memfd(t, data), Overlay: -1, Output: -1})
	defer p.close()
	if err := p.load(plan.Load{Format: format.Sniff(data)}); err != nil {
		t.Fatal(err)
	}
	i, err := p.srgb(p.frames[0])
	if err != nil {
		t.Fatal(err)
	}
	m, err := raster(i)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each format comes out at its target: not below, and not far above.
func TestSearchReachesItsTarget(t *testing.T) {
	source := writePNG(t, scene(320, 200))
	for _, f := range writes(t, format.JPEG, format.WebP, format.AVIF, format.JXL) {
		var last int
		for _, target := range []float64{50, 70, 80, 88} {
			for _, tier := range []quality.Tier{quality.Balanced, quality.Max} {
				if tier == quality.Max && target != 80 {
					continue
				}
				out, m, score := sought(t, source, plan.Save{Format: f, Search: &plan.Search{Tier: tier, Targets: quality.Targets{SSIMULACRA2: target}}})
				if !m.Met || m.Scores.SSIMULACRA2 < target || math.Abs(score-m.Scores.SSIMULACRA2) > 0.01 {
					t.Errorf("%s at %g: %+v; scored again it has %.2f", f, target, m, score)
				}
				if score > target+3 && target > 50 {
					t.Errorf("%s at %g: %d bytes score %.2f after %d trials (%s)", f, target, len(out), score, m.Trials, m.Settings)
				}
				if m.Encoder == "" || m.Settings == "" || m.Trials < 1 || m.Trials > 24 || tier == quality.Balanced && m.Trials > 10 {
					t.Errorf("%+v", m)
				}
				if m.Scores.Butteraugli <= 0 {
					t.Errorf("%s, %s: %+v", f, tier, m.Scores)
				}
				switch {
				case tier == quality.Max && len(out) > last:
					t.Errorf("%s: more effort gives %d bytes in the place of %d", f, len(out), last)
				case tier == quality.Balanced && len(out) < last:
					t.Errorf("%s at %g is smaller than at the target before", f, target)
				case tier == quality.Balanced:
					last = len(out)
				}
			}
		}
	}
}

func TestSearchForTwoTargets(t *testing.T) {
	source := writePNG(t, scene(320, 200))
	one, _, _ := sought(t, source, plan.Save{Format: format.JPEG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Targets{SSIMULACRA2: 60}}})
	both, m, _ := sought(t, source, plan.Save{Format: format.JPEG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Targets{SSIMULACRA2: 60, Butteraugli: 0.8}}})
	if !m.Met || m.Scores.Butteraugli > 0.8 || m.Scores.Butteraugli < 0.5 || len(both) <= len(one) {
		t.Errorf("%d bytes, and %d with a target for butteraugli: %+v", len(one), len(both), m)
	}
	_, m, _ = sought(t, source, plan.Save{Format: format.JPEG, Search: &plan.Search{Tier: quality.Max, Targets: quality.Targets{SSIMULACRA2: 60, Butteraugli: 0.8}}})
	if !m.Met || !strings.Contains(m.Settings, "scale") {
		t.Errorf("max: %+v", m)
	}
}

// Without targets the result is as good as the plain encoder's.
func TestSearchForAQuality(t *testing.T) {
	source := writePNG(t, scene(320, 200))
	for _, f := range writes(t, format.JPEG, format.WebP, format.JXL) {
		plain, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: f, Quality: 82}}, source)
		if err != nil {
			t.Fatal(err)
		}
		out, m, score := sought(t, source, plan.Save{Format: f, Quality: 82, Search: &plan.Search{Tier: quality.Balanced}})
		reference, _ := metric.Prepare(pixelsOf(t, source))
		want, _ := reference.Score(pixelsOf(t, plain))
		if !m.Met || score < want-0.01 || math.Abs(m.Targets.SSIMULACRA2-want) > 0.011 || len(out) > len(plain) {
			t.Errorf("%s: %d bytes score %.2f; the plain file's %d score %.2f (%+v)", f, len(out), score, len(plain), want, m)
		}
	}
}

func TestSearchOutOfReach(t *testing.T) {
	noise := image.NewNRGBA(image.Rect(0, 0, 160, 120))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(rng.Uint32()) | uint8(i%4/3*255)
	}
	out, m, _ := sought(t, writePNG(t, noise), plan.Save{Format: format.WebP, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Targets{SSIMULACRA2: 98}}})
	if m.Met || m.Scores.SSIMULACRA2 >= 98 || len(out) == 0 {
		t.Errorf("%+v", m)
	}
}

// A drawing is smaller without loss in WebP and JPEG XL, and with a palette in PNG.
func TestSearchForADrawing(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 300, 200))
	for i := range m.Pix {
		m.Pix[i] = 255
	}
	for y := range 200 {
		for x := range 300 {
			if (x/20+y/20)%3 == 0 {
				m.SetNRGBA(x, y, color.NRGBA{uint8(x / 20 * 12), uint8(y), 200, 255})
			}
		}
	}
	source := writePNG(t, m)
	for _, f := range writes(t, format.WebP, format.JXL) {
		_, got, score := sought(t, source, plan.Save{Format: f, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Web}})
		if !got.Met || score < 80 || !strings.Contains(got.Settings, "lossless") {
			t.Errorf("%s: %+v", f, got)
		}
	}
	small, got, score := sought(t, source, plan.Save{Format: format.PNG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Web}})
	if !got.Met || score < 80 || len(small) > len(source) {
		t.Errorf("%d bytes of %d: %+v", len(small), len(source), got)
	}
	exact, got, score := sought(t, writePNG(t, scene(200, 150)), plan.Save{Format: format.PNG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Targets{SSIMULACRA2: 99}}})
	if !got.Met || score != 100 || strings.Contains(got.Settings, "palette") || len(exact) == 0 {
		t.Errorf("a palette can't score 99 here: %+v", got)
	}
}

func TestSearchKinds(t *testing.T) {
	grey := image.NewGray(image.Rect(0, 0, 120, 90))
	for y := range 90 {
		for x := range 120 {
			grey.SetGray(x, y, color.Gray{uint8(128 + 100*math.Sin(float64(x*y)/300))})
		}
	}
	clearer := scene(120, 90)
	for i := 3; i < len(clearer.Pix); i += 4 {
		clearer.Pix[i] = uint8(i / 4 % 120 * 2)
	}
	for name, source := range map[string][]byte{"grey": writePNG(t, grey), "alpha": writePNG(t, clearer), "one pixel": writePNG(t, flat(1, 1, red)), "a line": writePNG(t, flat(200, 1, blue))} {
		for _, f := range writes(t, format.JPEG, format.WebP, format.AVIF, format.PNG, format.GIF, format.JXL) {
			for _, tier := range []quality.Tier{quality.Fast, quality.Balanced, quality.Max} {
				if tier == quality.Fast && !f.HasQuality() {
					continue
				}
				save := plan.Save{Format: f, Search: &plan.Search{Tier: tier, Targets: quality.Targets{SSIMULACRA2: 60}}}
				job := plan.Job{Load: plan.Load{Format: format.PNG}, Steps: []plan.Step{{SRGB: true}}, Save: &save}
				if !f.HasAlpha() {
					job.Steps = append(job.Steps, plan.Step{Flatten: &plan.RGB{R: 255, G: 255, B: 255, A: 255}})
				}
				out, result, err := execute(t, job, source)
				if err != nil || result.Measured == nil || format.Sniff(out) != f {
					t.Errorf("%s as %s, %s: %v %+v", name, f, tier, err, result.Measured)
				}
			}
		}
	}
}

func TestSearchAnimation(t *testing.T) {
	source := animation(t, 80, 60, []int{5, 10, 20, 40}, 0, red, green, blue, yellow)
	for _, f := range []format.Format{format.WebP, format.GIF} {
		save := plan.Save{Format: f, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Web}}
		out, result, err := execute(t, plan.Job{Load: plan.Load{Format: format.GIF, Pages: -1}, Steps: []plan.Step{{SRGB: true}}, Save: &save}, source)
		if err != nil || result.Pages != 4 || !result.Measured.Met {
			t.Fatalf("%s: %+v, %v", f, result, err)
		}
		for i, c := range []color.Color{red, green, blue, yellow} {
			near(t, decode(t, f, out, i), 10, 10, c.(color.NRGBA), 12)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	source := writePNG(t, scene(64, 48))
	deep := image.NewNRGBA64(image.Rect(0, 0, 16, 16))
	for _, c := range []struct {
		name   string
		source []byte
		save   plan.Save
		kind   fault.Kind
	}{
		{"fast without a quality", source, plan.Save{Format: format.PNG, Search: &plan.Search{Tier: quality.Fast, Targets: quality.Web}}, fault.Invalid},
		{"16 bits", writePNG(t, deep), plan.Save{Format: format.PNG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Web}}, fault.Unprocessable},
		{"damaged", source[:len(source)/2], plan.Save{Format: format.JPEG, Search: &plan.Search{Tier: quality.Balanced, Targets: quality.Web}}, fault.Unprocessable},
	} {
		_, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.PNG, Strict: true}, Save: &c.save}, c.source)
		if err == nil || fault.Of(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// The same job gives the same bytes.
func TestSearchRepeats(t *testing.T) {
	source := writePNG(t, scene(160, 120))
	save := plan.Save{Format: format.JPEG, Search: &plan.Search{Tier: quality.Max, Targets: quality.Web}}
	first, _, _ := sought(t, source, save)
	again, _, _ := sought(t, source, save)
	if !bytes.Equal(first, again) {
		t.Error("two searches of one picture differ")
	}
}
