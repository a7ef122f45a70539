package worker

import (
	"bytes"
	"image"
	"image/color"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/bbrks/go-blurhash"
	"github.com/galdor/go-thumbhash"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

func inspect(t testing.TB, load plan.Load, source []byte, steps ...plan.Step) plan.Result {
	t.Helper()
	load.Strict = true
	_, result, err := execute(t, plan.Job{Load: load, Steps: steps, Inspect: true}, source)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestInspect(t *testing.T) {
	m := quarters(1200, 800, red, green, blue, yellow)
	r := inspect(t, plan.Load{Format: format.PNG, Pages: -1}, writePNG(t, m), plan.Step{SRGB: true})
	if r.Width != 1200 || r.Height != 800 || r.Pages != 1 || r.Alpha {
		t.Errorf("%+v", r)
	}
	if nx, ny, err := blurhash.Components(r.BlurHash); err != nil || nx != 4 || ny != 3 {
		t.Error(r.BlurHash, nx, ny, err)
	}
	small, err := thumbhash.DecodeImage(r.ThumbHash)
	if err != nil {
		t.Fatal(err)
	}
	b := small.Bounds()
	near(t, small, b.Dx()/8, b.Dy()/8, red, 70)
	near(t, small, b.Dx()*7/8, b.Dy()*7/8, yellow, 70)

	shrunk := inspect(t, plan.Load{Format: format.JPEG, Shrink: 8, Pages: -1}, writeJPEG(t, m), plan.Step{Orient: 6}, plan.Step{SRGB: true})
	if shrunk.Width != 800 || shrunk.Height != 1200 {
		t.Errorf("%+v", shrunk)
	}
	upright := inspect(t, plan.Load{Format: format.PNG}, writePNG(t, quarters(800, 1200, blue, red, yellow, green)))
	if d := bits.OnesCount64(upright.PHash ^ shrunk.PHash); d > 12 {
		t.Errorf("the same picture, turned upright, differs in %d bits", d)
	}
}

func TestInspectSeesOneClearPixel(t *testing.T) {
	for _, at := range []image.Point{{0, 0}, {700, 500}, {1199, 799}} {
		m := flat(1200, 800, red)
		m.SetNRGBA(at.X, at.Y, clear)
		if r := inspect(t, plan.Load{Format: format.PNG}, writePNG(t, m)); !r.Alpha {
			t.Errorf("the clear pixel at %v was not seen", at)
		}
	}
	opaque := image.NewNRGBA(image.Rect(0, 0, 901, 701))
	noise := rand.New(rand.NewPCG(1, 2))
	for i := range opaque.Pix {
		opaque.Pix[i] = uint8(noise.Uint32())
		if i%4 == 3 {
			opaque.Pix[i] = 255
		}
	}
	webp, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.WebP, Lossless: true, Effort: 1}}, writePNG(t, opaque))
	if err != nil {
		t.Fatal(err)
	}
	if r := inspect(t, plan.Load{Format: format.WebP}, webp); r.Alpha {
		t.Error("an opaque picture is said to be clear somewhere")
	}
}

func TestInspectAnimation(t *testing.T) {
	source := animation(t, 300, 200, []int{5, 10, 20, 40}, 3, red, green, blue, yellow)
	r := inspect(t, plan.Load{Format: format.GIF, Pages: -1}, source, plan.Step{SRGB: true})
	if r.Width != 300 || r.Height != 200 || r.Pages != 4 || r.Alpha {
		t.Errorf("%+v", r)
	}
	r = inspect(t, plan.Load{Format: format.GIF}, source)
	if r.Pages != 4 || r.Height != 200 {
		t.Errorf("%+v", r)
	}
	// To libvips' GIF decoder an animation that breaks off is a shorter one.
	r = inspect(t, plan.Load{Format: format.GIF, Pages: -1}, source[:len(source)/2])
	if r.Pages < 1 || r.Pages > 3 {
		t.Errorf("%+v", r)
	}
}

// Damage is found wherever it is, in the last row too.
func TestInspectReadsToTheEnd(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 640, 997))
	noise := rand.New(rand.NewPCG(3, 4))
	for i := range m.Pix {
		m.Pix[i] = uint8(noise.Uint32()) | uint8(i%4/3*255)
	}
	for f, b := range map[format.Format][]byte{format.PNG: writePNG(t, m), format.JPEG: writeJPEG(t, m)} {
		for _, left := range []int{len(b) / 2, len(b) - 2000, len(b) - 600} {
			_, _, err := execute(t, plan.Job{Load: plan.Load{Format: f, Strict: true}, Inspect: true}, b[:left])
			if fault.Of(err) != fault.Unprocessable {
				t.Errorf("%s of %d bytes cut to %d: %v", f, len(b), left, err)
			}
		}
	}
}

func TestPHash(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 90, 60))
	for y := range 60 {
		for x := range 90 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x * 2), uint8((x*y + 20*x) / 40), uint8(y * 4), 255})
		}
	}
	brighter := image.NewNRGBA(m.Rect)
	copy(brighter.Pix, m.Pix)
	for i := range brighter.Pix {
		if i%4 != 3 {
			brighter.Pix[i] = uint8(min(255, int(brighter.Pix[i])*11/10+6))
		}
	}
	if d := bits.OnesCount64(pHash(m) ^ pHash(brighter)); d > 6 {
		t.Errorf("brighter: %d bits differ", d)
	}
	other := quarters(90, 60, black, white, white, black)
	if d := bits.OnesCount64(pHash(m) ^ pHash(other)); d < 16 {
		t.Errorf("another picture: only %d bits differ", d)
	}
}

func BenchmarkInspect(b *testing.B) {
	var buf bytes.Buffer
	buf.Write(writeJPEG(b, quarters(2000, 1500, red, green, blue, yellow)))
	fd := memfd(b, buf.Bytes())
	job := plan.Job{Load: plan.Load{Format: format.JPEG, Shrink: 8}, Steps: []plan.Step{{SRGB: true}}, Inspect: true}
	for b.Loop() {
		if _, err := engine.Execute(job, Files{Source: fd, Overlay: -1, Output: -1}); err != nil {
			b.Fatal(err)
		}
	}
}
