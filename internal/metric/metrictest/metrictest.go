// Package metrictest has what the tests of the metrics share: pictures with
// known scores, ways to spoil a picture, and processor time for a megapixel.
// It imports none of the metrics, so that their own tests can use it.
package metrictest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	_ "image/png" // of the photographs
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Pixels is a picture in 8-bit sRGB: W × H × 3 samples, interleaved.
type Pixels struct {
	W, H int
	Pix  []uint8
}

// Vector is a photograph that libjpeg-turbo compressed, and what the reference
// implementations found.
type Vector struct {
	Name      string // of the photograph, with the command that compressed it
	Ref, Dist Pixels // Ref is the same slice for all vectors of a photograph

	SSIMULACRA2, ButteraugliMax, ButteraugliP3 float64
}

// Vectors reads metric-vectors.tsv from the folder that SAFELIGHT_PHOTOS names,
// or ../shared/photos, root being the way to the repository. It skips the test
// where there is none, or no libjpeg-turbo.
func Vectors(t *testing.T, root string) []Vector {
	t.Helper()
	dir := os.Getenv("SAFELIGHT_PHOTOS")
	if dir == "" {
		dir = filepath.Join(root, "..", "shared", "photos")
	}
	table, err := os.ReadFile(filepath.Join(dir, "metric-vectors.tsv"))
	if err != nil {
		t.Skipf("no photographs (SAFELIGHT_PHOTOS): %v", err)
	}
	for _, program := range []string{"cjpeg", "djpeg"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: install libjpeg-turbo-progs", err)
		}
	}
	var list []Vector
	refs := make(map[string]Pixels)
	for line := range strings.Lines(string(table)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 7 || f[0] == "image" {
			continue
		}
		if _, ok := refs[f[0]]; !ok {
			refs[f[0]] = readPNG(t, filepath.Join(dir, f[0]+".png"))
		}
		list = append(list, row(t, refs[f[0]], f))
	}
	if len(list) == 0 {
		t.Fatal("metric-vectors.tsv has no rows")
	}
	return list
}

// row makes a vector of a row's fields.
func row(t *testing.T, ref Pixels, f []string) Vector {
	t.Helper()
	v := Vector{Name: f[0] + " " + f[1], Ref: ref, Dist: throughJPEG(t, ref, f[1])}
	// The reference's digest in the table is of another header; that of what was
	// made from it vouches for both.
	sum := sha256.Sum256(v.Dist.ppm())
	if got := hex.EncodeToString(sum[:]); !strings.HasPrefix(got, f[3]) {
		t.Fatalf("%s: the PPM's digest is %.16s; expected %s", v.Name, got, f[3])
	}
	for i, to := range []*float64{&v.SSIMULACRA2, &v.ButteraugliMax, &v.ButteraugliP3} {
		var err error
		if *to, err = strconv.ParseFloat(f[4+i], 64); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func readPNG(t *testing.T, name string) Pixels {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoded, _, err := image.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	b := decoded.Bounds()
	p := Pixels{W: b.Dx(), H: b.Dy()}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red, green, blue, _ := decoded.At(x, y).RGBA()
			p.Pix = append(p.Pix, uint8(red>>8), uint8(green>>8), uint8(blue>>8))
		}
	}
	return p
}

// throughJPEG compresses and decompresses with the commands of a row, such as
// "cjpeg(turbo2.1.5) -quality 80 -sample 2x2; djpeg".
func throughJPEG(t *testing.T, p Pixels, commands string) Pixels {
	t.Helper()
	encoder, _, _ := strings.Cut(commands, ";")
	raw := run(t, run(t, p.ppm(), "cjpeg", strings.Fields(encoder)[1:]...), "djpeg")
	var out Pixels
	if _, err := fmt.Sscanf(string(raw[:min(len(raw), 40)]), "P6\n%d %d\n255\n", &out.W, &out.H); err != nil {
		t.Fatal(err)
	}
	out.Pix = raw[len(raw)-3*out.W*out.H:]
	return out
}

func run(t *testing.T, in []byte, program string, args ...string) []byte {
	t.Helper()
	var complaint bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, &complaint)
	}
	return out
}

func (p Pixels) ppm() []byte {
	return append(fmt.Appendf(nil, "P6\n%d %d\n255\n", p.W, p.H), p.Pix...)
}

// Blocks gives every square of side pixels the mean of its samples.
func Blocks(pix []uint8, w, h, bands, side int) []uint8 {
	out := make([]uint8, len(pix))
	for y := range h {
		for x := range w {
			for c := range bands {
				sum, n := 0, 0
				for by := y / side * side; by < min(y/side*side+side, h); by++ {
					for bx := x / side * side; bx < min(x/side*side+side, w); bx++ {
						sum += int(pix[(by*w+bx)*bands+c])
						n++
					}
				}
				out[(y*w+x)*bands+c] = uint8((sum + n/2) / n)
			}
		}
	}
	return out
}

// PerMegapixel runs once as often as the benchmark asks, for a picture of w × h,
// and reports the processor time of the whole process: machines are shared.
func PerMegapixel(b *testing.B, w, h int, once func()) {
	b.Helper()
	b.ReportAllocs()
	before := processorSeconds(b)
	n := 0
	for b.Loop() {
		once()
		n++
	}
	b.ReportMetric((processorSeconds(b)-before)/float64(n)/(float64(w*h)/1e6), "cpu-s/MP")
}

func processorSeconds(b *testing.B) float64 {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(use.Utime) + seconds(use.Stime)
}
