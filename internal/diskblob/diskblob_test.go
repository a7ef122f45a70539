package diskblob_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir, node string) *diskblob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: dir, Node: node})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir(), "n1") })
}

func store(s *diskblob.Store, name string, data []byte) error {
	w, err := s.Create(context.Background())
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit(context.Background(), name)
}

func temps(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Base(f) != "lock" {
			n++
		}
	}
	return n
}

func TestOneStorePerNode(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, "n1")
	if _, err := diskblob.Open(diskblob.Config{Dir: dir, Node: "n1"}); fault.Of(err) != fault.Conflict {
		t.Fatalf("a second store with the same node gave %v, expected a conflict", err)
	}
	open(t, dir, "n2")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, "n1")
}

func TestConfig(t *testing.T) {
	for _, c := range []diskblob.Config{
		{}, {Dir: "x", Node: ".."}, {Dir: "x", Node: "a/b"}, {Dir: "x", Node: `a\b`}, {Dir: "x", SyncParallel: -1},
	} {
		if _, err := diskblob.Open(c); fault.Of(err) != fault.Invalid {
			t.Errorf("Open(%+v) gave %v", c, err)
		}
	}
}

func TestSweepTemp(t *testing.T) {
	dir := t.TempDir()
	leave := func(node, name string, age time.Duration) {
		t.Helper()
		file := filepath.Join(dir, "tmp", node, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	leave("n1", "mine", 0)
	leave("n2", "young", time.Hour)
	leave("n2", "old", 25*time.Hour)
	s := open(t, dir, "n1")
	w, err := s.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.SweepTemp(context.Background(), 24*time.Hour); n != 2 || err != nil {
		t.Fatalf("swept %d, %v; expected n1/mine and n2/old", n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp", "n2", "young")); err != nil {
		t.Fatal("another node's young file was swept")
	}
	if _, err := w.Write([]byte("still good")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(context.Background(), "a/b"); err != nil {
		t.Fatalf("a live writer was swept: %v", err)
	}
	if n := temps(t, dir); n != 1 {
		t.Fatalf("%d temporary files are left, expected only n2/young", n)
	}
}

func TestReplaceLeavesNoTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "n1")
	for range 3 {
		if err := store(s, "a/b", []byte("bytes")); err != nil {
			t.Fatal(err)
		}
	}
	if n := temps(t, dir); n != 0 {
		t.Fatalf("%d temporary files are left", n)
	}
}

func TestDirectoryRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, "n1")
	for range 2 {
		if err := store(s, "a/b/c", []byte("bytes")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNameOfADirectory(t *testing.T) {
	s := open(t, t.TempDir(), "n1")
	if err := store(s, "a/b/c", []byte("bytes")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/b", "a/b/c/d"} {
		if err := store(s, name, []byte("x")); fault.Of(err) != fault.Internal || err == nil {
			t.Errorf("storing %q over or below another kind of entry gave %v", name, err)
		}
	}
	if _, err := s.Stat(context.Background(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := store(s, "tmp/x", []byte("x")); fault.Of(err) != fault.Invalid {
		t.Errorf("storing among the temporary files gave %v", err)
	}
}

func TestTooManyFiles(t *testing.T) {
	s := open(t, t.TempDir(), "n1")
	if err := store(s, "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Skip(err)
	}
	_, openErr := s.Open(context.Background(), "a")
	_, createErr := s.Create(context.Background())
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if fault.Of(openErr) != fault.Unavailable || fault.Of(createErr) != fault.Unavailable {
		t.Fatalf("without descriptors Open gave %v and Create %v", openErr, createErr)
	}
	if err := store(s, "b", []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("can't mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := open(t, dir, "n1")
	data, name := blobtest.Bytes(1, 700_000)
	if err := store(s, name, data); err != nil {
		t.Fatal(err)
	}
	free, err := s.FreeBytes()
	if err != nil || free <= 0 || free > 400_000 {
		t.Fatalf("FreeBytes gave %d, %v", free, err)
	}
	more, other := blobtest.Bytes(2, 700_000)
	if err := store(s, other, more); fault.Of(err) != fault.OutOfSpace {
		t.Fatalf("a full disk gave %v", err)
	}
	if n := temps(t, dir); n != 0 {
		t.Fatalf("%d temporary files are left of a failed write", n)
	}
	if ok, err := s.Delete(context.Background(), name, time.Now().Add(time.Hour)); !ok || err != nil {
		t.Fatal(err)
	}
	if err := store(s, other, more); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	_ = s.Close()
}
