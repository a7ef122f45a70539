package worker

import (
	"fmt"
	"image/color"
	"testing"

	"pgregory.net/rapid"

	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
)

type spot struct {
	x, y int
	c    color.NRGBA
}

// Each step on a picture of 40 x 20 with a colour in each quarter: red, green, blue, yellow.
func TestSteps(t *testing.T) {
	source := writePNG(t, quarters(40, 20, red, green, blue, yellow))
	framed := flat(50, 40, white)
	for y := 10; y < 30; y++ {
		for x := 5; x < 35; x++ {
			framed.SetNRGBA(x, y, red)
		}
	}
	inClear := flat(50, 40, clear)
	for y := 10; y < 30; y++ {
		for x := 5; x < 35; x++ {
			inClear.SetNRGBA(x, y, white)
		}
	}
	mark := writePNG(t, flat(10, 6, black))
	whiteOpaque := plan.RGB{R: 255, G: 255, B: 255, A: 255}
	half := plan.RGB{R: 255, A: 128}
	corner := geom.Gravity{X: 1, Y: 1}
	for _, c := range []struct {
		name   string
		source []byte
		step   plan.Step
		w, h   int
		spots  []spot
	}{
		{"nothing", source, plan.Step{Orient: 1}, 40, 20, []spot{{1, 1, red}, {38, 18, yellow}}},
		{"trim", writePNG(t, framed), plan.Step{Trim: &plan.Trim{Threshold: 20}}, 30, 20, []spot{{0, 0, red}, {29, 19, red}}},
		{"trim clear", writePNG(t, inClear), plan.Step{Trim: &plan.Trim{Threshold: 20}}, 30, 20, []spot{{0, 0, white}, {29, 19, white}}},
		{"trim nothing but border", writePNG(t, flat(9, 7, red)), plan.Step{Trim: &plan.Trim{Threshold: 20}}, 9, 7, []spot{{4, 4, red}}},
		{"crop", source, plan.Step{Crop: &plan.Crop{Rect: geom.Rect{X: 20, Y: 10, W: 20, H: 10}, Of: geom.Size{W: 40, H: 20}}}, 20, 10, []spot{{1, 1, yellow}}},
		{"crop scaled", source, plan.Step{Crop: &plan.Crop{Rect: geom.Rect{X: 40, Y: 0, W: 40, H: 20}, Of: geom.Size{W: 80, H: 40}}}, 20, 10, []spot{{1, 1, green}, {18, 8, green}}},
		{"crop over the edge", source, plan.Step{Crop: &plan.Crop{Rect: geom.Rect{X: 30, Y: 15, W: 100, H: 100}, Of: geom.Size{W: 40, H: 20}}}, 10, 5, []spot{{1, 1, yellow}}},
		{"resize", source, plan.Step{Resize: &plan.Resize{To: geom.Size{W: 20, H: 20}}}, 20, 10, []spot{{2, 2, red}, {17, 7, yellow}}},
		{"resize exact", source, plan.Step{Resize: &plan.Resize{To: geom.Size{W: 7, H: 33}, Exact: true}}, 7, 33, []spot{{0, 1, red}, {6, 31, yellow}}},
		{"resize up", source, plan.Step{Resize: &plan.Resize{To: geom.Size{W: 100}, Fit: geom.Outside}}, 100, 50, []spot{{10, 10, red}, {90, 40, yellow}}},
		{"orient 2", source, plan.Step{Orient: 2}, 40, 20, []spot{{1, 1, green}, {38, 18, blue}}},
		{"orient 3", source, plan.Step{Orient: 3}, 40, 20, []spot{{1, 1, yellow}, {38, 1, blue}}},
		{"orient 4", source, plan.Step{Orient: 4}, 40, 20, []spot{{1, 1, blue}, {38, 18, green}}},
		{"orient 5", source, plan.Step{Orient: 5}, 20, 40, []spot{{1, 1, red}, {18, 1, blue}, {1, 38, green}}},
		{"orient 6", source, plan.Step{Orient: 6}, 20, 40, []spot{{1, 1, blue}, {18, 1, red}, {18, 38, green}}},
		{"orient 7", source, plan.Step{Orient: 7}, 20, 40, []spot{{1, 1, yellow}, {18, 1, green}, {18, 38, red}}},
		{"orient 8", source, plan.Step{Orient: 8}, 20, 40, []spot{{1, 1, green}, {18, 1, yellow}, {1, 38, red}}},
		{"window", source, plan.Step{Window: &plan.Window{Size: geom.Size{W: 10, H: 10}, Gravity: corner}}, 10, 10, []spot{{1, 1, yellow}}},
		{"window larger", source, plan.Step{Window: &plan.Window{Size: geom.Size{W: 100, H: 10}, Gravity: geom.Gravity{}}}, 40, 10, []spot{{1, 8, red}}},
		{"rotate 90", source, plan.Step{Rotate: &plan.Rotate{Degrees: 90}}, 20, 40, []spot{{1, 1, blue}, {18, 1, red}}},
		{"rotate -90", source, plan.Step{Rotate: &plan.Rotate{Degrees: -90}}, 20, 40, []spot{{1, 1, green}}},
		{"rotate 540", source, plan.Step{Rotate: &plan.Rotate{Degrees: 540}}, 40, 20, []spot{{1, 1, yellow}}},
		{"flip", source, plan.Step{Flip: &plan.Flip{Horizontal: true, Vertical: true}}, 40, 20, []spot{{1, 1, yellow}}},
		{"adjust brightness", source, plan.Step{Adjust: &plan.Adjust{Brightness: 0.5, Contrast: 1, Saturation: 1}}, 40, 20, []spot{{1, 1, color.NRGBA{115, 10, 5, 255}}}},
		{"adjust contrast", source, plan.Step{Adjust: &plan.Adjust{Brightness: 1, Contrast: 0, Saturation: 1}}, 40, 20, []spot{{1, 1, color.NRGBA{128, 128, 128, 255}}}},
		{"adjust saturation", source, plan.Step{Adjust: &plan.Adjust{Brightness: 1, Contrast: 1, Saturation: 0}}, 40, 20, []spot{{1, 1, color.NRGBA{64, 64, 64, 255}}, {38, 1, color.NRGBA{147, 147, 147, 255}}}},
		{"blur", source, plan.Step{Blur: 1.5}, 40, 20, []spot{{2, 2, red}, {20, 2, color.NRGBA{84, 137, 23, 255}}}},
		{"sharpen", source, plan.Step{Sharpen: 1}, 40, 20, []spot{{2, 2, red}, {37, 17, yellow}}},
		{"canvas", source, plan.Step{Canvas: &plan.Canvas{Size: geom.Size{W: 60, H: 40}, Gravity: geom.Center, Background: whiteOpaque}}, 60, 40, []spot{{1, 1, white}, {11, 11, red}, {48, 28, yellow}, {52, 1, white}}},
		{"canvas at a corner", source, plan.Step{Canvas: &plan.Canvas{Size: geom.Size{W: 60, H: 10}, Gravity: corner, Background: half}}, 60, 10, []spot{{1, 1, color.NRGBA{255, 0, 0, 128}}, {21, 1, blue}, {58, 8, yellow}}},
		{"canvas margins", source, plan.Step{Canvas: &plan.Canvas{Top: 1, Right: 2, Bottom: 3, Left: 4}}, 46, 24, []spot{{0, 0, clear}, {4, 1, red}, {43, 20, yellow}, {44, 20, clear}}},
		{"watermark", source, plan.Step{Watermark: &plan.Watermark{Format: format.PNG, Gravity: corner, Margin: 2, Opacity: 1}}, 40, 20, []spot{{37, 17, black}, {38, 18, yellow}, {28, 12, black}, {27, 12, yellow}}},
		{"watermark half", source, plan.Step{Watermark: &plan.Watermark{Format: format.PNG, Opacity: 0.5}}, 40, 20, []spot{{1, 1, color.NRGBA{115, 10, 5, 255}}, {12, 8, red}}},
		{"watermark scaled", source, plan.Step{Watermark: &plan.Watermark{Format: format.PNG, Scale: 0.5, Opacity: 1}}, 40, 20, []spot{{19, 11, black}, {21, 2, green}}},
		{"watermark larger", source, plan.Step{Watermark: &plan.Watermark{Format: format.PNG, Scale: 2, Opacity: 1, Gravity: geom.Center}}, 40, 20, []spot{{0, 0, black}, {39, 19, black}}},
		{"watermark tiled", source, plan.Step{Watermark: &plan.Watermark{Format: format.PNG, Tile: true, Margin: 1, Opacity: 1}}, 40, 20, []spot{{0, 0, red}, {1, 1, black}, {11, 1, red}, {13, 9, black}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var overlay [][]byte
			if c.step.Watermark != nil {
				overlay = append(overlay, mark)
			}
			m := render(t, c.source, []plan.Step{{SRGB: true}, c.step}, overlay...)
			sized(t, m, c.w, c.h)
			for _, s := range c.spots {
				near(t, m, s.x, s.y, s.c, 4)
			}
		})
	}
}

func TestGrayAndFlatten(t *testing.T) {
	source := writePNG(t, quarters(40, 20, red, clear, color.NRGBA{0, 0, 255, 128}, yellow))
	m := render(t, source, []plan.Step{{Gray: true}})
	g := color.NRGBAModel.Convert(m.At(1, 1)).(color.NRGBA)
	if g.R != g.G || g.G != g.B || g.R < 60 || g.R > 130 {
		t.Errorf("grey of red is %v", g)
	}
	near(t, m, 38, 1, clear, 0)
	m = render(t, source, []plan.Step{{SRGB: true}, {Flatten: &plan.RGB{G: 255}}})
	near(t, m, 1, 1, red, 0)
	near(t, m, 38, 1, color.NRGBA{0, 255, 0, 255}, 0)
	near(t, m, 1, 18, color.NRGBA{0, 127, 128, 255}, 1)
	// Grey on a colour becomes colour.
	m = render(t, source, []plan.Step{{Gray: true}, {Flatten: &plan.RGB{R: 255}}})
	near(t, m, 38, 1, color.NRGBA{255, 0, 0, 255}, 0)
}

// Transparent pixels lend no colour to their neighbours, whatever mixes them.
func TestAlphaEdges(t *testing.T) {
	hidden := color.NRGBA{0, 255, 0, 0}
	source := writePNG(t, quarters(64, 64, red, hidden, red, hidden))
	for name, step := range map[string]plan.Step{
		"resize":  {Resize: &plan.Resize{To: geom.Size{W: 9, H: 9}}},
		"up":      {Resize: &plan.Resize{To: geom.Size{W: 99, H: 99}, Exact: true}},
		"blur":    {Blur: 3},
		"sharpen": {Sharpen: 2},
		"rotate":  {Rotate: &plan.Rotate{Degrees: 30}},
	} {
		m := render(t, source, []plan.Step{step})
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
				if c.A > 8 && (c.G > 90 || c.R < 190) {
					t.Fatalf("%s: pixel %d,%d is %v: the hidden colour shows", name, x, y, c)
				}
			}
		}
	}
}

func TestRotateAnyAngle(t *testing.T) {
	source := writePNG(t, flat(60, 60, red))
	m := render(t, source, []plan.Step{{Rotate: &plan.Rotate{Degrees: 45, Background: plan.RGB{B: 255, A: 255}}}})
	if w := m.Bounds().Dx(); w < 84 || w > 86 {
		t.Errorf("turned by 45 degrees it is %d wide", w)
	}
	near(t, m, 1, 1, color.NRGBA{0, 0, 255, 255}, 2)
	near(t, m, 42, 42, red, 2)
	m = render(t, source, []plan.Step{{Rotate: &plan.Rotate{Degrees: 45}}})
	near(t, m, 1, 1, clear, 0)
	m = render(t, source, []plan.Step{{Rotate: &plan.Rotate{Degrees: 45, Background: plan.RGB{R: 200, A: 128}}}})
	near(t, m, 1, 1, color.NRGBA{200, 0, 0, 128}, 3)
}

func TestText(t *testing.T) {
	source := writePNG(t, flat(200, 100, white))
	for _, s := range []string{"Safelight", "<b>&amp;</b> \"x\"", "a very long line that is wider than the picture"} {
		m := render(t, source, []plan.Step{{Text: &plan.Text{String: s, Size: 30, Gravity: geom.Center, Opacity: 1, Color: plan.RGB{A: 255}}}})
		sized(t, m, 200, 100)
		dark, edge := 0, 0
		for y := range 100 {
			for x := range 200 {
				if r, _, _, _ := m.At(x, y).RGBA(); r < 0x8000 {
					dark++
					if y < 15 || y > 85 {
						edge++
					}
				}
			}
		}
		if dark < 100 || edge > 0 {
			t.Errorf("%q: %d dark pixels, %d at the edge", s, dark, edge)
		}
	}
	near(t, render(t, source, []plan.Step{{Text: &plan.Text{String: " ", Size: 30, Opacity: 1}}}), 1, 1, white, 0)
}

func TestSmartWindow(t *testing.T) {
	m := flat(300, 100, color.NRGBA{90, 90, 90, 255})
	for y := 30; y < 70; y++ {
		for x := 240; x < 280; x++ {
			m.SetNRGBA(x, y, []color.NRGBA{red, yellow}[(x/4+y/4)%2])
		}
	}
	out := render(t, writePNG(t, m), []plan.Step{{Window: &plan.Window{Size: geom.Size{W: 100, H: 100}, Gravity: geom.Gravity{Smart: true}}}})
	sized(t, out, 100, 100)
	found := false
	for x := range 100 {
		r, g, _, _ := out.At(x, 50).RGBA()
		found = found || (r > 0xc000 && g < 0x4000)
	}
	if !found {
		t.Error("the window shows none of what stands out")
	}
}

// A resize gives exactly the size that was asked for, whatever libvips rounds to.
func TestResizeIsExact(t *testing.T) {
	source := map[geom.Size][]byte{}
	rapid.Check(t, func(r *rapid.T) {
		from := geom.Size{W: rapid.IntRange(1, 400).Draw(r, "w"), H: rapid.IntRange(1, 400).Draw(r, "h")}
		to := geom.Size{W: rapid.IntRange(1, 400).Draw(r, "to w"), H: rapid.IntRange(1, 400).Draw(r, "to h")}
		if source[from] == nil {
			source[from] = writePNG(t, flat(from.W, from.H, red))
		}
		m := render(t, source[from], []plan.Step{{Resize: &plan.Resize{To: to, Exact: true}}})
		if got := (geom.Size{W: m.Bounds().Dx(), H: m.Bounds().Dy()}); got != to {
			r.Fatalf("%v became %v instead of %v", from, got, to)
		}
		if c := fmt.Sprint(color.NRGBAModel.Convert(m.At(to.W/2, to.H/2))); c != fmt.Sprint(red) {
			r.Fatalf("%v to %v: a red picture became %s", from, to, c)
		}
	})
}
