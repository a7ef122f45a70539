package jpeg

import (
	"testing"

	"safelight/internal/metric/metrictest"
)

func BenchmarkAnalyse(b *testing.B) {
	const w, h = 1200, 800
	pix := photoLike(w, h)
	for _, s := range []Subsampling{S444, S420} {
		b.Run([]string{"444", "420"}[s], func(b *testing.B) {
			metrictest.PerMegapixel(b, w, h, func() { analyse(b, pix, w, h, 3, s) })
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	const w, h = 1200, 800
	pix := photoLike(w, h)
	for _, s := range []Subsampling{S444, S420} {
		b.Run([]string{"444", "420"}[s], func(b *testing.B) {
			p := analyse(b, pix, w, h, 3, s)
			var file []byte
			metrictest.PerMegapixel(b, w, h, func() { file = p.Encode(file[:0], Settings{Scale: 3}) })
			b.ReportMetric(float64(8*len(file))/(w*h), "bits/pixel")
		})
	}
}
