//go:build goexperiment.simd && amd64

package metric

import (
	"math"
	"testing"
)

// TestVectorInstructions compares them with the plain loops. It does not run
// beside other tests, since it switches between the two for all.
func TestVectorInstructions(t *testing.T) {
	if !wide {
		t.Skip("the processor has no AVX2 and FMA")
	}
	defer func() { wide = true }()
	for _, size := range [][2]int{{1, 1}, {8, 8}, {9, 11}, {15, 16}, {23, 64}, {64, 23}, {127, 130}, {333, 78}, {1021, 40}} {
		ref := photo(size[0], size[1], 3)
		for _, dist := range []Image{noisy(ref, 2), noisy(ref, 40), coarse(ref, 24), translucent(ref, 100)} {
			wide = true
			fast := score(t, ref, dist)
			wide = false
			if plain := score(t, ref, dist); math.Abs(fast-plain) > 0.001 {
				t.Errorf("%d × %d: %.6f with vector instructions; %.6f without", ref.W, ref.H, fast, plain)
			}
		}
	}
}
