package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// command runs the binary's command line and answers what it wrote and its exit
// status.
func command(t *testing.T, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, &errs
	err := cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return out.String(), errs.String(), failed.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

// TestMigrate moves an installation from SQLite to PostgreSQL: keys, ids, presets
// and tasks are the same afterwards. While the server runs and writes, the move
// is not finished, and no server starts on it.
func TestMigrate(t *testing.T) {
	_, setting := database(t)
	to := setting
	env := []string{"SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render]"}
	s := start(t, "", env...)
	var files []file
	for i := range 12 {
		files = append(files, file{name: fmt.Sprintf("%d.jpg", i), bytes: jpegOf(t, scene(120, 90, uint64(i)))})
	}
	a, stored := s.upload(files...)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, f := range stored {
		eventually(t, func() bool { return s.settled(f.ID) }, func() string { return s.log.String() })
	}
	var waiting struct{ ID string }
	submitted := s.do(http.MethodPost, "/v1/tasks", strings.NewReader(`{"function": "outside", "args": {"a":  1}}`), "Content-Type", "application/json")
	submitted.json(t, &waiting)
	thumb := s.get("/images/" + stored[3].Key + "?preset=thumb")
	if _, errs, status := command(t, []string{to}, "migrate", "--data", s.data); status > 1 || !strings.Contains(errs, "stop the server") && !strings.Contains(errs, "a server is running on "+s.data) {
		t.Fatalf("beside a running server: %d %s", status, errs)
	}
	late := jpegOf(t, scene(100, 100, 99))
	if a := s.do(http.MethodPut, "/images/late.jpg", bytes.NewReader(late), "Content-Type", "image/jpeg"); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	out, errs, status := command(t, []string{to}, "migrate", "--data", s.data)
	if status != 0 || !strings.Contains(out, "are the same on both sides") || strings.Contains(out+errs, "not-to-be-logged") {
		t.Fatalf("%d %s\n%s", status, out, errs)
	}
	s = start(t, s.data, append(env, setting)...)
	checkPicture(t, s, "late.jpg", late)
	for i, f := range stored {
		checkPicture(t, s, f.Key, files[i].bytes)
		if a := s.get("/image/" + f.ID); a.status != http.StatusOK {
			t.Errorf("the id %s is answered with %d", f.ID, a.status)
		}
		if p := s.describe(f.ID).Presets; len(p) != 1 || p[0].Width != 64 {
			t.Errorf("the presets are %+v", p)
		}
	}
	if after := s.get("/images/" + stored[3].Key + "?preset=thumb"); digestOf(after.body) != digestOf(thumb.body) || !strings.Contains(after.header.Get("Cache-Status"), "home") {
		t.Errorf("a kept rendition is made anew: %s", after.header.Get("Cache-Status"))
	}
	claimed := s.do(http.MethodPost, "/v1/worker/claim", strings.NewReader(`{"functions": ["outside"], "worker": "w"}`), "Content-Type", "application/json")
	if claimed.status != http.StatusOK || !strings.Contains(string(claimed.body), waiting.ID) {
		t.Errorf("the task that waited is not handed out: %d %s", claimed.status, claimed.body)
	}
	if _, errs, status := command(t, []string{to}, "migrate", "--data", s.data); status != 1 || !strings.Contains(errs, "would undo") {
		t.Errorf("once more, into what a server uses: %d %s", status, errs)
	}
}
