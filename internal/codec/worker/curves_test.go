package worker

import (
	"fmt"
	"image"
	"image/draw"
	_ "image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"safelight/internal/metric"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/vips"

	"safelight/internal/format"
)

// photos are those in the folder that SAFELIGHT_PHOTOS names, or ../shared/photos.
func photos(t testing.TB) []string {
	dir := os.Getenv("SAFELIGHT_PHOTOS")
	if dir == "" {
		dir = "../../../../shared/photos"
	}
	small, _ := filepath.Glob(filepath.Join(dir, "*.png"))
	large, _ := filepath.Glob(filepath.Join(dir, "1200", "*.png"))
	if len(small) == 0 {
		t.Skip("there are no photographs; SAFELIGHT_PHOTOS names a folder of PNG files")
	}
	return append(small, large...)
}

func loadPhoto(t testing.TB, path string) metric.Image {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := m.Bounds()
	rgba := image.NewNRGBA(b)
	draw.Draw(rgba, b, m, b.Min, draw.Src)
	out := metric.Image{W: b.Dx(), H: b.Dy(), Bands: 3, Pix: make([]uint8, 0, b.Dx()*b.Dy()*3)}
	for i := 0; i < len(rgba.Pix); i += 4 {
		out.Pix = append(out.Pix, rgba.Pix[i], rgba.Pix[i+1], rgba.Pix[i+2])
	}
	return out
}

// TestCurves prints which setting gives which photograph which score, for the
// tables in curves.go: SAFELIGHT_CURVES=jpeg,webp,avif,jxl,fast go test -run TestCurves -v
func TestCurves(t *testing.T) {
	wanted := os.Getenv("SAFELIGHT_CURVES")
	if wanted == "" {
		t.Skip("SAFELIGHT_CURVES is not set")
	}
	for _, path := range photos(t) {
		m := loadPhoto(t, path)
		f := quality.Look(m.Pix, m.W, m.H, m.Bands)
		p := newPicture(Files{Source: -1, Overlay: -1, Output: -1})
		i, err := p.scope.FromMemory(m.Pix, m.W, m.H, m.Bands)
		if err != nil {
			t.Fatal(err)
		}
		if i, err = p.scope.Op("copy", i, vips.Set("interpretation", "srgb")); err != nil {
			t.Fatal(err)
		}
		p.frames = []*vips.Image{i}
		j, err := newJudge(p, quality.Targets{SSIMULACRA2: 99})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Split(wanted, ",") {
			for _, c := range curvesOf(t, p, m, name) {
				for _, x := range c.at {
					begin := time.Now()
					data, err := c.encode(x)
					if err != nil {
						t.Fatal(err)
					}
					took := time.Since(begin)
					s, err := j.score(data, c.format)
					if err != nil {
						t.Fatal(err)
					}
					fmt.Printf("%s\t%s\t%.3f\t%.2f\t%.2f\t%.3f\t%s\t%g\t%.3f\t%d\t%.3f\n", filepath.Base(filepath.Dir(path)), filepath.Base(path), f.Activity, f.Chroma, f.Flat, float64(m.W*m.H)/1e6,
						c.label, x, s.SSIMULACRA2, len(data), took.Seconds())
				}
			}
		}
		p.close()
	}
}

type measuredCurve struct {
	candidate
	label  string
	format format.Format
	at     []float64
}

func curvesOf(t *testing.T, p *picture, m metric.Image, name string) []measuredCurve {
	var out []measuredCurve
	add := func(fm format.Format, at []float64, list ...candidate) {
		for _, c := range list {
			out = append(out, measuredCurve{c, c.settings(0), fm, at})
		}
	}
	v := viaVips{engine, p.frames[0], format.JPEG, false}
	q := []float64{40, 55, 65, 75, 82, 88, 93, 97}
	switch name {
	case "jpeg":
		list, err := engine.jpegs(m, &plan.Search{Targets: quality.Web, Tier: quality.Max})
		if err != nil {
			t.Fatal(err)
		}
		add(format.JPEG, []float64{-2.8, -2.4, -2, -1.6, -1.2, -0.8, -0.4}, list...)
	case "turbo":
		add(format.JPEG, q, v.turbo("off"), v.turbo("on"))
	case "webp":
		v.format = format.WebP
		add(format.WebP, q, v.webP("default"))
	case "avif":
		v.format = format.AVIF
		s := plan.Save{Search: &plan.Search{Tier: quality.Max, Targets: quality.Web}}
		add(format.AVIF, []float64{40, 50, 60, 70, 78, 86, 92}, v.avifs(s)...)
	case "jxl":
		v.format = format.JXL
		for _, tier := range []quality.Tier{quality.Balanced, quality.Max} {
			s := plan.Save{Search: &plan.Search{Tier: tier, Targets: quality.Web}}
			add(format.JXL, []float64{-8, -5.5, -4, -3, -2.2, -1.6, -1.1, -0.7, -0.4}, v.jxls(s, quality.Features{})...)
		}
	case "fast":
		encode := func(fm format.Format, effort int) candidate {
			v := v
			v.format = fm
			args := settings(plan.Save{Format: fm, Effort: effort})
			return candidate{settings: func(float64) string { return "fast " + fm.String() }, encode: func(x float64) ([]byte, error) {
				return v.save(append(args[1:len(args):len(args)], vips.Set("Q", int(x)))...)
			}}
		}
		add(format.JPEG, q, encode(format.JPEG, 0))
		add(format.WebP, q, encode(format.WebP, 2))
		add(format.AVIF, q, encode(format.AVIF, 2))
		add(format.JXL, q, encode(format.JXL, effortJXL))
	}
	return out
}
