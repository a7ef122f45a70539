package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// atRest is what GET /v1/images/{id} tells of how an original is stored.
type atRest struct {
	Source struct {
		Stored string `json:"stored"`
		Bytes  int64  `json:"stored_bytes"`
		Reason string `json:"reason"`
	} `json:"source"`
	Local bool `json:"local"`
}

func (s *server) atRest(id string) atRest {
	s.t.Helper()
	var a atRest
	s.get("/v1/images/"+id).json(s.t, &a)
	return a
}

// needRecompression skips the test where the server has no libjxl.
func needRecompression(t *testing.T, s *server) {
	t.Helper()
	if strings.Contains(s.log.String(), "libjxl is not installed") {
		t.Skip("no libjxl")
	}
}

// TestRecompression keeps photos as JPEG XL: they are served byte for byte and
// rendered all the same, also after a restart, after the setting was turned off,
// and after they were uploaded again; what is deleted leaves nothing.
func TestRecompression(t *testing.T) {
	data := t.TempDir()
	on := []string{"SAFELIGHT_PIPELINE_RECOMPRESS=jxl", "SAFELIGHT_PIPELINE_RECOMPRESS_AFTER=0s", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms",
		"SAFELIGHT_PRESETS={thumb: w=96&format=jpeg}", "SAFELIGHT_PIPELINE_ENCODER=none"}
	photo := jpegOf(t, scene(900, 600, 1))
	s := start(t, data, on...)
	needRecompression(t, s)
	_, up := s.upload(file{name: "a.jpg", bytes: photo}, file{name: "b.png", bytes: pngOf(t, scene(90, 60, 2))})
	jpeg, png := up[0], up[1]
	stored := func(id, form string) {
		t.Helper()
		eventually(t, func() bool { return s.atRest(id).Source.Stored == form && s.settled(id) }, func() string { return fmt.Sprintf("%+v\n%s", s.atRest(id), s.log) })
	}
	stored(jpeg.ID, "jxl")
	if a := s.atRest(jpeg.ID); !a.Local || a.Source.Bytes == 0 || a.Source.Bytes > int64(len(photo))*97/100 {
		t.Errorf("%d bytes: %+v", len(photo), a)
	}
	if a := s.atRest(png.ID); a.Source.Stored != "png" {
		t.Errorf("%+v", a)
	}
	whole := func() {
		t.Helper()
		if a := s.get(jpeg.URL); a.status != 200 || !bytes.Equal(a.body, photo) || a.header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("the original: %d, %d bytes, expected %d", a.status, len(a.body), len(photo))
		}
		if a := s.get(jpeg.URL, "Range", "bytes=100-199"); a.status != 206 || !bytes.Equal(a.body, photo[100:200]) {
			t.Errorf("a part of the original: %d, %d bytes", a.status, len(a.body))
		}
		if a := s.get(jpeg.URL + "?w=200"); a.status != 200 || decoded(t, a).Bounds().Dx() != 200 {
			t.Errorf("a rendition: %d", a.status)
		}
	}
	whole()
	if m := string(s.get("/metrics").body); !strings.Contains(m, "recompressed_sources_total 1") || !strings.Contains(m, "\nrestores_total 1") || strings.Contains(m, "recompress_saved_bytes_total 0") {
		t.Error("the metrics don't count it")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	emptyCaches(t, data)
	s = start(t, data, on[2:]...) // off
	whole()
	_, again := s.upload(file{name: "again.jpg", bytes: photo})
	if a := s.atRest(jpeg.ID); a.Source.Stored != "jpeg" {
		t.Errorf("uploaded again: %+v", a)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, data, on...)
	a := s.do(http.MethodPost, "/v1/tasks", strings.NewReader(`{"function": "recompress"}`), "Content-Type", "application/json")
	if a.status != http.StatusCreated && a.status != http.StatusAccepted && a.status != http.StatusOK {
		t.Fatalf("backfill: %d %s", a.status, a.body)
	}
	stored(jpeg.ID, "jxl")
	whole()
	for _, id := range []string{jpeg.ID, png.ID, again[0].ID} {
		if a := s.do(http.MethodDelete, "/v1/images/"+id, nil); a.status != http.StatusNoContent {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
	}
	left := func() []string {
		return append(filesUnder(t, filepath.Join(data, "sources")), filesUnder(t, filepath.Join(data, "recompressed"))...)
	}
	eventually(t, func() bool { return len(left()) == 0 }, func() string { return fmt.Sprint("left: ", left()) })
	if a := s.get(jpeg.URL); a.status != http.StatusNotFound {
		t.Errorf("deleted, and still served with %d", a.status)
	}
}

// TestRecompressionAndExpiry publishes photos that are kept as JPEG XL: the
// archive gets the JPEG, and no form of it stays at home.
func TestRecompressionAndExpiry(t *testing.T) {
	data, archive := t.TempDir(), t.TempDir()
	photo := jpegOf(t, scene(900, 600, 3))
	s := start(t, data, "SAFELIGHT_PIPELINE_RECOMPRESS=jxl", "SAFELIGHT_PIPELINE_RECOMPRESS_AFTER=0s", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms",
		"SAFELIGHT_DESTINATIONS={archive: {url: 'file://"+archive+"'}}", "SAFELIGHT_PIPELINE_EXPIRE=3s")
	needRecompression(t, s)
	_, up := s.upload(file{name: "a.jpg", bytes: photo})
	eventually(t, func() bool { return s.atRest(up[0].ID).Source.Stored == "jxl" }, func() string { return fmt.Sprintf("%+v", s.atRest(up[0].ID)) })
	if a := s.get(up[0].URL); a.status != 200 || !bytes.Equal(a.body, photo) {
		t.Errorf("the original: %d, %d bytes", a.status, len(a.body))
	}
	eventually(t, func() bool { return !s.atRest(up[0].ID).Local }, func() string { return fmt.Sprintf("%+v", s.describe(up[0].ID).Tasks) })
	for _, dir := range []string{"sources", "recompressed"} {
		if left := filesUnder(t, filepath.Join(data, dir)); len(left) != 0 {
			t.Errorf("expired, and there are %v", left)
		}
	}
	d := s.describe(up[0].ID)
	if len(d.Published) != 1 || d.Published[0].SHA256 != digestOf(photo) {
		t.Fatalf("%+v", d.Published)
	}
	body, err := os.ReadFile(filepath.Join(archive, d.Published[0].Name))
	if err != nil || !bytes.Equal(body, photo) {
		t.Errorf("the archive has %d other bytes, %v", len(body), err)
	}
	if a := s.get(up[0].URL); a.status != 200 || !bytes.Equal(a.body, photo) {
		t.Errorf("the original, expired: %d, %d bytes", a.status, len(a.body))
	}
}

// TestWithoutLibjxl starts a server that has recompressed originals and no
// libjxl: they are unavailable, for that reason, and health says so; everything
// else goes on.
func TestWithoutLibjxl(t *testing.T) {
	data, bogus := t.TempDir(), t.TempDir()
	found, err := filepath.Glob("/usr/lib/*/libz.so.1") // any library that is another
	if err != nil || len(found) == 0 {
		t.Skip("there is no libz to take for libjxl")
	}
	other, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libjxl.so", "libjxl.so.0.7", "libjxl.so.0.8", "libjxl.so.0.9", "libjxl.so.0.10", "libjxl.so.0.11", "libjxl.so.0.12"} {
		if err := os.WriteFile(filepath.Join(bogus, name), other, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	on := []string{"SAFELIGHT_PIPELINE_RECOMPRESS=jxl", "SAFELIGHT_PIPELINE_RECOMPRESS_AFTER=0s"}
	s := start(t, data, on...)
	needRecompression(t, s)
	if a := s.get("/healthz"); !strings.Contains(string(a.body), `"jpeg-xl":{"status":"ok"`) {
		t.Errorf("health with libjxl: %s", a.body)
	}
	photo := jpegOf(t, scene(600, 400, 1))
	_, up := s.upload(file{name: "a.jpg", bytes: photo})
	eventually(t, func() bool { return s.atRest(up[0].ID).Source.Stored == "jxl" }, func() string { return fmt.Sprintf("%+v", s.atRest(up[0].ID)) })
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	emptyCaches(t, data)
	s = start(t, data, append(on, "SAFELIGHT_CODEC_ENV=[LD_LIBRARY_PATH="+bogus+"]", "SAFELIGHT_CODEC_READABLE=["+bogus+"]")...)
	if !strings.Contains(s.log.String(), "libjxl is not installed") {
		t.Errorf("the log has no warning:\n%s", s.log)
	}
	var p problem
	for _, path := range []string{"", "?w=100"} {
		a := s.get(up[0].URL + path)
		if a.json(t, &p); a.status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "libjxl") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := s.get("/healthz"); !strings.Contains(string(a.body), "libjxl is not installed") {
		t.Errorf("health: %d %s", a.status, a.body)
	}
	if a := s.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("not ready: %d %s", a.status, a.body)
	}
	_, up2 := s.upload(file{name: "b.jpg", bytes: jpegOf(t, scene(600, 400, 2))}, file{name: "a2.jpg", bytes: photo})
	for _, f := range up2 {
		eventually(t, func() bool { return s.settled(f.ID) }, func() string { return fmt.Sprintf("%+v", s.describe(f.ID).Tasks) })
		if a := s.atRest(f.ID); a.Source.Stored != "jpeg" {
			t.Errorf("%+v", a)
		}
	}
	if a := s.get(up[0].URL); a.status != 200 || !bytes.Equal(a.body, photo) {
		t.Errorf("the same bytes, uploaded again: %d", a.status)
	}
}

// TestCrashRecompressing kills the server with SIGKILL at random moments while
// the same photos are uploaded, recompressed, deleted and swept again and again.
// Every file that was acknowledged, and not deleted, is there byte for byte; at
// the end nothing lies about that no image refers to.
func TestCrashRecompressing(t *testing.T) {
	data := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var photos [][]byte
	for i := range 6 {
		photos = append(photos, jpegOf(t, scene(240, 160, uint64(i))))
	}
	env := []string{"SAFELIGHT_PIPELINE_RECOMPRESS=jxl", "SAFELIGHT_PIPELINE_RECOMPRESS_AFTER=0s", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=50ms",
		"SAFELIGHT_CODEC_PROCESSES=2", "SAFELIGHT_TASKS_LEASE=1s"}
	known := &acknowledged{all: make(map[string][sha256.Size]byte)}
	n := max(cycles(t)/2, 1)
	recompressed := 0
	for cycle := range n {
		s := start(t, data, env...)
		needRecompression(t, s)
		checkSample(t, s, known, 40, r)
		var clients sync.WaitGroup
		for c := range 4 {
			clients.Go(func() {
				for i := 0; ; i++ {
					url := fmt.Sprintf("/images/%d-%d-%d.jpg", cycle, c, i)
					body := photos[(i+c)%len(photos)]
					a, err := s.try(http.MethodPut, url, bytes.NewReader(body))
					if err != nil {
						return
					}
					if a.status != http.StatusCreated {
						continue
					}
					if i%3 == 0 {
						known.add(url, body)
						continue
					}
					var up stored
					if json.Unmarshal(a.body, &up) != nil || up.ID == "" {
						continue
					}
					if _, err := s.try(http.MethodDelete, "/v1/images/"+up.ID, nil); err != nil {
						return
					}
				}
			})
		}
		<-time.After(time.Duration(100+r.IntN(900)) * time.Millisecond)
		recompressed += len(filesUnder(t, filepath.Join(data, "recompressed")))
		s.kill()
		clients.Wait()
	}
	if recompressed == 0 || len(known.all) < n {
		t.Errorf("%d recompressed, %d acknowledged in %d cycles: the load was no load", recompressed, len(known.all), n)
	}
	s := start(t, data, env...)
	t.Logf("%d kills, %d acknowledged, %d recompressed", n, len(known.all), recompressed)
	checkSample(t, s, known, len(known.all), r)
	eventually(t, func() bool { return len(orphans(t, s, data)) == 0 }, func() string { return fmt.Sprint("left after the sweep: ", orphans(t, s, data)) })
}
