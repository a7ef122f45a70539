package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"safelight/internal/postgres/pgtest"
)

// database starts a PostgreSQL server for a test, and gives it with the setting
// that leads to an empty database of it.
func database(t *testing.T) (*pgtest.Server, string) {
	t.Helper()
	pg, err := pgtest.Start("fsync=off")
	if errors.Is(err, pgtest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	url, err := pg.Database("")
	if err != nil {
		t.Fatal(err)
	}
	return pg, "SAFELIGHT_DATABASE_URL=" + url
}

// checkPicture checks that an image is served with its own bytes.
func checkPicture(t *testing.T, s *server, key string, body []byte) {
	t.Helper()
	if a := s.get("/images/" + key); a.status != http.StatusOK || digestOf(a.body) != digestOf(body) {
		t.Fatalf("%s is answered with %d and %d bytes, expected %d\n%s", key, a.status, len(a.body), len(body), s.log)
	}
}

// TestPostgres takes pictures through a server whose catalog is in PostgreSQL:
// uploaded, rendered by a task, read, listed, deleted; both servers restart.
func TestPostgres(t *testing.T) {
	pg, setting := database(t)
	env := []string{setting, "SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render]"}
	s := start(t, "", env...)
	one, two := jpegOf(t, scene(200, 150, 1)), jpegOf(t, scene(160, 120, 2))
	a, files := s.upload(file{name: "one.jpg", bytes: one}, file{name: "two.jpg", bytes: two})
	if a.status != http.StatusCreated || len(files) != 2 || len(files[0].Tasks) != 1 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i, body := range [][]byte{one, two} {
		checkPicture(t, s, files[i].Key, body)
		eventually(t, func() bool { return s.settled(files[i].ID) }, func() string { return fmt.Sprintf("%+v\n%s", s.describe(files[i].ID), s.log) })
		if p := s.describe(files[i].ID).Presets; len(p) != 1 || p[0].Width != 64 {
			t.Fatalf("the presets are %+v", p)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatalf("the server ended with %v\n%s", err, s.log)
	}
	s = start(t, s.data, env...)
	checkPicture(t, s, files[1].Key, two)
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	if a := s.get("/v1/images"); a.status != http.StatusServiceUnavailable || strings.Contains(string(a.body), pgtest.Password) {
		t.Errorf("without the database a list is answered with %d %s", a.status, a.body)
	}
	if err := pg.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return s.get("/v1/images").status == http.StatusOK }, func() string { return s.log.String() })
	if a := s.do(http.MethodDelete, "/v1/images/"+files[0].ID, nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := s.get("/images/" + files[0].Key); a.status != http.StatusNotFound {
		t.Fatalf("a deleted image is answered with %d", a.status)
	}
	if text := string(s.get("/metrics").body); !strings.Contains(text, "database_connections_max 20") || !strings.Contains(text, "database_acquires_total") {
		t.Errorf("the metrics lack the pool's:\n%s", text)
	}
	if strings.Contains(s.log.String(), pgtest.Password) {
		t.Errorf("the log has the password:\n%s", s.log)
	}
}

// TestTwoNodes has two servers share a database and a data directory: what one
// stores, moves and deletes, the other serves, and each carries out tasks.
func TestTwoNodes(t *testing.T) {
	_, setting := database(t)
	env := []string{setting, "SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render]"}
	a := start(t, "", append(env, "SAFELIGHT_NODE=a")...)
	b := start(t, a.data, append(env, "SAFELIGHT_NODE=b")...)
	one, two := jpegOf(t, scene(200, 150, 1)), jpegOf(t, scene(160, 120, 2))
	put := func(s *server, body []byte) {
		t.Helper()
		if answer := s.do(http.MethodPut, "/images/shared.jpg", strings.NewReader(string(body)), "Content-Type", "image/jpeg"); answer.status >= 300 {
			t.Fatalf("%d %s", answer.status, answer.body)
		}
	}
	width := func(s *server, path string) string { // of a rendition, which the fast path answers
		answer := s.get(path)
		return fmt.Sprint(answer.status, " ", digestOf(answer.body))
	}
	put(a, one)
	checkPicture(t, b, "shared.jpg", one)
	const rendition = "/images/shared.jpg?w=50&format=png"
	before := width(b, rendition)
	for range 3 { // so that an answer is prepared
		if now := width(b, rendition); now != before {
			t.Fatalf("a rendition changes from %s to %s", before, now)
		}
	}
	put(a, two)
	eventually(t, func() bool { return width(b, rendition) != before }, func() string { return "the other node still serves what was replaced" })
	checkPicture(t, b, "shared.jpg", two)
	after := width(b, rendition)
	var files []file
	for i := range 20 {
		files = append(files, file{name: fmt.Sprintf("%d.jpg", i), bytes: jpegOf(t, scene(120, 90, uint64(10+i)))})
	}
	answered, stored := a.upload(files...)
	if answered.status != http.StatusCreated {
		t.Fatalf("%d %s", answered.status, answered.body)
	}
	for i, f := range stored {
		eventually(t, func() bool { return b.settled(f.ID) }, func() string { return fmt.Sprintf("%+v", b.describe(f.ID)) })
		checkPicture(t, b, f.Key, files[i].bytes)
	}
	id := b.describe(stored[0].ID).ID
	if answer := b.do(http.MethodDelete, "/v1/images/"+id, nil); answer.status != http.StatusNoContent {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	eventually(t, func() bool { return a.get("/images/"+stored[0].Key).status == http.StatusNotFound }, func() string { return "the other node still serves what was deleted" })
	if now := width(a, rendition); now != after {
		t.Errorf("nodes answer the same rendition with %s and %s", now, after)
	}
	a.kill()
	checkPicture(t, b, stored[1].Key, files[1].bytes)
	put(b, one)
	checkPicture(t, b, "shared.jpg", one)
}
