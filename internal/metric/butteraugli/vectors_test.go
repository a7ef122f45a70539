package butteraugli

import (
	"math"
	"testing"

	"safelight/internal/metric"
	"safelight/internal/metric/metrictest"
)

// TestReferenceVectors compares with libjxl 0.7 on photographs that
// libjpeg-turbo compressed.
func TestReferenceVectors(t *testing.T) {
	t.Parallel()
	var worst [2]float64
	vectors := metrictest.Vectors(t, "../../..")
	for _, v := range vectors {
		d := distance(t, rgb(v.Ref), rgb(v.Dist))
		for i, pair := range [][2]float64{{d.Max, v.ButteraugliMax}, {d.P3, v.ButteraugliP3}} {
			off := math.Abs(pair[0]-pair[1]) / pair[1]
			if off > 0.0001 {
				t.Errorf("%s: %s is %.6f; libjxl gives %.6f", v.Name, [...]string{"Max", "P3"}[i], pair[0], pair[1])
			}
			worst[i] = max(worst[i], off)
		}
	}
	t.Logf("%d rows, largest deviations: Max %.5f %%, P3 %.5f %%", len(vectors), 100*worst[0], 100*worst[1])
}

func rgb(p metrictest.Pixels) metric.Image {
	return metric.Image{W: p.W, H: p.H, Bands: 3, Pix: p.Pix}
}
