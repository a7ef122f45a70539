package jpeg

import (
	"syscall"
	"testing"
	"time"
)

// spent is the processor time of this process so far.
func spent() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// perMegapixel runs f for a picture of w × h and reports what it takes.
func perMegapixel(b *testing.B, w, h int, f func()) {
	before := spent()
	n := 0
	for b.Loop() {
		f()
		n++
	}
	b.ReportMetric((spent()-before).Seconds()/float64(n)/(float64(w*h)/1e6), "cpu-s/MP")
}

func BenchmarkAnalyse(b *testing.B) {
	const w, h = 1200, 800
	pix := photoLike(w, h)
	for _, s := range []Subsampling{S444, S420} {
		b.Run([]string{"444", "420"}[s], func(b *testing.B) {
			perMegapixel(b, w, h, func() { analyse(b, pix, w, h, 3, s) })
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
			perMegapixel(b, w, h, func() { file = p.Encode(file[:0], Settings{Scale: 3}) })
			b.ReportMetric(float64(8*len(file))/(w*h), "bits/pixel")
		})
	}
}
