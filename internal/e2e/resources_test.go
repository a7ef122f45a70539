package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestDrain sends SIGTERM under load: what was under way is finished, and the
// process ends in time.
func TestDrain(t *testing.T) {
	s := start(t, "")
	_, files := s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(1500, 1000, 1))})
	if a := s.get("/readyz"); a.status != 200 {
		t.Fatalf("/readyz answers %d %s", a.status, a.body)
	}
	var clients sync.WaitGroup
	begun := make(chan struct{}, 64)
	for c := range 6 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := 0; ; i++ {
				a, err := s.try(http.MethodGet, fmt.Sprintf("%s?w=%d", files[0].URL, 100+c*200+i), nil)
				if err != nil {
					// Refused or never begun is fair; an answer that was cut short is not.
					if len(a.body) > 0 {
						t.Errorf("an answer was cut off after %d bytes: %v", len(a.body), err)
					}
					return
				}
				if a.status != 200 {
					t.Errorf("answered %d %s", a.status, a.body)
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		}()
	}
	for range 12 {
		<-begun
	}
	begin := time.Now()
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v\n%s", err, s.log)
	}
	if d := time.Since(begin); d > 25*time.Second {
		t.Errorf("it took %s to stop", d)
	}
	clients.Wait()
}

// TestDiskFull fills a small file system: uploads are 507, reads go on, and
// writing resumes without a restart when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := start(t, dir, "SAFELIGHT_INGEST_VERIFY=header", "SAFELIGHT_INGEST_RESERVE_BYTES=0")
	_, first := s.upload(file{name: "first.png", bytes: tinyPNG})
	full := 0
	for i := range 100 {
		a := s.do(http.MethodPut, fmt.Sprintf("/images/%d.png", i), bytes.NewReader(uniquePNG(fmt.Sprint(i), 900_000)))
		if a.status == 507 {
			full++
			if !strings.Contains(a.header.Get("Content-Type"), "problem+json") {
				t.Errorf("the 507 is %s", a.header.Get("Content-Type"))
			}
			if full == 5 {
				break
			}
			continue
		}
		if a.status != 201 {
			t.Fatalf("file %d was answered %d %s\n%s", i, a.status, a.body, s.log)
		}
	}
	if full < 5 {
		t.Fatal("16 MB held 90 MB")
	}
	for _, path := range []string{first[0].URL, first[0].URL + "?w=1", "/images/0.png", "/v1/images/" + first[0].ID} {
		if a := s.get(path); a.status != 200 {
			t.Errorf("with the disk full %s is answered %d %s", path, a.status, a.body)
		}
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if a := s.do(http.MethodPut, "/images/after.png", bytes.NewReader(uniquePNG("after", 900_000))); a.status != 201 {
		t.Errorf("with room again an upload is answered %d %s", a.status, a.body)
	}
}

// TestReserve shows that deletes still work when uploads are refused for want
// of room.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := start(t, dir, "SAFELIGHT_INGEST_VERIFY=header", "SAFELIGHT_INGEST_RESERVE_BYTES=4MB")
	var ids []string
	for i := range 40 {
		a := s.do(http.MethodPut, fmt.Sprintf("/images/%d.png", i), bytes.NewReader(uniquePNG(fmt.Sprint(i), 900_000)))
		if a.status == 507 {
			break
		}
		var f stored
		a.json(t, &f)
		ids = append(ids, f.ID)
	}
	if len(ids) < 2 || len(ids) == 40 {
		t.Fatalf("%d uploads were taken into 16 MB", len(ids))
	}
	for _, id := range ids {
		if a := s.do(http.MethodDelete, "/v1/images/"+id, nil); a.status != 204 {
			t.Errorf("a delete was answered %d %s", a.status, a.body)
		}
	}
}

// TestTooManyOpenFiles gives the server few file descriptors and many clients:
// nobody is hung up on without an answer for good, and it recovers.
func TestTooManyOpenFiles(t *testing.T) {
	if _, err := exec.LookPath("prlimit"); err != nil {
		t.Skip("prlimit (util-linux) is not installed")
	}
	s := launch(t, "", []string{"prlimit", "--nofile=96:96", binary}, "SAFELIGHT_CODEC_PROCESSES=1")
	_, files := s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(200, 100, 1))})
	var clients sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[int]int)
	for c := range 80 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := range 4 {
				a, err := s.try(http.MethodPut, fmt.Sprintf("/images/%d-%d.png", c, i), bytes.NewReader(uniquePNG(fmt.Sprint(c, i), 20_000)))
				if err != nil {
					continue // the listen queue; the kernel's matter
				}
				mu.Lock()
				seen[a.status]++
				mu.Unlock()
			}
		}()
	}
	clients.Wait()
	for status := range seen {
		if status != 201 && status != 503 {
			t.Errorf("%d answers were %d", seen[status], status)
		}
	}
	s.alive()
	client.CloseIdleConnections()
	eventually(t, func() bool {
		a, err := s.try(http.MethodGet, files[0].URL, nil)
		return err == nil && a.status == 200
	}, func() string { return "reads do not work again" })
	if a := s.do(http.MethodPut, "/images/after.png", bytes.NewReader(tinyPNG)); a.status != 201 {
		t.Errorf("afterwards an upload is answered %d %s", a.status, a.body)
	}
}

// TestMemory uploads large and many files and watches the server's peak.
func TestMemory(t *testing.T) {
	s := launch(t, "", []string{plain}, "SAFELIGHT_INGEST_VERIFY=header")
	big := uniquePNG("big", 90_000_000)
	for i := range 3 {
		if a := s.do(http.MethodPut, fmt.Sprintf("/images/%d.png", i), bytes.NewReader(big)); a.status/100 != 2 {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
	}
	var files []file
	for i := range 3000 {
		files = append(files, file{name: fmt.Sprintf("%d.png", i), bytes: uniquePNG(fmt.Sprint(i), 8000)})
	}
	if a, got := s.upload(files...); a.status != 201 || len(got) != len(files) {
		t.Fatalf("answered %d with %d entries", a.status, len(got))
	}
	if a := s.do(http.MethodPut, "/images/huge.png", bytes.NewReader(uniquePNG("huge", 120_000_000))); a.status != 413 {
		t.Errorf("a file over the limit was answered %d", a.status)
	}
	if peak := peakMiB(t, s.cmd.Process.Pid); peak > 150 {
		t.Errorf("the server's peak was %d MiB", peak)
	} else {
		t.Logf("the server's peak was %d MiB", peak)
	}
}

// peakMiB is a process's largest resident size.
func peakMiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestServerLoadsNoCodec looks into the server's memory map.
func TestServerLoadsNoCodec(t *testing.T) {
	s := start(t, "")
	_, files := s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(50, 50, 1))})
	if a := s.get(files[0].URL + "?w=20&format=webp"); a.status != 200 {
		t.Fatal(a.status)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, lib := range []string{"libvips", "libjpeg", "libwebp", "libheif", "libpng", "libtiff"} {
		if bytes.Contains(maps, []byte(lib)) {
			t.Errorf("the server's own process has loaded %s", lib)
		}
	}
}

// TestOneRenderPerVariant asks for one cold variant many times at once.
func TestOneRenderPerVariant(t *testing.T) {
	s := start(t, "")
	_, files := s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(2000, 1500, 1))})
	jobs := func() float64 { return metric(t, s, "codec_jobs_total") }
	before := jobs()
	var clients sync.WaitGroup
	spellings := []string{"?w=333&h=0", "?h=0&w=333", "?w=333&fit=scale-down&q=auto", "?v=1&w=333", "?dpr=1&w=333&rot=0"}
	for i := range 100 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			if a := s.get(files[0].URL + spellings[i%len(spellings)]); a.status != 200 {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		}()
	}
	clients.Wait()
	if n := jobs() - before; n != 1 {
		t.Errorf("100 requests for one variant made %v jobs", n)
	}
}

// metric reads one metric without labels.
func metric(t *testing.T, s *server, name string) float64 {
	t.Helper()
	for line := range strings.SplitSeq(string(s.get("/metrics").body), "\n") {
		var v float64
		if n, _ := fmt.Sscanf(line, name+" %g", &v); n == 1 {
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestMetricsAndHealth(t *testing.T) {
	s := start(t, "")
	s.upload(file{name: "a.png", bytes: tinyPNG})
	s.get("/images/a.png?w=1")
	body := string(s.get("/metrics").body)
	for _, name := range []string{"http_requests_total{method=\"POST\",route=\"/upload\",status=\"201\"}", "request_duration_seconds_bucket",
		"image_uploads_total{outcome=\"stored\"} 1", "image_upload_duration_seconds_count 1", "codec_processes_idle", "cache_hits_total{level=\"memory\"}", "go_goroutines"} {
		if !strings.Contains(body, name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	var health struct {
		Status       string
		Dependencies map[string]struct {
			Status string
			RTT    *float64 `json:"rtt_ms"`
		}
	}
	s.get("/healthz").json(t, &health)
	for _, name := range []string{"catalog", "store", "codec"} {
		if d := health.Dependencies[name]; d.Status != "ok" || d.RTT == nil {
			t.Errorf("/healthz says of %s: %+v", name, d)
		}
	}
	for path, content := range map[string]string{"/": "upload", "/docs": "gravity", "/openapi.json": "watermark"} {
		if a := s.get(path); a.status != 200 || !bytes.Contains(a.body, []byte(content)) {
			t.Errorf("%s was answered %d", path, a.status)
		}
	}
}

// TestSlowUploadIsAnswered sends a body for longer than an answer may take: the
// time for the answer begins when the body has ended.
func TestSlowUploadIsAnswered(t *testing.T) {
	s := start(t, "", "SAFELIGHT_HTTP_ANSWER_TIME=300ms")
	for _, c := range []struct{ method, path, contentType string }{{http.MethodPut, "/images/slow.png", "image/png"}, {http.MethodPost, "/upload", ""}} {
		body, contentType := bytes.NewBuffer(tinyPNG), c.contentType
		if contentType == "" {
			body, contentType = form(file{name: "slow.png", bytes: tinyPNG})
		}
		a := s.do(c.method, c.path, &dribble{rest: body.Bytes(), tick: time.NewTicker(200 * time.Millisecond), pieces: 5}, "Content-Type", contentType)
		if a.status != 201 {
			t.Errorf("%s %s was answered %d %s", c.method, c.path, a.status, a.body)
		}
	}
}

// dribble gives a body away in pieces, one at each tick.
type dribble struct {
	rest   []byte
	tick   *time.Ticker
	pieces int
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		d.tick.Stop()
		return 0, io.EOF
	}
	<-d.tick.C
	n := copy(p, d.rest[:(len(d.rest)+d.pieces-1)/max(d.pieces, 1)])
	d.rest, d.pieces = d.rest[n:], max(d.pieces-1, 1)
	return n, nil
}

// TestSignals hangs up on the server, and on the reader of its log.
func TestSignals(t *testing.T) {
	s := start(t, "")
	s.signal(syscall.SIGHUP)
	if s.err != nil || !strings.Contains(s.log.String(), "stopping") || !strings.Contains(s.log.String(), "msg=stopped") {
		t.Errorf("SIGHUP ended the server with %v:\n%s", s.err, s.log)
	}
	s = start(t, "", "SAFELIGHT_HTTP_ACCESS_LOG=true")
	_ = s.stderr.Close()
	for range 3 { // each writes to the log that nobody reads
		if a := s.get("/healthz"); a.status != 200 {
			t.Errorf("without a reader of its log the server answers %d", a.status)
		}
	}
	s.alive()
}
