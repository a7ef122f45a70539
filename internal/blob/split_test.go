package blob_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/diskblob"
)

func directory(t *testing.T) *diskblob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSplit(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return blob.NewSplit(directory(t), directory(t)) })
}

func names(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var got []string
	if err := s.List(t.Context(), prefix, func(i blob.Info) error {
		got = append(got, i.Name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func put(t *testing.T, s blob.Store, name string) {
	t.Helper()
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write([]byte(name)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(name))
	if _, err := w.ReadAt(got, 0); err != nil || string(got) != name {
		t.Errorf("after Commit the writer of %s reads %q, %v", name, got, err)
	}
}

// Each name lies where it belongs, and only there; what lies elsewhere is not
// seen; and no temporary file stays.
func TestSplitPlaces(t *testing.T) {
	t.Parallel()
	sources, renditions := directory(t), directory(t)
	s := blob.NewSplit(sources, renditions)
	mine := []string{"recompressed/aa/bb/x", "sources/aa/bb/x"}
	others := []string{"outputs/aa/bb/x", "renditions/aa/bb/x"}
	all := slices.Sorted(slices.Values(append(slices.Clone(mine), others...)))
	for _, name := range all {
		put(t, s, name)
	}
	put(t, sources, "renditions/aa/bb/stray")
	put(t, renditions, "sources/aa/bb/stray")
	if got := names(t, renditions, ""); !slices.Equal(got, append(slices.Clone(others), "sources/aa/bb/stray")) {
		t.Errorf("renditions have %v", got)
	}
	for prefix, want := range map[string][]string{
		"": all, "re": {"recompressed/aa/bb/x", "renditions/aa/bb/x"}, "sources/": {"sources/aa/bb/x"}, "renditions/": {"renditions/aa/bb/x"}, "o": {"outputs/aa/bb/x"}, "sources/b": nil,
	} {
		if got := names(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("List(%q) gave %v; want %v", prefix, got, want)
		}
	}
	if gone, err := s.Delete(t.Context(), "renditions/aa/bb/x", time.Now().Add(time.Hour)); !gone || err != nil {
		t.Error(gone, err)
	}
	if got := names(t, renditions, "renditions/"); len(got) != 0 {
		t.Errorf("after Delete there are %v", got)
	}
	if n, err := s.SweepTemp(t.Context(), 0); n != 0 || err != nil {
		t.Errorf("%d temporary files were left, %v", n, err)
	}
	if free, err := s.FreeBytes(); free <= 0 || err != nil {
		t.Error(free, err)
	}
	if _, err := blob.NewSplit(roomless{}, roomless{}).FreeBytes(); err == nil {
		t.Error("nobody knows of the room")
	}
	if free, err := blob.NewSplit(roomless{}, renditions).FreeBytes(); free <= 0 || err != nil {
		t.Error(free, err)
	}
}

type roomless struct{ blob.Store }

func (roomless) Open(context.Context, string) (blob.Reader, error) { return nil, nil }
