package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
)

// says runs a command line and gives its exit status and what it writes to
// stdout and stderr. It is not for parallel tests.
func says(t *testing.T, line string) (int, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, errs := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	status := Main(strings.Fields(line))
	os.Stdout, os.Stderr = out, errs
	w.Close()
	text, err := io.ReadAll(r) // short enough for the pipe
	if err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}

func TestSenselessCommandLines(t *testing.T) {
	tests := []struct{ line, want string }{
		{"xyzzy", `safelight: unexpected argument xyzzy; see safelight --help`},
		{"--bad", `safelight: unknown flag --bad; see safelight --help`},
		{"serve x", `safelight serve: unexpected argument x; see safelight serve --help`},
		{"tasks", `safelight tasks: expected one of list, show, retry, cancel, watch, submit, backfill; see safelight tasks --help`},
		{"tasks nope", `safelight tasks: unexpected argument nope; see safelight tasks --help`},
		{"tasks show", `safelight tasks show: expected "<id>"; see safelight tasks show --help`},
		{"tasks list --bad", `safelight tasks list: unknown flag --bad; see safelight tasks list --help`},
		{"tasks list --limit x", `safelight tasks list: --limit: expected a valid 64 bit int but got "x"; see safelight tasks list --help`},
		{"tasks list --limit=-1", `safelight tasks list: --limit: expected 0 or more but received -1; see safelight tasks list --help`},
		{"tasks backfill", `safelight tasks backfill: missing flags: --preset=NAME or --recompress; see safelight tasks backfill --help`},
		{"sign", `safelight sign: expected "<url>"; see safelight sign --help`},
		{"tasks retry", `safelight tasks retry: which tasks? Give ids, or flags such as --state dead, or --all; see safelight tasks retry --help`},
		{"tasks submit f --args []", `safelight tasks submit: --args: expected a JSON object such as '{"quality": 84}' but received []; see safelight tasks submit --help`},
	}
	for _, c := range tests {
		if status, text := says(t, c.line); status != 2 || text != c.want+"\n" {
			t.Errorf("%s: %d, %s; want 2, %s", c.line, status, text, c.want)
		}
	}
	for _, line := range []string{"tasks list --server http://127.0.0.1:1", "tasks list --server x"} {
		if status, text := says(t, line); status != 2 || strings.Contains(text, "--help") {
			t.Errorf("%s: %d, %s; want 2, without a word of help", line, status, text)
		}
	}
}

func TestNothingWasRetried(t *testing.T) {
	changed := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"changed":%d}`, changed) }))
	defer server.Close()
	t.Setenv("SAFELIGHT_SERVER", server.URL)
	for _, c := range []struct {
		line    string
		changed int
		want    string
	}{
		{"tasks retry --function f", 0, "0 retried; no dead or cancelled ones match; waiting ones: add --state scheduled"},
		{"tasks retry --function f", 2, "2 retried"},
		{"tasks retry --function f --state scheduled", 0, "0 retried"},
		{"tasks cancel --all", 0, "0 cancelled; none that match wait or run"},
	} {
		changed = c.changed
		if status, text := says(t, c.line); status != 0 || text != c.want+"\n" {
			t.Errorf("%s: %d, %s; want %s", c.line, status, text, c.want)
		}
	}
}

// TestMoreThanShown says how many tasks could not be retried, and that a list goes on.
func TestMoreThanShown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			fmt.Fprint(w, `{"changed":2}`)
			return
		}
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		fmt.Fprintf(w, `{"tasks":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"id":"x"},`, min(limit, 3)), ","))
	}))
	defer server.Close()
	t.Setenv("SAFELIGHT_SERVER", server.URL)
	const left = "1 could not be; safelight tasks retry ID tells why\n"
	for line, want := range map[string]string{
		"tasks retry --state dead":      "2 retried\n" + left,
		"tasks retry --all":             "2 retried\n" + left,
		"tasks retry --state scheduled": "2 retried\n",
		"tasks cancel --function f":     "2 cancelled\n",
	} {
		if status, text := says(t, line); status != 0 || text != want {
			t.Errorf("%s: %d, %s; want %s", line, status, text, want)
		}
	}
	for limit, more := range map[string]bool{"2": true, "3": false, "0": false} {
		if status, text := says(t, "tasks list --limit "+limit); status != 0 || strings.Contains(text, "there are more") != more {
			t.Errorf("--limit %s: %d, %s", limit, status, text)
		}
	}
}

// TestListenFlag is there for servers, and not where nothing listens.
func TestListenFlag(t *testing.T) {
	for command, want := range map[string]int{"config": 0, "migrate": senseless, "copy": senseless} {
		if status, text := says(t, command+" --listen 127.0.0.1:1"); status != want || want != 0 && !strings.Contains(text, "unknown flag --listen") {
			t.Errorf("%s: %d, %s", command, status, text)
		}
	}
}
