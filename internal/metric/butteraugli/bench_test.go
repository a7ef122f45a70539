package butteraugli

import (
	"syscall"
	"testing"

	"safelight/internal/metric"
)

// The benchmarks give processor time, since machines are shared.

func BenchmarkPrepare(b *testing.B) {
	ref := photo(1200, 800)
	perMegapixel(b, ref, func() {
		if _, err := Prepare(ref); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkDistance(b *testing.B) {
	ref := photo(1200, 800)
	r, err := Prepare(ref)
	if err != nil {
		b.Fatal(err)
	}
	dist := noisy(ref, 6)
	perMegapixel(b, ref, func() {
		if _, err := r.Distance(dist); err != nil {
			b.Fatal(err)
		}
	})
}

func perMegapixel(b *testing.B, m metric.Image, once func()) {
	b.Helper()
	b.ReportAllocs()
	before := processorSeconds(b)
	n := 0
	for b.Loop() {
		once()
		n++
	}
	b.ReportMetric((processorSeconds(b)-before)/float64(n)/(float64(m.W*m.H)/1e6), "cpu-s/MP")
}

func processorSeconds(b *testing.B) float64 {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(use.Utime) + seconds(use.Stime)
}
