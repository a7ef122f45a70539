package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/cdkblob/s3test"
)

// scan has a server look at all of its mirror.
func scan(t *testing.T, s *server) {
	t.Helper()
	a := s.do(http.MethodPost, "/v1/tasks", strings.NewReader(`{"function": "mirror-scan", "args": {"mirror": "shop"}}`), append(bearer, "Content-Type", "application/json")...)
	if a.status >= 300 {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

// TestReference adopts pictures by reference, from a directory and from a bucket:
// nothing of them stays at home, and nothing that happens to the images touches
// them.
func TestReference(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		reference(t, dir, "file://"+dir, nil)
	})
	t.Run("bucket", func(t *testing.T) {
		storage := s3test.Start(t)
		address := storage.Bucket("pictures", "below")
		dir := filepath.Join(storage.Dir, "pictures", "below")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		reference(t, dir, address, s3test.Env())
	})
}

func reference(t *testing.T, dir, address string, env []string) {
	write := func(name string, body []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", body, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	archive := t.TempDir()
	one, two, three := jpegOf(t, scene(600, 400, 1)), jpegOf(t, scene(600, 400, 2)), jpegOf(t, scene(300, 200, 3))
	write("a.jpg", one)
	write("deep/b c.jpg", three)
	env = append(env,
		"SAFELIGHT_MIRRORS={shop: {url: '"+address+"', prefix: shop, delete: true, reference: true, keep: 50ms}}",
		"SAFELIGHT_DESTINATIONS={archive: {url: 'file://"+archive+"', sources: false}}",
		"SAFELIGHT_AUTH_KEYS=[{name: events, token: "+mirrorKey+", scopes: [read, upload, admin]}]",
		"SAFELIGHT_PRESETS={thumb: w=32&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render, publish]",
		"SAFELIGHT_SWEEP_GRACE=0s", "SAFELIGHT_SWEEP_EVERY=200ms", "SAFELIGHT_TASKS_DEFAULT_RETRY_UNIT=10ms",
	)
	s := start(t, "", env...)
	why := func() string {
		return fmt.Sprintf("%s\n%s\nat home: %v", s.get("/v1/tasks?limit=100", bearer...).body, s.log, filesUnder(t, filepath.Join(s.data, "sources")))
	}
	shows := func(key string, body []byte) {
		t.Helper()
		eventually(t, func() bool {
			a := s.get("/images/shop/"+key, bearer...)
			return body == nil && a.status == http.StatusNotFound || body != nil && a.status == http.StatusOK && bytes.Equal(a.body, body)
		}, why)
	}
	nothingAtHome := func() {
		t.Helper()
		eventually(t, func() bool { return len(filesUnder(t, filepath.Join(s.data, "sources"))) == 0 }, why)
	}
	shows("a.jpg", one)
	shows("deep/b%20c.jpg", three)
	nothingAtHome()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.data, "cache")); err != nil {
		t.Fatal(err)
	}
	s = start(t, s.data, env...)
	shows("a.jpg", one) // from where it lies
	if a := s.get("/images/shop/a.jpg?w=20&format=png", bearer...); a.status != http.StatusOK {
		t.Errorf("a rendition: %d %s", a.status, a.body)
	}
	eventually(t, func() bool { return len(filesUnder(t, archive)) == 2 }, why) // the presets, and no originals
	write("a.jpg", two)
	scan(t, s)
	shows("a.jpg", two)
	nothingAtHome()
	reconciled(t, s)
	before := filesUnder(t, dir)
	id := s.imageAt(t, "shop/deep/b c.jpg")
	if a := s.do(http.MethodDelete, "/v1/images/"+id, nil, bearer...); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	shows("deep/b%20c.jpg", nil)
	eventually(t, func() bool { return len(filesUnder(t, archive)) == 1 }, why) // what is ours goes
	reconciled(t, s)
	if after := filesUnder(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("there is %v, expected %v", after, before)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "deep/b c.jpg")); err != nil || !bytes.Equal(body, three) {
		t.Errorf("the original of a deleted image: %d bytes, %v", len(body), err)
	}
	scan(t, s) // it is there still, and so it comes back
	shows("deep/b%20c.jpg", three)
	nothingAtHome()
	if err := os.Remove(filepath.Join(dir, "a.jpg")); err != nil {
		t.Fatal(err)
	}
	scan(t, s)
	shows("a.jpg", nil)
}

// imageAt is the id of the image that a key points at.
func (s *server) imageAt(t *testing.T, key string) string {
	t.Helper()
	var list struct{ Images []struct{ ID, Key string } }
	s.get("/v1/images?key="+strings.ReplaceAll(key, " ", "%20"), bearer...).json(t, &list)
	if len(list.Images) != 1 || list.Images[0].Key != key {
		t.Fatalf("at %s there is %+v", key, list)
	}
	return list.Images[0].ID
}

// reconciled has the server hold its catalog against all places, and waits for
// the end.
func reconciled(t *testing.T, s *server) {
	t.Helper()
	var submitted, now struct{ ID, State string }
	a := s.do(http.MethodPost, "/v1/tasks", strings.NewReader(`{"function": "reconcile", "args": {}}`), append(bearer, "Content-Type", "application/json")...)
	a.json(t, &submitted)
	eventually(t, func() bool {
		s.get("/v1/tasks/"+submitted.ID, bearer...).json(t, &now)
		return now.State == "done"
	}, func() string { return string(s.get("/v1/tasks/"+submitted.ID, bearer...).body) + s.log.String() })
}
