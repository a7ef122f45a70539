package app

import (
	"os"
	"path/filepath"
	"testing"

	"safelight/internal/blobcache"
	"safelight/internal/diskblob"
)

// TestRunning notices a directory that is open, and makes nothing in one that is not.
func TestRunning(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	if Running(empty) || Running(filepath.Join(empty, "none")) {
		t.Error("nobody has it open")
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("%v, %v: asking has made files", files, err)
	}
	for name, open := range map[string]func(dir string) (interface{ Close() error }, error){
		"home": func(dir string) (interface{ Close() error }, error) {
			return diskblob.Open(diskblob.Config{Dir: dir, Node: "one"})
		},
		"elsewhere": func(dir string) (interface{ Close() error }, error) {
			return blobcache.Open(blobcache.Config{Dir: filepath.Join(dir, "blobs-one"), MaxBytes: 1 << 20})
		},
	} {
		dir := t.TempDir()
		for range 2 { // asking leaves no lock behind
			store, err := open(dir)
			if err != nil {
				t.Fatal(name, err)
			}
			if !Running(dir) {
				t.Errorf("%s: it is open", name)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			if Running(dir) {
				t.Errorf("%s: it is closed", name)
			}
		}
	}
}
