package metric

import (
	"math"
	"testing"

	"safelight/internal/metric/metrictest"
)

// coarse rounds every sample but alpha to a multiple of step.
func coarse(m Image, step int) Image {
	pix := make([]uint8, len(m.Pix))
	for i, v := range m.Pix {
		pix[i] = v
		if m.Bands%2 == 1 || i%m.Bands != m.Bands-1 {
			pix[i] = uint8(min((int(v)+step/2)/step*step, 255))
		}
	}
	m.Pix = pix
	return m
}

// blocks gives every square of side pixels the mean of its samples.
func blocks(m Image, side int) Image {
	m.Pix = metrictest.Blocks(m.Pix, m.W, m.H, m.Bands, side)
	return m
}

// TestFrozenScores holds scores fast that were computed when those of the
// photographs in TestReferenceVectors agreed with the reference implementation.
func TestFrozenScores(t *testing.T) {
	t.Parallel()
	big, odd, small := photo(320, 240, 3), photo(257, 131, 3), photo(21, 9, 3)
	grey := photo(200, 150, 1)
	for _, c := range []struct {
		name      string
		ref, dist Image
		want      float64
	}{
		{"faint noise", big, noisy(big, 1), 94.8157},
		{"noise", big, noisy(big, 8), 73.3588},
		{"coarse", big, coarse(big, 16), 42.5188},
		{"blocks of 2", big, blocks(big, 2), 73.4170},
		{"blocks of 8", big, blocks(big, 8), -7.1473},
		{"odd size", odd, noisy(odd, 8), 74.0045},
		{"small", small, noisy(small, 8), 84.1809},
		{"grey", grey, blocks(grey, 3), 48.0958},
		{"half transparent", translucent(big, 128), noisy(translucent(big, 128), 8), 75.0325},
		{"transparency lost", translucent(odd, 60), odd, -64.2685},
	} {
		if got := score(t, c.ref, c.dist); math.Abs(got-c.want) > 0.005 {
			t.Errorf("%s: %.4f; was %.4f", c.name, got, c.want)
		}
	}
}
