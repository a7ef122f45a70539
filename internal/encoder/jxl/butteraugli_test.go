package jxl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"safelight/internal/fault"
)

func needButteraugli(t testing.TB) {
	t.Helper()
	if !lib.HasButteraugli() {
		t.Skip("libjxl ", lib.Version(), " has no butteraugli")
	}
}

// The figures agree with those of the reference, on photographs that
// libjpeg-turbo has compressed.
func TestButteraugliAgrees(t *testing.T) {
	needButteraugli(t)
	const photos = "../../../../shared/photos"
	table, err := os.ReadFile(filepath.Join(photos, "metric-vectors.tsv"))
	if err != nil {
		t.Skip(err)
	}
	worst, rows := 0.0, 0
	for line := range strings.Lines(string(table)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 7 || f[0] == "image" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(photos, f[0]+".png"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		ref := pixels(m)
		_, args, _ := strings.Cut(strings.TrimSuffix(f[1], "; djpeg"), " ")
		distPPM := tool(t, tool(t, ppm(ref), "cjpeg", strings.Fields(args)...), "djpeg")
		if digest(distPPM) != f[3] {
			t.Skipf("this libjpeg-turbo makes other bytes: %s, not %s", digest(distPPM), f[3])
		}
		d, err := lib.Butteraugli(ref, Pixels{ref.W, ref.H, 3, distPPM[len(distPPM)-len(ref.Pix):]})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range []float64{d.Max, d.P3} {
			want, _ := strconv.ParseFloat(f[5+i], 64)
			worst = max(worst, math.Abs(got-want)/want)
		}
		rows++
	}
	t.Logf("%d rows, the largest difference is %.6f%%", rows, 100*worst)
	if rows == 0 || worst > 1e-4 {
		t.Errorf("%d rows, they differ by up to %.4f%%", rows, 100*worst)
	}
}

func ppm(p Pixels) []byte { return append(fmt.Appendf(nil, "P6\n%d %d\n255\n", p.W, p.H), p.Pix...) }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func TestButteraugliMap(t *testing.T) {
	needButteraugli(t)
	ref := pixels(scene(201, 77))
	dist := Pixels{ref.W, ref.H, 3, bytes.Clone(ref.Pix)}
	same, err := lib.ButteraugliMap(ref, dist)
	if err != nil || same.Max != 0 || same.P3 != 0 {
		t.Fatal("a picture differs from itself:", same.Max, same.P3, err)
	}
	for y := 30; y < 40; y++ { // a spot in the right half
		for x := 150; x < 160; x++ {
			dist.Pix[3*(y*ref.W+x)] ^= 0x80
		}
	}
	d, err := lib.ButteraugliMap(ref, dist)
	if err != nil || len(d.Map) != ref.W*ref.H {
		t.Fatal(len(d.Map), err)
	}
	at, most := 0, float32(0)
	for i, v := range d.Map {
		if v > most {
			at, most = i, v
		}
	}
	if x, y := at%ref.W, at/ref.W; float64(most) != d.Max || x < 140 || x > 170 || y < 20 || y > 50 {
		t.Errorf("the largest of the map is %g at %d, %d; Max is %g", most, x, y, d.Max)
	}
	plain, err := lib.Butteraugli(ref, dist)
	if err != nil || plain.Max != d.Max || plain.P3 != d.P3 || plain.Map != nil {
		t.Errorf("without the map: %+v, %v", plain, err)
	}
}

func TestButteraugliSizes(t *testing.T) {
	needButteraugli(t)
	for _, s := range [][2]int{{8, 8}, {9, 8}, {8, 64}, {65, 9}} {
		ref := pixels(scene(s[0], s[1]))
		dist := Pixels{ref.W, ref.H, 3, make([]byte, len(ref.Pix))}
		d, err := lib.ButteraugliMap(ref, dist)
		if err != nil || !(d.Max > 1) || !(d.P3 > 1) || len(d.Map) != s[0]*s[1] {
			t.Error(s, d, err)
		}
	}
	// Of smaller ones the library says that they don't differ, whatever they are.
	for _, s := range [][2]int{{1, 1}, {7, 64}, {64, 7}} {
		if _, err := lib.Butteraugli(pixels(scene(s[0], s[1])), pixels(scene(s[0], s[1]))); fault.Of(err) != fault.Invalid {
			t.Error(s, err)
		}
	}
	ok := pixels(scene(8, 8))
	for name, p := range map[string]Pixels{
		"another size": pixels(scene(8, 9)), "empty": {}, "four bands": {8, 8, 4, make([]byte, 256)},
		"too few": {8, 8, 3, make([]byte, 191)}, "negative": {-8, -8, 3, make([]byte, 192)}, "overflow": {1 << 32, 1 << 32, 3, ok.Pix},
	} {
		if _, err := lib.Butteraugli(ok, p); fault.Of(err) != fault.Invalid {
			t.Error(name, err)
		}
		if _, err := lib.ButteraugliMap(p, ok); fault.Of(err) != fault.Invalid {
			t.Error(name, err)
		}
	}
}
