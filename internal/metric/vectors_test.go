package metric

import (
	"math"
	"testing"

	"safelight/internal/metric/metrictest"
)

// TestReferenceVectors compares with the reference implementation on
// photographs that libjpeg-turbo compressed.
func TestReferenceVectors(t *testing.T) {
	t.Parallel()
	worst := 0.0
	vectors := metrictest.Vectors(t, "../..")
	for _, v := range vectors {
		got := score(t, rgb(v.Ref), rgb(v.Dist))
		if math.Abs(got-v.SSIMULACRA2) > 0.05 {
			t.Errorf("%s: %.4f; the reference implementation gives %.4f", v.Name, got, v.SSIMULACRA2)
		}
		worst = max(worst, math.Abs(got-v.SSIMULACRA2))
	}
	t.Logf("%d rows, largest deviation %.5f", len(vectors), worst)
}

func rgb(p metrictest.Pixels) Image { return Image{W: p.W, H: p.H, Bands: 3, Pix: p.Pix} }
