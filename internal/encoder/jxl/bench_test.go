package jxl

import (
	"bytes"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func BenchmarkButteraugli(b *testing.B) {
	needButteraugli(b)
	ref, dist := pixels(scene(2000, 1500)), pixels(scene(2000, 1500))
	for i := range dist.Pix {
		dist.Pix[i] ^= 2
	}
	measure(b, 3e6, func() error {
		_, err := lib.Butteraugli(ref, dist)
		return err
	})
}

func BenchmarkTranscode(b *testing.B) {
	source := bench(b)
	for _, effort := range []int{1, 3, 5, 7, 9} {
		b.Run(strconv.Itoa(effort), func(b *testing.B) {
			var out bytes.Buffer
			measure(b, pixelsOf(b, source), func() error {
				out.Reset()
				return lib.TranscodeJPEG(&out, source, effort)
			})
			b.ReportMetric(float64(out.Len())/float64(len(source)), "ratio")
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	source := bench(b)
	var file bytes.Buffer
	if err := lib.TranscodeJPEG(&file, source, 7); err != nil {
		b.Fatal(err)
	}
	measure(b, pixelsOf(b, source), func() error { return lib.RestoreJPEG(io.Discard, file.Bytes(), Limits{}) })
}

// bench is the JPEG that SAFELIGHT_BENCH_JPEG names, or one of ours of 12 megapixels.
func bench(b *testing.B) []byte {
	if path := os.Getenv("SAFELIGHT_BENCH_JPEG"); path != "" {
		source, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			b.Fatal(err)
		}
		return source
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, scene(4000, 3000), &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func pixelsOf(b *testing.B, source []byte) int {
	c, err := jpeg.DecodeConfig(bytes.NewReader(source))
	if err != nil {
		b.Fatal(err)
	}
	return c.Width * c.Height
}

// measure reports processor seconds a megapixel and the most memory a pixel
// that one run takes beside what the process held before.
func measure(b *testing.B, pixels int, run func() error) {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew (proc(5))
	before, begin := status("VmRSS:"), processorTime()
	for b.Loop() {
		if err := run(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorTime()-begin).Seconds()/float64(b.N)/float64(pixels)*1e6, "cpu-s/MP")
	b.ReportMetric(float64(status("VmHWM:")-before)/float64(pixels), "peak-B/px")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// status is a line of /proc/self/status that is in kB, in bytes.
func status(name string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
