package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// elsewhere is another server that has pictures.
type elsewhere struct {
	*httptest.Server
	asked atomic.Int64
	dead  atomic.Bool
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{}
	photo := jpegOf(t, scene(640, 480, 7))
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		switch {
		case e.dead.Load():
			http.Error(w, "secret of the inside", http.StatusInternalServerError)
		case r.URL.Path == "/photo.jpg":
			w.Header().Set("Content-Type", "text/html") // which nobody believes
			w.Header().Set("Etag", `"1"`)
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(photo)
		case r.URL.Path == "/page":
			w.Header().Set("Content-Type", "image/jpeg")
			_, _ = w.Write([]byte("<html>"))
		case r.URL.Path == "/inside":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// settings let a server fetch from here, in a file that safelight sign reads too.
func (e *elsewhere) settings(t *testing.T, more string) string {
	t.Helper()
	_, port, _ := strings.Cut(strings.TrimPrefix(e.URL, "http://"), ":")
	name := filepath.Join(t.TempDir(), "safelight.yaml")
	text := fmt.Sprintf("remote:\n  hosts: [127.0.0.1, 169.254.169.254]\n  ports: [%s]\n  allow_private: [127.0.0.0/8]\n%s", port, more)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "SAFELIGHT_CONFIG=" + name
}

func sign(t *testing.T, env string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"sign"}, args...)...)
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sign %v: %v, %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestFetchByURL(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	s := start(t, "", e.settings(t, ""))
	post := func(body string, header ...string) answer {
		return s.do(http.MethodPost, "/v1/images", strings.NewReader(body), append([]string{"Content-Type", "application/json"}, header...)...)
	}
	a := post(fmt.Sprintf(`{"url": %q, "prefix": "from", "tags": ["a", "b"], "category": "c"}`, e.URL+"/photo.jpg"))
	var got stored
	a.json(t, &got)
	if a.status != http.StatusCreated || got.Key != "from/photo.jpg" || got.Format != "jpeg" || got.Width != 640 || a.header.Get("Location") != got.URL {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if shown := s.get(got.URL + "?w=100"); shown.status != http.StatusOK || decoded(t, shown).Bounds().Dx() != 100 {
		t.Errorf("shown: %d", shown.status)
	}
	wish := fmt.Sprintf(`{"url": %q, "key": "k.jpg"}`, e.URL+"/photo.jpg")
	var one, two stored
	post(wish, "Idempotency-Key", "t1").json(t, &one)
	post(wish, "Idempotency-Key", "t1").json(t, &two)
	if one.ID == "" || one.ID != two.ID || one.Key != "k.jpg" {
		t.Errorf("repeated: %+v, %+v", one, two)
	}
	for body, want := range map[string]struct {
		status int
		kind   string
	}{
		`{"url": "` + e.URL + `/page"}`:                     {415, "unsupported-format"},
		`{"url": "` + e.URL + `/missing"}`:                  {502, "origin-gone"},
		`{"url": "` + e.URL + `/inside"}`:                   {403, "redirect-refused"},
		`{"url": "http://169.254.169.254/"}`:                {403, "address-refused"},
		`{"url": "http://example.com/"}`:                    {403, "denied"},
		`{"url": "file:///etc/passwd"}`:                     {400, "invalid"},
		`{"url": "` + e.URL + `/photo.jpg", "key": "../x"}`: {400, "invalid"},
		`{}`: {422, "invalid"},
	} {
		a := post(body)
		var p problem
		a.json(t, &p)
		if a.status != want.status || p.Type != "urn:safelight:problem:"+want.kind || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
		if strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "meta-data") {
			t.Errorf("%s tells of the inside: %s", body, a.body)
		}
	}
	if m := string(s.get("/metrics").body); !strings.Contains(m, `remote_fetches_total{outcome="fetched"} 4`) || !strings.Contains(m, `remote_fetches_total{outcome="upstream-failed"} 1`) {
		t.Errorf("metrics:\n%s", m)
	}
}

func TestFetchIsOffByDefault(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	if a := s.do(http.MethodPost, "/v1/images", strings.NewReader(`{"url": "https://example.com/a.jpg"}`)); a.status != http.StatusForbidden || !strings.Contains(string(a.body), "remote.hosts") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if doc := string(s.get("/openapi.json").body); !strings.Contains(doc, `"fetch-image"`) || !strings.Contains(doc, `"/remote/{signature}/{encoded}"`) {
		t.Error("the interface does not describe fetching")
	}
	if a := s.get("/remote/AAAAAAAAAAAAAAAAAAAAAA/aHR0cHM6Ly9leGFtcGxlLmNvbS8"); a.status != http.StatusNotFound || !strings.Contains(string(a.body), "remote.keys") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestSignedRemote(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	env := e.settings(t, "  keys: [000102030405060708090a0b0c0d0e0f]\n  ttl: 1ms\n  negative_ttl: 1ms\n")
	s := start(t, "", env)
	path := sign(t, env, e.URL+"/photo.jpg", "w=200", "format=png")
	if !strings.HasPrefix(path, "/remote/") || !strings.HasSuffix(path, "?w=200&format=png") {
		t.Fatalf("signed %s", path)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if a, err := s.try(http.MethodGet, path, nil); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != "image/png" {
				t.Errorf("%d %.200s, %v", a.status, a.body, err)
			}
		})
	}
	all.Wait()
	if a := s.get(path); decoded(t, a).Bounds().Dx() != 200 {
		t.Error("not as wide as asked for")
	}
	if a := s.get(sign(t, env, e.URL+"/photo.jpg")); a.status != http.StatusOK || a.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("the original: %d %s", a.status, a.body)
	}
	for what, bad := range map[string]string{
		"options": strings.Replace(path, "w=200", "w=201", 1), "no options": strings.Split(path, "?")[0],
		"signature": strings.Replace(path, "/remote/", "/remote/A", 1), "URL": strings.Replace(path, "?", "A?", 1),
	} {
		if a := s.get(bad); a.status != http.StatusForbidden {
			t.Errorf("other %s: %d %s", what, a.status, a.body)
		}
	}
	if a := s.get(sign(t, env, e.URL+"/missing")); a.status != http.StatusBadGateway {
		t.Errorf("missing: %d %s", a.status, a.body)
	}
	if m := string(s.get("/metrics").body); !strings.Contains(m, `remote_fetches_total{outcome="unchanged"}`) {
		t.Errorf("the origin was not asked again:\n%s", m)
	}
	e.dead.Store(true)
	if a := s.get(path); a.status != http.StatusOK || decoded(t, a).Bounds().Dx() != 200 {
		t.Errorf("of a dead origin: %d %s", a.status, a.body)
	}
	if !strings.Contains(string(s.get("/metrics").body), "remote_stale_total 1") || !strings.Contains(s.log.String(), "could not be asked about again") {
		t.Error("the stale answer was not counted and logged")
	}
}
