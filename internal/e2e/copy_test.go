package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/cdkblob/s3test"
)

// TestCopyHome moves pictures from the data directory into a bucket while the
// server goes on, and starts a server there that has nothing but the catalog, in
// SQLite or in PostgreSQL, encrypted or not: everything is served as before.
func TestCopyHome(t *testing.T) {
	for name, c := range map[string]struct {
		postgres bool
		env      []string
	}{
		"sqlite":    {},
		"postgres":  {postgres: true},
		"encrypted": {env: []string{"SAFELIGHT_ENCRYPTION_KEYS=[" + keyOne + "]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := append(s3test.Env(), "SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render]")
			moveHome(t, append(env, c.env...), c.postgres)
		})
	}
}

func moveHome(t *testing.T, env []string, toPostgres bool) {
	to := s3test.Start(t).Bucket("photos", "home")
	s := start(t, "", env...)
	pictures := map[string][]byte{} // by key
	thumbs := map[string]string{}   // digests, by key
	var mu sync.Mutex
	add := func(seed uint64) error {
		name := fmt.Sprintf("%d.jpg", seed)
		body := jpegOf(t, scene(200, 150, seed))
		a, err := s.try(http.MethodPut, "/images/"+name, bytes.NewReader(body), "Content-Type", "image/jpeg")
		if err != nil || a.status != http.StatusCreated {
			return fmt.Errorf("%d %s %w", a.status, a.body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		pictures[name] = body
		return nil
	}
	for i := range 30 {
		if err := add(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	// Pictures come, and their renditions are made, while others are copied.
	done := make(chan struct{})
	var uploads sync.WaitGroup
	uploads.Go(func() {
		every := time.NewTicker(50 * time.Millisecond)
		defer every.Stop()
		for i := uint64(100); ; i++ {
			select {
			case <-done:
				return
			case <-every.C:
			}
			if err := add(i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	copying := []string{"copy", "--data", s.data, "--to", to}
	out, errs, status := command(t, env, copying...)
	close(done)
	uploads.Wait()
	if status != 0 && (status != 1 || !strings.Contains(errs, "have come meanwhile")) {
		t.Fatalf("beside a running server: %d %s\n%s", status, errs, out)
	}
	var page struct {
		Images []struct{ ID string } `json:"images"`
	}
	s.get("/v1/images?limit=1000").json(t, &page)
	for _, img := range page.Images {
		eventually(t, func() bool { return s.settled(img.ID) }, func() string { return s.log.String() })
	}
	for key := range pictures {
		thumbs[key] = digestOf(s.get("/images/" + key + "?preset=thumb").body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if status == 0 {
		t.Log("all was copied beside the server, which shows little")
	}
	out, errs, status = command(t, env, append(copying, "--json")...)
	var report struct {
		Found, Copied, Already struct{ Blobs int }
		Appeared               int
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 || report.Already.Blobs < 30 || report.Found.Blobs != 2*len(pictures) {
		t.Fatalf("%d pictures: %d %s\n%s, %v", len(pictures), status, errs, out, err)
	}
	t.Logf("%d pictures: %s", len(pictures), out)
	data := t.TempDir()
	env = append(env, "SAFELIGHT_STORE_SOURCES="+to)
	if toPostgres {
		_, setting := database(t)
		if out, errs, status := command(t, []string{setting}, "migrate", "--data", s.data); status != 0 {
			t.Fatalf("%d %s\n%s", status, errs, out)
		}
		env = append(env, setting)
	} else if err := os.Rename(filepath.Join(s.data, "catalog.db"), filepath.Join(data, "catalog.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}
	s = start(t, data, env...)
	for key, body := range pictures {
		checkPicture(t, s, key, body)
		a := s.get("/images/" + key + "?preset=thumb")
		if digestOf(a.body) != thumbs[key] || !strings.Contains(a.header.Get("Cache-Status"), "home") {
			t.Errorf("the preset of %s is answered with %d, %d bytes, %s", key, a.status, len(a.body), a.header.Get("Cache-Status"))
		}
	}
	if err := add(1000); err != nil {
		t.Error(err)
	}
	checkPicture(t, s, "1000.jpg", pictures["1000.jpg"])
}
