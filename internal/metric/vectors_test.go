package metric

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
)

// photos is where the photographs are, and the scores that the reference
// implementation gave for them.
func photos() string {
	if dir := os.Getenv("SAFELIGHT_PHOTOS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared", "photos")
}

// TestReferenceVectors compares with the reference implementation on
// photographs that libjpeg-turbo compressed.
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
	worst, rows := 0.0, 0
	for _, line := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		f := strings.Split(line, "\t")
		ref := readPNG(t, filepath.Join(photos(), f[0]+".png"))
		dist := throughJPEG(t, ref, f[1])
		// The reference's digest in the table is of another header; that of what
		// was made from it vouches for both.
		sum := sha256.Sum256(ppm(dist))
		if got := hex.EncodeToString(sum[:]); !strings.HasPrefix(got, f[3]) {
			t.Fatalf("%s %s: the PPM's digest is %.16s; expected %s", f[0], f[1], got, f[3])
		}
		want, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		got := score(t, ref, dist)
		if math.Abs(got-want) > 0.05 {
			t.Errorf("%s %s: %.4f; the reference implementation gives %.4f", f[0], f[1], got, want)
		}
		worst, rows = max(worst, math.Abs(got-want)), rows+1
	}
	t.Logf("%d rows, largest deviation %.5f", rows, worst)
	if rows == 0 {
		t.Error("metric-vectors.tsv has no rows")
	}
}

func readPNG(t testing.TB, name string) Image {
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
	m := Image{W: b.Dx(), H: b.Dy(), Bands: 3}
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
func throughJPEG(t testing.TB, m Image, commands string) Image {
	t.Helper()
	encoder, _, _ := strings.Cut(commands, ";")
	compressed := run(t, ppm(m), "cjpeg", strings.Fields(encoder)[1:]...)
	out := Image{Bands: 3}
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

func ppm(m Image) []byte {
	return append(fmt.Appendf(nil, "P6\n%d %d\n255\n", m.W, m.H), m.Pix...)
}
