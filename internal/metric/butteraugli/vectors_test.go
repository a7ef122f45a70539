package butteraugli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	_ "image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"safelight/internal/metric"
)

// photos is where the photographs are, and what libjxl 0.7 found on them.
func photos() string {
	if dir := os.Getenv("SAFELIGHT_PHOTOS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "..", "shared", "photos")
}

// TestReferenceVectors compares with libjxl 0.7 on photographs that
// libjpeg-turbo compressed.
func TestReferenceVectors(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join(photos(), "metric-vectors.tsv"))
	if err != nil {
		t.Skipf("no photographs (SAFELIGHT_PHOTOS): %v", err)
	}
	for _, program := range []string{"cjpeg", "djpeg"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: install libjpeg-turbo-progs", err)
		}
	}
	var worst [2]float64
	rows, name := 0, ""
	var ref metric.Image
	var prepared *Reference
	for line := range strings.Lines(string(table)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 7 || f[0] == "image" {
			continue
		}
		if f[0] != name {
			name = f[0]
			ref = readPNG(t, filepath.Join(photos(), name+".png"))
			if prepared, err = Prepare(ref); err != nil {
				t.Fatal(err)
			}
		}
		dist := throughJPEG(t, ref, f[1])
		sum := sha256.Sum256(ppm(dist))
		if got := hex.EncodeToString(sum[:]); !strings.HasPrefix(got, f[3]) {
			t.Fatalf("%s %s: the PPM's digest is %.16s; expected %s", f[0], f[1], got, f[3])
		}
		d, err := prepared.Distance(dist)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range []float64{d.Max, d.P3} {
			want, err := strconv.ParseFloat(f[5+i], 64)
			if err != nil {
				t.Fatal(err)
			}
			off := math.Abs(got-want) / want
			if off > 0.0001 {
				t.Errorf("%s %s: %s is %.6f; libjxl gives %.6f", f[0], f[1], [...]string{"Max", "P3"}[i], got, want)
			}
			worst[i] = max(worst[i], off)
		}
		rows++
	}
	t.Logf("%d rows, largest deviations: Max %.5f %%, P3 %.5f %%", rows, 100*worst[0], 100*worst[1])
	if rows == 0 {
		t.Error("metric-vectors.tsv has no rows")
	}
}

func readPNG(t testing.TB, name string) metric.Image {
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
	m := metric.Image{W: b.Dx(), H: b.Dy(), Bands: 3}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red, green, blue, _ := decoded.At(x, y).RGBA()
			m.Pix = append(m.Pix, uint8(red>>8), uint8(green>>8), uint8(blue>>8))
		}
	}
	return m
}

// throughJPEG compresses and decompresses with the commands of a row, such as
// "cjpeg(turbo2.1.5) -quality 80 -sample 2x2; djpeg".
func throughJPEG(t testing.TB, m metric.Image, commands string) metric.Image {
	t.Helper()
	encoder, _, _ := strings.Cut(commands, ";")
	compressed := run(t, ppm(m), "cjpeg", strings.Fields(encoder)[1:]...)
	out := metric.Image{Bands: 3}
	raw := run(t, compressed, "djpeg")
	if _, err := fmt.Sscanf(string(raw[:min(len(raw), 40)]), "P6\n%d %d\n255\n", &out.W, &out.H); err != nil {
		t.Fatal(err)
	}
	out.Pix = raw[len(raw)-3*out.W*out.H:]
	return out
}

func run(t testing.TB, in []byte, program string, args ...string) []byte {
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

func ppm(m metric.Image) []byte {
	return append(fmt.Appendf(nil, "P6\n%d %d\n255\n", m.W, m.H), m.Pix...)
}
