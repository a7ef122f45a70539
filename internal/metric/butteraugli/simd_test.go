//go:build goexperiment.simd && amd64

package butteraugli

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
	for _, size := range [][2]int{{8, 8}, {9, 11}, {15, 16}, {23, 64}, {64, 23}, {127, 50}, {333, 18}} {
		ref := photo(size[0], size[1])
		for name, dist := range distortions(ref) {
			wide = true
			fast := distance(t, ref, dist)
			wide = false
			plain := distance(t, ref, dist)
			if math.Abs(fast.P3-plain.P3) > 1e-4*plain.P3 || math.Abs(fast.Max-plain.Max) > 1e-4*plain.Max {
				t.Errorf("%d × %d, %s: %+v with vector instructions; %+v without", ref.W, ref.H, name, fast, plain)
			}
		}
	}
}
