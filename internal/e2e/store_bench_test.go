package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"safelight/internal/cdkblob/s3test"
)

// BenchmarkHome uploads photos and asks for the first rendition of each, with the
// home on disk and in a bucket on this machine: the time of one after the other,
// and the processor time of the server and its codec processes.
func BenchmarkHome(b *testing.B) {
	for _, home := range []string{"disk", "s3"} {
		b.Run(home, func(b *testing.B) {
			var env []string
			if home == "s3" {
				env = homeEnv(s3test.Start(b).Bucket("photos", ""))
			}
			s := launch(b, "", []string{plain}, env...)
			photos := make([][]byte, b.N)
			for i := range photos {
				photos[i] = jpegOf(b, scene(1600, 1200, uint64(i)))
			}
			before := cpuOf(b, s)
			b.SetBytes(int64(len(photos[0])))
			b.ResetTimer()
			for i, body := range photos {
				a, stored := s.upload(file{name: fmt.Sprintf("%d.jpg", i), bytes: body})
				if a.status != http.StatusCreated {
					b.Fatalf("%d %s", a.status, a.body)
				}
				if a := s.get(stored[0].URL + "?w=400"); a.status != http.StatusOK {
					b.Fatalf("%d %s", a.status, a.body)
				}
			}
			b.StopTimer()
			after := cpuOf(b, s)
			b.ReportMetric((after[0]-before[0])*1000/float64(b.N), "server-ms/op")
			b.ReportMetric((after[1]-before[1])*1000/float64(b.N), "codec-ms/op")
		})
	}
}

var cpuLines = []*regexp.Regexp{regexp.MustCompile(`(?m)^process_cpu_seconds_total (\S+)`), regexp.MustCompile(`(?m)^codec_cpu_seconds_total (\S+)`)}

// cpuOf is the processor time of a server, and of its codec processes, in seconds.
func cpuOf(t testing.TB, s *server) (seconds [2]float64) {
	t.Helper()
	text := string(s.get("/metrics").body)
	for i, line := range cpuLines {
		m := line.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("the metrics lack %v", line)
		}
		var err error
		if seconds[i], err = strconv.ParseFloat(m[1], 64); err != nil {
			t.Fatal(err)
		}
	}
	return seconds
}
