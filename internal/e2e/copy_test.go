package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
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

// album are pictures that a server was given.
type album struct {
	mu       sync.Mutex
	pictures map[string][]byte // by key
}

// add uploads a picture that nobody has.
func (a *album) add(s *server, seed uint64) error {
	name := fmt.Sprintf("%d.jpg", seed)
	body := jpegOf(s.t, scene(200, 150, seed))
	answer, err := s.try(http.MethodPut, "/images/"+name, bytes.NewReader(body), "Content-Type", "image/jpeg")
	if err != nil || answer.status != http.StatusCreated {
		return fmt.Errorf("%d %s %w", answer.status, answer.body, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pictures[name] = body
	return nil
}

// grow uploads pictures until done is closed.
func (a *album) grow(s *server, done <-chan struct{}) {
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for seed := uint64(100); ; seed++ {
		select {
		case <-done:
			return
		case <-every.C:
		}
		if err := a.add(s, seed); err != nil {
			s.t.Error(err)
			return
		}
	}
}

// thumbs waits for all presets, and gives their digests by key.
func (a *album) thumbs(t *testing.T, s *server) map[string]string {
	t.Helper()
	var page struct {
		Images []struct{ ID string } `json:"images"`
	}
	s.get("/v1/images?limit=1000").json(t, &page)
	for _, img := range page.Images {
		eventually(t, func() bool { return s.settled(img.ID) }, func() string { return s.log.String() })
	}
	digests := map[string]string{}
	for key := range a.pictures {
		digests[key] = digestOf(s.get("/images/" + key + "?preset=thumb").body)
	}
	return digests
}

func moveHome(t *testing.T, env []string, toPostgres bool) {
	to := s3test.Start(t).Bucket("photos", "home")
	s := start(t, "", env...)
	a := &album{pictures: map[string][]byte{}}
	for i := range 30 {
		if err := a.add(s, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	var uploads sync.WaitGroup
	uploads.Go(func() { a.grow(s, done) })
	copying := []string{"copy", "--data", s.data, "--to", to}
	out, errs, status := command(t, env, copying...)
	close(done)
	uploads.Wait()
	if status != 0 && (status != 1 || !strings.Contains(errs, "have come meanwhile")) {
		t.Fatalf("beside a running server: %d %s\n%s", status, errs, out)
	}
	if status == 0 {
		t.Log("all was copied beside the server, which shows little")
	}
	thumbs := a.thumbs(t, s)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	out, errs, status = command(t, env, append(copying, "--json")...)
	var report struct{ Found, Already struct{ Blobs int } }
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 || report.Already.Blobs < 30 || report.Found.Blobs != 2*len(a.pictures) {
		t.Fatalf("%d pictures: %d %s\n%s, %v", len(a.pictures), status, errs, out, err)
	}
	t.Logf("%d pictures: %s", len(a.pictures), out)
	s = reopen(t, s, append(env, "SAFELIGHT_STORE_SOURCES="+to), toPostgres)
	for key, body := range a.pictures {
		checkPicture(t, s, key, body)
		thumb := s.get("/images/" + key + "?preset=thumb")
		if digestOf(thumb.body) != thumbs[key] || !strings.Contains(thumb.header.Get("Cache-Status"), "home") {
			t.Errorf("the preset of %s is answered with %d, %d bytes, %s", key, thumb.status, len(thumb.body), thumb.header.Get("Cache-Status"))
		}
	}
	if err := a.add(s, 1000); err != nil {
		t.Error(err)
	}
	checkPicture(t, s, "1000.jpg", a.pictures["1000.jpg"])
}

// reopen starts a server that has of another one nothing but the catalog.
func reopen(t *testing.T, old *server, env []string, toPostgres bool) *server {
	t.Helper()
	data := t.TempDir()
	if toPostgres {
		_, setting := database(t)
		if out, errs, status := command(t, []string{setting}, "migrate", "--data", old.data); status != 0 {
			t.Fatalf("%d %s\n%s", status, errs, out)
		}
		env = append(env, setting)
	} else if err := os.Rename(filepath.Join(old.data, "catalog.db"), filepath.Join(data, "catalog.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(old.data); err != nil {
		t.Fatal(err)
	}
	return start(t, data, env...)
}

// TestCopyIsKilled kills a copy again and again: what is at the target is whole each
// time, and the last run completes it.
func TestCopyIsKilled(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	const blobs = 3000
	for i := range blobs {
		body := bytes.Repeat(fmt.Appendf(nil, "%d ", i), 3000)
		sum := digestOf(body)
		path := filepath.Join(from, "sources", sum[:2], sum[2:4], sum)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, body, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	there := func() []string { return filesUnder(t, filepath.Join(to, "sources")) }
	args := []string{"copy", "--data", from, "--to", "file://" + to}
	for have := 0; have < blobs/2; {
		cmd := exec.Command(binary, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return len(there()) >= min(have+400, blobs) }, func() string { return fmt.Sprint(len(there())) })
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		have = len(there())
		for _, name := range there() {
			body, err := os.ReadFile(name)
			if err != nil || digestOf(body) != filepath.Base(name) {
				t.Fatalf("%s has %d bytes, %v", name, len(body), err)
			}
		}
	}
	out, errs, status := command(t, nil, append(args, "--verify")...)
	if status != 0 || len(there()) != blobs || !strings.Contains(out, "3000 were read back") {
		t.Errorf("%d %s\n%s", status, errs, out)
	}
}
