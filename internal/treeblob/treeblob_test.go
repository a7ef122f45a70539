package treeblob

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.Of(err) != kind {
		t.Errorf("got %v (%s), expected %s", err, fault.Of(err), kind)
	}
}

// TestStore reads a directory with everything that can be in one, and leaves no
// trace in it.
func TestStore(t *testing.T) {
	t.Parallel()
	dir, outside, ctx := t.TempDir(), t.TempDir(), t.Context()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "sub/empty"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub/ä b.jpg"), []byte("bytes"), 0o644),
		os.WriteFile(filepath.Join(dir, "bad\xff.jpg"), []byte("bytes"), 0o644),
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644),
		os.Symlink("sub/ä b.jpg", filepath.Join(dir, "link.jpg")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "out.jpg")),
		os.Symlink(".", filepath.Join(dir, "circle")),
		os.Symlink("self", filepath.Join(dir, "self")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var names []string
	if err := s.List(ctx, "", func(i blob.Info) error { names = append(names, i.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"link.jpg", "sub/ä b.jpg"}) {
		t.Errorf("%q", names)
	}
	for _, name := range names {
		r, err := s.Open(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		info, statErr := s.Stat(ctx, name)
		if string(body) != "bytes" || err != nil || statErr != nil || info != r.Info() || info.Bytes != 5 {
			t.Errorf("%s: %q %v, %+v %v", name, body, err, info, statErr)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"missing", "sub", "out.jpg", "pipe", "self", "circle", "../x", "/etc/passwd", "sub/ä b.jpg/x", ""} {
		_, err := s.Open(ctx, name)
		wantKind(t, err, fault.NotFound)
		_, err = s.Stat(ctx, name)
		wantKind(t, err, fault.NotFound)
	}
	_, err = s.Create(ctx)
	wantKind(t, err, fault.Denied)
	_, err = s.Delete(ctx, "link.jpg", time.Now().Add(time.Hour))
	wantKind(t, err, fault.Denied)
	if _, err := os.Stat(filepath.Join(dir, "link.jpg")); err != nil {
		t.Error(err)
	}
	_, err = Open(filepath.Join(dir, "missing"))
	wantKind(t, err, fault.Unavailable)
}

// TestListBelow lists one directory of several.
func TestListBelow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a/b/one", "a/two", "ab/three", "four"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for prefix, want := range map[string][]string{"a/": {"a/b/one", "a/two"}, "a/b/": {"a/b/one"}, "none/": nil} {
		var names []string
		if err := s.List(t.Context(), prefix, func(i blob.Info) error { names = append(names, i.Name); return nil }); err != nil || !slices.Equal(names, want) {
			t.Errorf("%s: %q, %v; want %q", prefix, names, err, want)
		}
	}
	for _, prefix := range []string{"a", "../", "/", "a//"} {
		if err := s.List(t.Context(), prefix, func(blob.Info) error { return nil }); err == nil {
			t.Errorf("%q was listed", prefix)
		}
	}
}
