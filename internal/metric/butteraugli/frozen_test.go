package butteraugli

import (
	"math"
	"testing"

	"safelight/internal/metric"
	"safelight/internal/metric/metrictest"
)

// blocks gives every square of side pixels the mean of its samples.
func blocks(m metric.Image, side int) metric.Image {
	m.Pix = metrictest.Blocks(m.Pix, m.W, m.H, m.Bands, side)
	return m
}

// TestFrozenScores holds distances fast that were computed when those of the
// photographs in TestReferenceVectors agreed with libjxl.
func TestFrozenScores(t *testing.T) {
	t.Parallel()
	big, odd, small := photo(320, 240), photo(257, 131), photo(13, 9)
	grey := greyed(photo(200, 150))
	for _, c := range []struct {
		name      string
		ref, dist metric.Image
		max, p3   float64
	}{
		{"faint noise", big, noisy(big, 1), 0.94093, 0.51474},
		{"noise", big, noisy(big, 8), 5.04158, 2.83809},
		{"coarse", big, each(big, func(v int) int { return (v + 8) / 16 * 16 }), 14.38819, 10.20308},
		{"blocks of 2", big, blocks(big, 2), 7.54130, 3.04159},
		{"blocks of 8", big, blocks(big, 8), 17.97718, 8.39923},
		{"odd size", odd, noisy(odd, 8), 5.21140, 2.82462},
		{"small", small, noisy(small, 8), 1.37606, 1.05350},
		{"grey", grey, blocks(grey, 3), 12.38724, 5.28619},
		{"black", big, each(big, func(int) int { return 0 }), 545.27679, 387.25776},
	} {
		d := distance(t, c.ref, c.dist)
		if math.Abs(d.Max-c.max) > 0.0002*c.max || math.Abs(d.P3-c.p3) > 0.0002*c.p3 {
			t.Errorf("%s: %.5f, %.5f; was %.5f, %.5f", c.name, d.Max, d.P3, c.max, c.p3)
		}
	}
}

// greyed takes the colours away.
func greyed(m metric.Image) metric.Image {
	pix := make([]uint8, len(m.Pix))
	for i := range pix {
		pix[i] = m.Pix[i/3*3+1]
	}
	m.Pix = pix
	return m
}
