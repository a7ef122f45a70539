package diskblob_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
)

// TestLinksAreNoBlobs puts links and a pipe where blobs would be: whoever else
// writes to the directory can't pass another file off as one.
func TestLinksAreNoBlobs(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	s, err := diskblob.Open(diskblob.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"file": secret, "folder": outside} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "folder/secret", "pipe"} {
		if r, err := s.Open(t.Context(), name); fault.Of(err) != fault.NotFound {
			t.Errorf("%s is read: %v, %v", name, r, err)
		}
	}
}

// TestDirectoryTakenAway moves the store's directory away and back: meanwhile
// nothing is missing or deleted, as nobody can tell.
func TestDirectoryTakenAway(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, away := filepath.Join(top, "store"), filepath.Join(top, "away")
	s, err := diskblob.Open(diskblob.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := store(s, "a", []byte("bytes")); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want fault.Kind) {
		t.Helper()
		_, stat := s.Stat(t.Context(), "missing")
		_, open := s.Open(t.Context(), "missing")
		for what, err := range map[string]error{"Stat": stat, "Open": open} {
			if err == nil || fault.Of(err) != want {
				t.Errorf("%s, %s: %v", when, what, err)
			}
		}
	}
	check("there", fault.NotFound)
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	for _, empty := range []bool{false, true} {
		if empty { // like the place of a file system that is not mounted
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		check("away", fault.Unavailable)
		if ok, err := s.Delete(t.Context(), "a", time.Now().Add(time.Hour)); ok || fault.Of(err) != fault.Unavailable {
			t.Errorf("Delete: %v, %v", ok, err)
		}
		if err := s.List(t.Context(), "", func(blob.Info) error { return nil }); fault.Of(err) != fault.Unavailable {
			t.Errorf("List: %v", err)
		}
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	check("back", fault.NotFound)
	if _, err := s.Stat(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}
