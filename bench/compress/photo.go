package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"safelight/internal/metric"
	"safelight/internal/quality"
)

// frozen has what guetzli made of each photograph, a line each; photographs are
// known by the SHA-256 of their samples.
//
//go:embed testdata/guetzli.tsv
var frozen string

// photo is an original and what guetzli makes of it.
type photo struct {
	name, path string
	pixels     metric.Image // sRGB, three bands
	heldBack   bool         // no parameter was fitted on it
	large      bool         // 1200 px wide; the others are about 500
	timed      bool         // guetzli is run on it again
	plotted    bool         // its curves are measured
	guetzli    guetzli
}

// guetzli is Debian's guetzli 1.0.1 with its default quality.
type guetzli struct {
	bytes  int64
	scores quality.Scores
	cpu    float64 // seconds
}

// floors are the targets of a file that is at least as good.
func (g guetzli) floors() quality.Targets { return quality.Targets(g.scores) }

// timed are the photographs on which guetzli is timed in every run.
var timed = []string{"cb51d5f.png", "1200/cddcd24.png"}

// few are those of a quick run.
var few = []string{"bees.png", "caed95e.png", "cb51d5f.png"}

func (p *photo) megapixels() float64 { return float64(p.pixels.W*p.pixels.H) / 1e6 }

// load reads the photographs of the table that are in dir, the largest first;
// none where dir is not there.
func load(dir string, quick bool) ([]*photo, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil
	}
	var photos []*photo
	for _, line := range strings.Split(strings.TrimSpace(frozen), "\n")[1:] {
		f := strings.Split(line, "\t")
		p := &photo{name: f[0], path: filepath.Join(dir, f[0]), heldBack: f[1] == "held back", large: strings.HasPrefix(f[0], "1200/"), timed: slices.Contains(timed, f[0])}
		p.plotted = p.heldBack && !p.large
		if _, err := fmt.Sscan(strings.Join(f[3:], " "), &p.guetzli.bytes, &p.guetzli.scores.SSIMULACRA2, &p.guetzli.scores.Butteraugli, &p.guetzli.cpu); err != nil {
			return nil, fmt.Errorf("guetzli.tsv: %s: %w", p.name, err)
		}
		if quick && !slices.Contains(few, p.name) {
			continue
		}
		if err := p.read(f[2]); err != nil {
			return nil, err
		}
		photos = append(photos, p)
	}
	slices.SortStableFunc(photos, func(a, b *photo) int { return cmp.Compare(b.megapixels(), a.megapixels()) })
	return photos, nil
}

// read decodes the photograph, whose samples must have a digest.
func (p *photo) read(digest string) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if p.pixels, err = decodePNG(f); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	sum := sha256.Sum256(p.pixels.Pix)
	if hex.EncodeToString(sum[:]) != digest {
		return fmt.Errorf("%s has other pixels than the photograph that guetzli.tsv is about", p.path)
	}
	return nil
}

// decodePNG reads an opaque picture.
func decodePNG(r io.Reader) (metric.Image, error) {
	picture, err := png.Decode(r)
	if err != nil {
		return metric.Image{}, err
	}
	b := picture.Bounds()
	m := metric.Image{W: b.Dx(), H: b.Dy(), Bands: 3, Pix: make([]uint8, 0, b.Dx()*b.Dy()*3)}
	rgba, ok := picture.(*image.RGBA) // what an opaque PNG of 8 bits comes as
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			var c color.RGBA
			if ok {
				c = rgba.RGBAAt(x, y)
			} else {
				c = color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)
			}
			m.Pix = append(m.Pix, c.R, c.G, c.B)
		}
	}
	return m, nil
}

// ppm is the photograph as cjpeg reads it.
func (p *photo) ppm() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "P6\n%d %d\n255\n", p.pixels.W, p.pixels.H)
	out.Write(p.pixels.Pix)
	return out.Bytes()
}
