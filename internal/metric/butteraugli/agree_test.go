package butteraugli

import (
	"fmt"
	"math"
	"testing"

	"safelight/internal/encoder/jxl"
	"safelight/internal/metric"
)

// TestAgreesWithLibjxl compares with the library on made pictures, of all
// sizes at which something begins: the half-size pass, parts of a vector, rows
// shorter than a blur.
func TestAgreesWithLibjxl(t *testing.T) {
	t.Parallel()
	library, err := jxl.Open("")
	if err != nil || !library.HasButteraugli() {
		t.Skip("no libjxl with butteraugli: ", err)
	}
	var worst, worstMap float64
	for _, size := range [][2]int{{8, 8}, {8, 40}, {9, 11}, {14, 20}, {15, 15}, {16, 33}, {31, 17}, {33, 9}, {64, 64}, {201, 77}} {
		ref := photo(size[0], size[1])
		for name, dist := range distortions(ref) {
			r, err := Prepare(ref)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Distance(dist)
			if err != nil {
				t.Fatal(err)
			}
			want, err := library.ButteraugliMap(jxl.Pixels(ref), jxl.Pixels(dist))
			if err != nil {
				t.Fatal(err)
			}
			off := max(math.Abs(got.P3-want.P3)/want.P3, math.Abs(got.Max-want.Max)/want.Max)
			offMap := apart(r.Map(), want.Map)
			if off > 0.001 || offMap > 0.001 {
				t.Errorf("%d × %d, %s: %+v, map %.5f apart; libjxl gives %.6f and %.6f", ref.W, ref.H, name, got, offMap, want.Max, want.P3)
			}
			worst, worstMap = max(worst, off), max(worstMap, offMap)
		}
	}
	t.Logf("largest deviations: %.5f %%, of maps %.5f %%", 100*worst, 100*worstMap)
}

// apart is the root of the mean square difference, as a share of that of want.
func apart(got, want []float32) float64 {
	var differences, all float64
	for i := range want {
		differences += math.Pow(float64(got[i]-want[i]), 2)
		all += math.Pow(float64(want[i]), 2)
	}
	return math.Sqrt(differences / all)
}

// distortions of many kinds, some with colours alone.
func distortions(m metric.Image) map[string]metric.Image {
	sample := -1
	only := func(band int, change func(v int) int) metric.Image {
		sample = -1
		return each(m, func(v int) int {
			if sample++; sample%3 != band {
				return v
			}
			return change(v)
		})
	}
	out := map[string]metric.Image{
		"inverse": each(m, func(v int) int { return 255 - v }),
		"black":   each(m, func(int) int { return 0 }),
		"darker":  each(m, func(v int) int { return v - 3 }),
		"red":     only(0, func(v int) int { return v + 12 }),
		"green":   only(1, func(v int) int { return v/8*8 + 4 }),
		"blue":    only(2, func(v int) int { return v / 32 * 32 }),
		"blocks":  blocks(m, 4),
	}
	for _, most := range []int{1, 8, 60} {
		out[fmt.Sprint("noise of ", most)] = noisy(m, most)
	}
	return out
}
