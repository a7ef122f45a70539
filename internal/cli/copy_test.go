package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/blob"
	"safelight/internal/diskblob"
)

// atHome puts a source into a directory, and gives its file.
func atHome(t *testing.T, dir, body string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	path := filepath.Join(dir, blob.SourceName(hex.EncodeToString(sum[:])))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCopyCommand goes through what the command line says, and its exit statuses.
func TestCopyCommand(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	bad := atHome(t, from, "one")
	atHome(t, from, "two")
	base := "copy --data " + from + " --to file://" + to
	run := func(line string, status int, wants ...string) {
		t.Helper()
		got, text := says(t, line)
		if got != status {
			t.Errorf("%s: exit status %d, want %d", line, got, status)
		}
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s\nlacks %q", line, text, want)
			}
		}
	}
	if err := os.WriteFile(bad, []byte("eno"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(base, 1, "2 blobs (6 B) at the source: 1 copied (3 B), 0 there already", filepath.Base(bad)+" is not copied: the stored bytes are damaged", "1 blobs are damaged at the source")
	if err := os.WriteFile(bad, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(base+" --json", 0, `"copied":{"blobs":1,"bytes":3},"already":{"blobs":1,"bytes":3}`, `"damaged":[]`)
	run(base+" --verify", 0, "0 copied (0 B), 2 there already", "2 were read back")
	run(base+" --only renditions", 1, "there is nothing of a home store at --from")
	if got, err := os.ReadFile(filepath.Join(to, strings.TrimPrefix(bad, from))); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(from, "tmp")); err == nil {
		t.Error("the source was written to")
	}
	server, err := diskblob.Open(diskblob.Config{Dir: from, Node: "one"})
	if err != nil {
		t.Fatal(err)
	}
	const running = "stop it and run this once more before you switch"
	run(base, 0, "a server is running on "+from+": "+running)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, text := says(t, base); strings.Contains(text, running) {
		t.Errorf("no server is running: %s", text)
	}
	run("copy --data "+from+" --to file:///nowhere/at/all", 1, "there is no directory /nowhere/at/all")
	run("copy --from file:///nowhere/at/all --to file://"+to, 1, "--from: the directory can't be used")
	if _, text := says(t, "copy --data "+from+" --to file:///nowhere/at/all"); strings.Contains(text, "again") {
		t.Errorf("running it again makes no directory: %s", text)
	}
	for args, want := range map[string]string{
		"":                                      "give the store to fill with --to, or set store.sources",
		"--to file://" + from:                   "--from and --to must not lie in one another",
		"--to file://" + from + "/blobs":        "--from and --to must not lie in one another",
		"--to ftp://x/y":                        "--to: url: nothing can be stored at ftp://",
		"--to s3://":                            "--to: url: expected a bucket",
		"--to file:///x --parallel 0":           "--parallel: 0 is not from 1 to 256",
		"--to file:///x --only all":             "--only must be one of",
		"--to s3://user:secret@bucket/pictures": "credentials come from the environment",
	} {
		run("copy --data "+from+" "+args, 2, want, "see safelight copy --help")
	}
}
