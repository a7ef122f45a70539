package publish

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/treeblob"
)

// theirs gives a fixture a place of somebody else's with a file in it.
func (f *fixture) theirs(name, data string) (dir string) {
	f.t.Helper()
	dir = f.t.TempDir()
	f.put(dir, name, data)
	store, err := treeblob.Open(dir)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = store.Close() })
	f.Refer(map[string]blob.Store{"shop": store})
	return dir
}

func (f *fixture) put(dir, name, data string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wantFile(dir, name, data string) {
	f.t.Helper()
	if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != data {
		f.t.Fatalf("%s has %q, %v; expected %q", name, got, err, data)
	}
}

func (f *fixture) adopt(img asset.Image, name string) {
	f.t.Helper()
	if err := f.Adopt(f.t.Context(), img, "shop", name); err != nil {
		f.t.Fatal(err)
	}
}

// released has the home copy of a source removed, and checks that it went.
func (f *fixture) released(img asset.Image, removed int) {
	f.t.Helper()
	got, err := f.ExpireSource(f.t.Context(), img, future())
	if err != nil || len(got.Removed) != removed {
		f.t.Fatalf("%+v, %v; expected %d removed", got, err, removed)
	}
}

// TestAdopt reads an image's source from an object of somebody else's, which
// nothing that happens to the image touches.
func TestAdopt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	ctx := t.Context()
	dir := f.theirs("a.jpg", "source")
	img := f.upload("main", "a.jpg", "source")
	other := f.upload("other", "b.jpg", "source") // has the same bytes, and no object
	f.adopt(img, "a.jpg")
	f.adopt(img, "a.jpg")
	f.released(img, 0)
	f.delete(other)
	f.released(img, 1)
	name := blob.SourceName(img.Source.Digest.String())
	f.wantOpens(name, "source")
	if _, err := f.Publish(ctx, img, "", "shop"); fault.Of(err) != fault.Invalid {
		t.Errorf("something is published there: %v", err)
	}
	if _, err := f.Intended(ctx, img, "", "shop"); fault.Of(err) != fault.Invalid {
		t.Errorf("a worker outside may write there: %v", err)
	}
	if got := f.Destinations(); len(got) != 2 || slices.Contains(f.For(img, ""), "shop") || f.Places() != 3 {
		t.Errorf("the destinations are %v", got)
	}
	for _, depth := range []Depth{Sizes, Bytes} {
		report, err := f.Reconcile(ctx, Plan{Depth: depth, Stray: func(at string, o blob.Info) error {
			t.Errorf("%s at %s is a stray", o.Name, at)
			return nil
		}})
		if err != nil || report.Due != 0 || report.Checked != 1 {
			t.Errorf("%+v, %v", report, err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "a.jpg"), filepath.Join(dir, "c.jpg")); err != nil {
		t.Fatal(err)
	}
	f.adopt(img, "c.jpg")
	f.delete(img)
	f.wantState(img, catalog.Withdrawn)
	for range 2 {
		if err := f.Unpublish(ctx, img.ID, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	f.wantFile(dir, "c.jpg", "source")
	if err := f.Forget(ctx, img.ID); err != nil {
		t.Fatal(err)
	}
	f.wantState(img)
	f.wantFile(dir, "c.jpg", "source")
	f.adopt(f.upload("main", "a.jpg", "source"), "c.jpg") // the name is free again
}

// TestAdoptWithdrawnLater leaves the row of a deleted image to the reconciliation.
func TestAdoptWithdrawnLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	dir := f.theirs("a.jpg", "source")
	img := f.upload("main", "a.jpg", "source")
	f.adopt(img, "a.jpg")
	f.delete(img)
	again := f.upload("main", "a.jpg", "source")
	err := f.Adopt(t.Context(), again, "shop", "a.jpg")
	if known := fault.As(err); known == nil || known.Code != catalog.NameWithdrawn {
		t.Fatalf("the name of a deleted image's object: %v", err)
	}
	f.settle = 0
	if report, err := f.Reconcile(t.Context(), Plan{}); err != nil || report.Removed != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	f.wantFile(dir, "a.jpg", "source")
	f.adopt(again, "a.jpg")
}

// TestAdoptChanged: other bytes than the image's are neither adopted nor given,
// and no reason to let the home copy go.
func TestAdoptChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	dir := f.theirs("a.jpg", "changed")
	img := f.upload("main", "a.jpg", "source")
	wantKind(t, f.Adopt(t.Context(), img, "shop", "a.jpg"), fault.Unavailable)
	wantKind(t, f.Adopt(t.Context(), img, "shop", "missing.jpg"), fault.Unavailable)
	wantKind(t, f.Adopt(t.Context(), img, "x", "a.jpg"), fault.Internal)
	f.wantState(img)
	f.put(dir, "a.jpg", "source")
	f.adopt(img, "a.jpg")
	f.put(dir, "a.jpg", "SOURCE") // as large as before
	f.released(img, 0)
	f.wantState(img, catalog.Confirmed)
	f.put(dir, "a.jpg", "source")
	f.released(img, 1)
	f.put(dir, "a.jpg", "SOURCE")
	if r, err := f.home.Open(t.Context(), blob.SourceName(img.Source.Digest.String())); err == nil {
		_ = r.Close()
		t.Fatal("other bytes are given")
	}
	if report, err := f.Reconcile(t.Context(), Plan{Depth: Bytes}); err != nil || report.Due != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	f.wantState(img, catalog.Confirmed) // so that it is read again once it is back
	f.put(dir, "a.jpg", "source")
	f.wantOpens(blob.SourceName(img.Source.Digest.String()), "source")
}
