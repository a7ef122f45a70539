package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden renders anew")

// goldens are operations on the same small picture. Sizes and alpha must be
// exact; pixels may differ by the tolerance, in levels a channel on average,
// since codec libraries differ in the last bit.
var goldens = []struct {
	name, query string
	tolerance   float64
}{
	{"width", "w=60", 1.5},
	{"inside-enlarged", "w=300&fit=inside", 1.5},
	{"contain", "w=80&h=80&fit=contain&bg=ff8800", 1.5},
	{"contain-gravity", "w=80&h=80&fit=contain&gravity=north", 1.5},
	{"cover", "w=50&h=50&fit=cover", 1.5},
	{"cover-west", "w=50&h=50&fit=cover&gravity=west", 1.5},
	{"cover-focal", "w=30&h=60&fit=cover&gravity=0.8,0.5", 1.5},
	{"cover-smart", "w=50&h=50&fit=cover&gravity=smart", 1.5},
	{"fill", "w=50&h=90&fit=fill", 1.5},
	{"outside", "w=50&h=50&fit=outside", 1.5},
	{"scale-down", "w=1000&fit=scale-down", 0.5},
	{"dpr", "w=30&dpr=2", 1.5},
	{"crop", "crop=20,10,60,40", 0.5},
	{"crop-resize", "crop=20,10,60,40&w=30", 1.5},
	{"rot90", "rot=90&w=60", 1.5},
	{"rot180", "rot=180&w=60", 1.5},
	{"rot30", "rot=30&w=60&bg=00ff00", 2},
	{"flip-h", "flip=h&w=60", 1.5},
	{"flip-v", "flip=v&w=60", 1.5},
	{"trim", "trim=10", 1.5},
	{"pad", "w=40&pad=5,10&bg=0000ff", 1.5},
	{"pad-transparent", "w=40&pad=4", 1.5},
	{"bg", "w=60&bg=ffffff", 1.5},
	{"blur", "w=60&blur=3", 1.5},
	{"sharp", "w=60&sharp=1", 2},
	{"bright", "w=60&bright=1.4", 2},
	{"contrast", "w=60&contrast=1.5", 2},
	{"sat", "w=60&sat=0.3", 2},
	{"gray", "w=60&gray=1", 2},
	{"watermark", "w=100&watermark=mark.png&wm_scale=0.3&wm_margin=4", 2},
	{"watermark-tile", "w=100&watermark=mark.png&wm_scale=0.2&wm_tile=1&wm_opacity=0.5", 2},
	{"text", "w=100&text=Safelight&text_size=16&text_margin=4", 3},
}

// canvas is the picture of the goldens: a scene with a transparent corner and a
// plain border for trim to find.
func canvas() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, 120, 80))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.NRGBA{200, 30, 30, 255}), image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(10, 10, 110, 70), scene(100, 60, 7), image.Point{}, draw.Src)
	for y := 40; y < 60; y++ {
		for x := 80; x < 100; x++ {
			img.SetNRGBA(x, y, color.NRGBA{0, 0, 0, uint8((x - 80) * 12)})
		}
	}
	return img
}

func TestGolden(t *testing.T) {
	s := start(t, "")
	mark := scene(40, 20, 3)
	s.upload(file{name: "canvas.png", bytes: pngOf(t, canvas())}, file{name: "mark.png", bytes: pngOf(t, mark)})
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			a := s.get("/images/canvas.png?format=png&" + g.query)
			if a.status != 200 {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			path := filepath.Join("testdata", "golden", g.name+".png")
			if *update {
				if err := os.WriteFile(path, a.body, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("there is no golden: %v", err)
			}
			compare(t, decoded(t, a), want, g.tolerance)
		})
	}
}

// compare holds a picture against a golden: size and alpha exactly, colours
// within the tolerance.
func compare(t *testing.T, got image.Image, golden []byte, tolerance float64) {
	t.Helper()
	want, err := png.Decode(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if got.Bounds() != want.Bounds() {
		t.Fatalf("the size is %v, not %v", got.Bounds().Size(), want.Bounds().Size())
	}
	var total, alpha, n float64
	for y := range got.Bounds().Dy() {
		for x := range got.Bounds().Dx() {
			a := color.NRGBAModel.Convert(got.At(x, y)).(color.NRGBA)
			b := color.NRGBAModel.Convert(want.At(x, y)).(color.NRGBA)
			weight := float64(b.A) / 255
			total += weight * (abs(float64(a.R)-float64(b.R)) + abs(float64(a.G)-float64(b.G)) + abs(float64(a.B)-float64(b.B))) / 3
			alpha = max(alpha, abs(float64(a.A)-float64(b.A)))
			n++
		}
	}
	if mean := total / n; mean > tolerance || alpha > 2 {
		t.Errorf("the colours differ by %.2f levels on average (allowed %.1f), alpha by at most %.0f", mean, tolerance, alpha)
	}
}

// TestFormats asks for each format and for each quality setting.
func TestFormats(t *testing.T) {
	s := start(t, "")
	s.upload(file{name: "photo.jpg", bytes: jpegOf(t, scene(200, 150, 1))}, file{name: "film.gif", bytes: movie(t, 40, 30, 4)})
	magic := map[string]string{"jpeg": "\xff\xd8\xff", "png": "\x89PNG", "webp": "RIFF", "gif": "GIF8", "avif": "ftypavif"}
	for format, bytes := range magic {
		for _, query := range []string{"", "&q=50", "&lossless=1", "&strip=0"} {
			a := s.get("/images/photo.jpg?w=100&format=" + format + query)
			if a.status != 200 || !contains(a.body[:16], bytes) || a.header.Get("Content-Type") != "image/"+format {
				t.Errorf("format=%s%s was answered %d %s", format, query, a.status, a.header.Get("Content-Type"))
			}
		}
	}
	for accept, want := range map[string]string{
		"image/avif,image/webp,*/*;q=0.8": "image/avif", "image/webp,*/*": "image/webp", "*/*": "image/jpeg", "": "image/jpeg",
		"image/avif;q=0,image/webp": "image/webp",
	} {
		a := s.get("/images/photo.jpg?w=100&format=auto", "Accept", accept)
		if a.header.Get("Content-Type") != want || a.header.Get("Vary") != "Accept" {
			t.Errorf("Accept %q got %s, Vary %q", accept, a.header.Get("Content-Type"), a.header.Get("Vary"))
		}
	}
	a := s.get("/images/film.gif?w=20&format=auto", "Accept", "image/avif,image/webp")
	if a.header.Get("Content-Type") != "image/webp" || !contains(a.body, "ANMF") {
		t.Errorf("an animation became %s", a.header.Get("Content-Type"))
	}
	if a := s.get("/images/film.gif?w=20&format=webp&anim=0"); contains(a.body, "ANMF") {
		t.Error("anim=0 is still an animation")
	}
	if a := s.get("/images/photo.jpg?w=50&dl=" + url.QueryEscape("a b\".exe")); a.header.Get("Content-Disposition") != `attachment; filename="a b\".jpg"` {
		t.Errorf("dl gives %s", a.header.Get("Content-Disposition"))
	}
	if a := s.get("/images/photo.jpg?w=50"); !progressive(a.body) {
		t.Error("the JPEG is not progressive")
	}
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }

// progressive looks for the start of a progressive frame.
func progressive(b []byte) bool { return contains(b, "\xff\xc2\x00") }

func TestPresets(t *testing.T) {
	s := start(t, "", "SAFELIGHT_PRESETS={thumb: 'w=50&h=50&fit=cover', small: w=30}")
	s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(200, 100, 1))})
	for query, want := range map[string]image.Point{"preset=thumb": {X: 50, Y: 50}, "preset=small": {X: 30, Y: 15}, "preset=small&w=40": {X: 40, Y: 20}} {
		if size := decoded(t, s.get("/images/a.jpg?"+query)).Bounds().Size(); size != want {
			t.Errorf("%s is %v, not %v", query, size, want)
		}
	}
	if fmt.Sprint(s.get("/images/a.jpg?preset=thumb").body) != fmt.Sprint(s.get("/images/a.jpg?w=50&h=50&fit=cover").body) {
		t.Error("a preset and its options are not the same variant")
	}
}
