package metric

import (
	"testing"

	"safelight/internal/metric/metrictest"
)

func BenchmarkPrepare(b *testing.B) {
	ref := photo(1200, 800, 3)
	metrictest.PerMegapixel(b, ref.W, ref.H, func() {
		if _, err := Prepare(ref); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkScore(b *testing.B) {
	ref := photo(1200, 800, 3)
	r, err := Prepare(ref)
	if err != nil {
		b.Fatal(err)
	}
	dist := noisy(ref, 6)
	metrictest.PerMegapixel(b, ref.W, ref.H, func() {
		if _, err := r.Score(dist); err != nil {
			b.Fatal(err)
		}
	})
}
