package diskblob_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
)

func content(t *testing.T, s *diskblob.Store, name string) string {
	t.Helper()
	r, err := s.Open(context.Background(), name)
	if fault.Of(err) == fault.NotFound {
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFailedCommitIsUndone lets the fsync of the directory fail (it can't be
// opened for want of descriptors), after the file had its name already.
func TestFailedCommitIsUndone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "n1")
	if err := store(s, "a/old", []byte("old")); err != nil {
		t.Fatal(err)
	}
	writers := map[string]blob.Writer{"a/old": nil, "a/new": nil, "b/c/new": nil}
	for name := range writers {
		w, err := s.Create(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		writers[name] = w
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Skip(err)
	}
	failed := map[string]error{}
	for name, w := range writers {
		failed[name] = w.Commit(context.Background(), name)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for name, err := range failed {
		if fault.Of(err) != fault.Unavailable {
			t.Errorf("committing %s without descriptors gave %v", name, err)
		}
	}
	for name, expected := range map[string]string{"a/old": "old", "a/new": "nothing", "b/c/new": "nothing"} {
		if got := content(t, s, name); got != expected {
			t.Errorf("after a failed Commit %s holds %q, expected %q", name, got, expected)
		}
	}
	for name, w := range writers { // and the same writer can try again
		if err := w.Commit(context.Background(), name); err != nil {
			t.Errorf("committing %s again: %v", name, err)
		}
		if got := content(t, s, name); got != "new" {
			t.Errorf("%s holds %q", name, got)
		}
	}
	if n := temps(t, dir); n != 0 {
		t.Fatalf("%d temporary files are left", n)
	}
}
