package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// description is what GET /v1/images/{id} tells of the pipeline.
type description struct {
	ID        string          `json:"id"`
	URL       string          `json:"url"`
	SHA256    string          `json:"sha256"`
	Presets   []presetInfo    `json:"presets"`
	Published []publishedInfo `json:"published"`
	Tasks     []taskRef       `json:"tasks"`
}

type presetInfo struct {
	Preset    string          `json:"preset"`
	State     string          `json:"state"`
	URL       string          `json:"url"`
	Format    string          `json:"format"`
	Width     int             `json:"width"`
	Bytes     int64           `json:"bytes"`
	SHA256    string          `json:"sha256"`
	Before    int64           `json:"bytes_before"`
	Saved     int64           `json:"bytes_saved"`
	Encoder   string          `json:"encoder"`
	Optimized map[string]any  `json:"optimized"`
	Error     string          `json:"error"`
	Published []publishedInfo `json:"published"`

	Alternatives []struct {
		Format string `json:"format"`
		Bytes  int64  `json:"bytes"`
		SHA256 string `json:"sha256"`
	} `json:"alternatives"`
}

type publishedInfo struct {
	Destination, Name, State, SHA256 string
	Bytes                            int64
}

func (s *server) describe(id string) description {
	s.t.Helper()
	var d description
	s.get("/v1/images/"+id).json(s.t, &d)
	return d
}

// settled tells that the pipeline has nothing left to do for an image but to
// expire it.
func (s *server) settled(id string) bool {
	d := s.describe(id)
	for _, t := range d.Tasks {
		if t.State == "ready" || t.State == "running" || t.State == "scheduled" && t.Function != "expire" {
			return false
		}
	}
	return len(d.Tasks) > 0
}

func digestOf(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// somePhotos are two of those beside the corpus.
func somePhotos(t *testing.T) []file {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(corpus(t), "..", "photos", "*.png"))
	if err != nil || len(found) < 2 {
		t.Skipf("there are no photos beside the corpus: %v", err)
	}
	var files []file
	for _, path := range found[:2] {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{name: filepath.Base(path), bytes: body})
	}
	return files
}

// TestWholeWay takes photos from the upload to the archive and back: presets
// appear, are compressed, published and overwritten there, local copies expire,
// and everything is still served; what is deleted goes everywhere.
func TestWholeWay(t *testing.T) {
	t.Run("builtin", func(t *testing.T) { wholeWay(t, "builtin") })
	t.Run("guetzli", func(t *testing.T) {
		if _, err := exec.LookPath("guetzli"); err != nil {
			t.Skip("guetzli is not installed")
		}
		wholeWay(t, "guetzli")
	})
}

func wholeWay(t *testing.T, encoder string) {
	files := somePhotos(t)
	data, archive := t.TempDir(), t.TempDir()
	env := []string{
		"SAFELIGHT_PRESETS={thumb: w=96&format=jpeg&q=90, cover: w=160&h=90&fit=cover&format=jpeg&q=95}",
		"SAFELIGHT_PIPELINE_ENCODER=" + encoder,
		"SAFELIGHT_DESTINATIONS={archive: {url: 'file://" + archive + "'}}", "SAFELIGHT_PIPELINE_EXPIRE=3s", "SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms",
	}
	s := start(t, data, env...)
	answered, stored := s.upload(files...)
	if answered.status != http.StatusCreated {
		t.Fatalf("%d %s", answered.status, answered.body)
	}
	for _, f := range stored {
		if len(f.Tasks) != 3 || len(f.Presets) != 2 || f.Presets[0].Preset != "cover" || f.Presets[0].State != "waiting" {
			t.Fatalf("the answer names the tasks %+v and presets %+v", f.Tasks, f.Presets)
		}
		if a := s.get(f.Presets[0].URL); a.status != 200 || a.header.Get("Content-Type") != "image/jpeg" {
			t.Fatalf("a preset that was asked for at once: %d %s", a.status, a.body)
		}
	}
	for i, f := range stored {
		eventually(t, func() bool { return s.settled(f.ID) }, func() string { return fmt.Sprintf("%+v", s.describe(f.ID).Tasks) })
		checkMade(t, s, f, files[i].bytes, archive)
	}
	home := func() []string {
		return append(filesUnder(t, filepath.Join(data, "sources")), filesUnder(t, filepath.Join(data, "renditions"))...)
	}
	eventually(t, func() bool { return len(home()) == 0 }, func() string { return fmt.Sprint("not expired: ", home()) })

	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	emptyCaches(t, data)
	s = start(t, data, env...)
	for i, f := range stored {
		if a := s.get(f.URL); a.status != 200 || !bytes.Equal(a.body, files[i].bytes) {
			t.Errorf("the original, fetched back: %d, %d bytes; want %d", a.status, len(a.body), len(files[i].bytes))
		}
		for _, p := range s.describe(f.ID).Presets {
			if a := s.get(p.URL); a.status != 200 || digestOf(a.body) != p.SHA256 {
				t.Errorf("preset %s, fetched back: %d, %d bytes", p.Preset, a.status, len(a.body))
			}
		}
		if a := s.get(f.URL + "?w=40"); a.status != 200 {
			t.Errorf("a new rendition of an expired image: %d %s", a.status, a.body)
		}
	}
	if left := home(); len(left) != 0 {
		t.Errorf("fetching back has filled the home store: %v", left)
	}
	for _, f := range stored {
		if a := s.do(http.MethodDelete, "/v1/images/"+f.ID, nil); a.status != http.StatusNoContent {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
	}
	published := func() []string {
		var names []string
		for _, name := range filesUnder(t, archive) {
			if !strings.Contains(name, "/tmp/") {
				names = append(names, name)
			}
		}
		return names
	}
	eventually(t, func() bool { return len(published()) == 0 }, func() string { return fmt.Sprint("still published: ", published()) })
}

// checkMade holds what the interface says of an image's presets against what is
// served and what lies in the archive.
func checkMade(t *testing.T, s *server, f stored, original []byte, archive string) {
	t.Helper()
	d := s.describe(f.ID)
	check := func(what string, at []publishedInfo, digest string) {
		if len(at) != 1 || at[0].State != "confirmed" || at[0].SHA256 != digest {
			t.Errorf("%s is published as %+v; want %s", what, at, digest)
			return
		}
		body, err := os.ReadFile(filepath.Join(archive, at[0].Name))
		if err != nil || digestOf(body) != digest {
			t.Errorf("%s in the archive: %v", what, err)
		}
	}
	check("the original", d.Published, digestOf(original))
	if len(d.Presets) != 2 {
		t.Fatalf("presets: %+v", d.Presets)
	}
	for _, p := range d.Presets {
		check(p.Preset, p.Published, p.SHA256)
		if p.State != "optimized" || p.Encoder == "" || p.Saved <= 0 || p.Bytes+p.Saved != p.Before || p.Optimized == nil {
			t.Errorf("%s was not optimised: %+v", p.Preset, p)
		}
		a := s.get(p.URL)
		if a.status != 200 || digestOf(a.body) != p.SHA256 || a.header.Get("Etag") != `"`+p.SHA256+`"` {
			t.Errorf("%s is served with %d and %d bytes; want the optimised %d", p.Preset, a.status, len(a.body), p.Bytes)
		}
		if got := decoded(t, a).Bounds(); got.Dx() != p.Width {
			t.Errorf("%s has a width of %d px; want %d", p.Preset, got.Dx(), p.Width)
		}
	}
}

// TestDestinationAway takes the only copy of an expired image away for a while,
// in which it is looked for, and gives it back: nothing may have been done about
// it that makes it unreachable. A server starts without its destination too.
func TestDestinationAway(t *testing.T) {
	data, top := t.TempDir(), t.TempDir()
	archive, away := filepath.Join(top, "archive"), filepath.Join(top, "away")
	env := []string{
		"SAFELIGHT_PRESETS={thumb: w=20}", "SAFELIGHT_DESTINATIONS={archive: {url: 'file://" + archive + "'}}", "SAFELIGHT_PIPELINE_ENCODER=none",
		"SAFELIGHT_PIPELINE_EXPIRE=1s", "SAFELIGHT_PIPELINE_RECONCILE_EVERY=1s", "SAFELIGHT_TASKS_DEFAULT_RETRY_UNIT=1ms",
	}
	s := start(t, data, env...)
	original := jpegOf(t, scene(60, 40, 1))
	_, stored := s.upload(file{name: "a.jpg", bytes: original})
	img := stored[0]
	expired := func() bool {
		return len(filesUnder(t, filepath.Join(data, "sources")))+len(filesUnder(t, filepath.Join(data, "renditions"))) == 0
	}
	eventually(t, expired, func() string { return fmt.Sprintf("not expired: %+v", s.describe(img.ID)) })
	dropCaches := func() {
		t.Helper()
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		emptyCaches(t, data)
		s = start(t, data, env...)
	}
	if a := s.get(img.URL); a.status != 200 { // it is in the disk cache now
		t.Fatalf("%d %s", a.status, a.body)
	}
	thumb := s.describe(img.ID).Presets[0]
	if err := os.Rename(archive, away); err != nil {
		t.Fatal(err)
	}
	reconciled := func() int {
		var page struct{ Tasks []struct{ State string } }
		s.get("/v1/tasks?function=reconcile&state=done,dead,scheduled&limit=1000").json(t, &page)
		return len(page.Tasks)
	}
	if a := s.get("/healthz"); !strings.Contains(string(a.body), `"destination archive":{"status":"failed"`) || s.get("/readyz").status != 200 {
		t.Errorf("a destination that is away is no reason not to serve, and shows: %s", a.body)
	}
	before := reconciled()
	eventually(t, func() bool { return reconciled() > before+1 }, func() string { return "nothing was looked for" })
	dropCaches() // and starts without the destination
	if a := s.get(img.URL); a.status != 503 {
		t.Errorf("the original, while its only copy is away: %d %s", a.status, a.body)
	}
	if err := os.RemoveAll(archive); err != nil { // the server may have begun a new one
		t.Fatal(err)
	}
	if err := os.Rename(away, archive); err != nil {
		t.Fatal(err)
	}
	dropCaches()
	if a := s.get(img.URL); a.status != 200 || !bytes.Equal(a.body, original) {
		t.Errorf("the original, once it is back: %d %s", a.status, a.body)
	}
	if a := s.get(thumb.URL); a.status != 200 {
		t.Errorf("the preset, once its copy is back: %d %s", a.status, a.body)
	}
}
