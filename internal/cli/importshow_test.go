package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"safelight/internal/adopt"
)

// TestImportLine says how far an import is, how fast, and how long it takes.
func TestImportLine(t *testing.T) {
	t.Parallel()
	s := &importShow{files: 4, bytes: 4_000_000}
	for _, c := range []struct {
		done     int
		bytes    int64
		after    time.Duration
		expected string
	}{
		{0, 0, time.Hour, "0 of 4 files, 0 B of 4.0 MB"},
		{1, 1_000_000, 100 * time.Millisecond, "1 of 4 files, 1.0 MB of 4.0 MB"},
		{1, 1_000_000, 20 * time.Second, "1 of 4 files, 1.0 MB of 4.0 MB, 50.0 kB/s, 1m left"},
		{4, 5_000_000, 20 * time.Second, "4 of 4 files, 5.0 MB of 4.0 MB, 250 kB/s, 0s left"}, // it has grown since
	} {
		s.done, s.sum = c.done, adopt.Summary{Bytes: c.bytes}
		if got := s.line(c.after); got != c.expected {
			t.Errorf("%q, expected %q", got, c.expected)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []importCommand{
		{Parallel: 0, Source: "x"}, {Parallel: 1000, Source: "x"}, {Parallel: 1, Source: "s3://x", Watch: true}, {Parallel: 1, Source: "x", Delete: true},
	} {
		if _, err := c.config(); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	c := importCommand{Parallel: 1, Source: "x", State: "none"}
	if o, err := c.config(); err != nil || o.Memory != "" {
		t.Errorf("%+v, %v", o, err)
	}
	here, there := defaultState("x", false), defaultState("file:///x", false)
	if here == there || here == "" {
		t.Errorf("two places share %s", here)
	}
}

// TestImportNamesSkipped names all skipped files where they are few, and otherwise
// the first.
func TestImportNamesSkipped(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"images":[]}`) }))
	defer server.Close()
	t.Setenv("SAFELIGHT_SERVER", server.URL)
	dir := t.TempDir()
	for files, want := range map[int]struct{ named, more string }{3: {"3", ""}, 12: {"10", "safelight: 2 more were skipped; --json names all"}} {
		for i := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		status, text := says(t, "import --state none "+dir)
		named := fmt.Sprint(strings.Count(text, ".txt: skipped: no picture"))
		if status != 0 || named != want.named || !strings.Contains(text, want.more) || (want.more == "") == strings.Contains(text, "more were skipped") {
			t.Errorf("%d files: %d %s", files, status, text)
		}
	}
}

// TestImportWithoutTails says nothing of running again where that is of no use.
func TestImportWithoutTails(t *testing.T) {
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprint(w, `{"detail":"no"}`)
	}))
	defer server.Close()
	t.Setenv("SAFELIGHT_SERVER", server.URL)
	dir := t.TempDir()
	for s, want := range map[int]string{401: "safelight: the server wants a key: give it with --key, or in SAFELIGHT_KEY\n", 403: "safelight: no\n", 409: "safelight: no; run it again to go on\n"} {
		status = s
		if got, text := says(t, "import --state none "+dir); got != 1 || text != want {
			t.Errorf("%d: %d %q; want %q", s, got, text, want)
		}
	}
}
