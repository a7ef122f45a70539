package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// photosIn writes n pictures into directories.
func photosIn(t *testing.T, dir string, n int) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for i := range n {
		name := fmt.Sprintf("%d/photo %d.jpg", i%4, i)
		all[name] = jpegOf(t, scene(80, 60, uint64(i)))
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, all[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestImport takes a directory in by the command line, which is interrupted and
// run again.
func TestImport(t *testing.T) {
	s, dir := start(t, ""), t.TempDir()
	photos := photosIn(t, dir, 60)
	env := []string{"SAFELIGHT_SERVER=" + s.url, "XDG_CACHE_HOME=" + t.TempDir()}
	first := exec.Command(binary, "import", dir, "--prefix", "old/site", "--json", "--parallel", "2")
	first.Env = append(os.Environ(), env...)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == 5 {
			_ = first.Process.Signal(syscall.SIGINT)
		}
	}
	if err := first.Wait(); first.ProcessState.ExitCode() != 130 {
		t.Fatalf("interrupted, it ended with %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	text, errs, status := command(t, env, "import", dir, "--prefix", "old/site", "--json")
	if status != 0 || errs != "" {
		t.Fatalf("again: %d %s", status, errs)
	}
	var last struct {
		Summary struct {
			Files  int
			States map[string]int
		}
	}
	rows := strings.Split(strings.TrimSpace(text), "\n")
	if err := json.Unmarshal([]byte(rows[len(rows)-1]), &last); err != nil {
		t.Fatal(err)
	}
	n := last.Summary.States
	if last.Summary.Files != 61 || n["stored"]+n["present"] != 60 || n["present"] < 5 || n["skipped"] != 1 || len(rows) != 62 {
		t.Errorf("%d lines, %+v", len(rows), last)
	}
	for name, body := range photos {
		checkPicture(t, s, "old/site/"+strings.ReplaceAll(name, " ", "%20"), body)
	}
	if err := os.WriteFile(filepath.Join(dir, "0/photo 0.jpg"), jpegOf(t, scene(10, 10, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	text, errs, status = command(t, env, "import", dir, "--prefix", "old/site")
	if status != 1 || !strings.Contains(errs, "conflict") || !strings.Contains(text, "59 present, 1 skipped, 1 conflict") {
		t.Errorf("a conflict: %d %s%s", status, text, errs)
	}
	for _, args := range [][]string{{dir, "--delete"}, {dir, "--parallel", "0"}, {dir + "/none"}, {"s3://bucket", "--watch"}} {
		if _, errs, status := command(t, env, append([]string{"import"}, args...)...); status != 2 {
			t.Errorf("%v: %d %s", args, status, errs)
		}
	}
}

// TestImportRefused has the server refuse large files in the middle of others.
func TestImportRefused(t *testing.T) {
	s, dir := start(t, "", "SAFELIGHT_INGEST_MAX_FILE_BYTES=1MB"), t.TempDir()
	photosIn(t, dir, 20)
	for i := range 4 {
		large := append(jpegOf(t, scene(50, 50, 1)), make([]byte, 20<<20)...)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("1/large%d.jpg", i)), large, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, errs, status := command(t, []string{"SAFELIGHT_SERVER=" + s.url}, "import", dir, "--state", "none")
	if status != 1 || strings.Count(errs, "larger than 1000000 bytes") != 4 || !strings.Contains(text, "20 stored, 4 failed") {
		t.Errorf("%d %s%s", status, text, errs)
	}
}

// TestImportWatch follows a directory by the command line until it is told to
// stop.
func TestImportWatch(t *testing.T) {
	s, dir := start(t, ""), t.TempDir()
	photos := photosIn(t, dir, 3)
	cmd := exec.Command(binary, "import", dir, "--watch", "--delete", "--state", "none")
	cmd.Env = append(os.Environ(), "SAFELIGHT_SERVER="+s.url)
	var said bytes.Buffer
	cmd.Stdout = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	count := func() int { return strings.Count(string(s.get("/v1/images").body), `"id"`) }
	left := func() string { return string(s.get("/v1/images").body) }
	eventually(t, func() bool { return count() == 3 }, left)
	later := photosIn(t, filepath.Join(dir, "later"), 2)
	eventually(t, func() bool { return count() == 5 }, left)
	checkPicture(t, s, "later/1/photo%201.jpg", later["1/photo 1.jpg"])
	if err := os.RemoveAll(filepath.Join(dir, "later")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return count() == 3 }, left)
	checkPicture(t, s, "0/photo%200.jpg", photos["0/photo 0.jpg"])
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to stop, it ended with %v", err)
	}
	for _, want := range []string{"0/photo 0.jpg: stored\n", "watching " + dir + " (3 files: 3 stored)\n", "later/1/photo 1.jpg: stored\n", "later/1/photo 1.jpg: deleted\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%s\nlacks %q", said.String(), want)
		}
	}
}
