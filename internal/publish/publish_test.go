package publish

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	source := f.publish(img, "", "x")
	if want := img.Created.Format("2006/01/02/") + img.ID.String() + "/original.jpg"; source.Name != want {
		t.Fatalf("named %s, expected %s", source.Name, want)
	}
	f.wantObject(source, "source")
	f.render(img, "thumb", format.WebP, "fast")
	thumb := f.publish(img, "thumb", "x")
	f.wantObject(thumb, "fast")
	f.wantState(img, catalog.Confirmed, catalog.Confirmed)

	before, err := os.Stat(f.object(source))
	if err != nil {
		t.Fatal(err)
	}
	if again := f.publish(img, "", "x"); again != f.rows(img)[0] {
		t.Errorf("again: %+v", again)
	}
	if after, err := os.Stat(f.object(source)); err != nil || !os.SameFile(before, after) {
		t.Errorf("what was published was written again: %v", err)
	}
	for _, damage := range []func() error{
		func() error { return os.Remove(f.object(source)) },
		func() error { return os.WriteFile(f.object(source), []byte("sour"), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		f.publish(img, "", "x")
		f.wantObject(source, "source")
	}
	_, err = f.Publish(t.Context(), img, "none", "x")
	wantKind(t, err, fault.NotFound)
	_, err = f.Publish(t.Context(), img, "", "z")
	wantKind(t, err, fault.Unavailable)
}

func TestOptimisedOverwritesFast(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "{name}/{sha8}/{preset}.{ext}")
	img := f.upload("main", "a.jpg", "source")
	f.render(img, "thumb", format.JPEG, "fast rendition")
	fast := f.publish(img, "thumb", "x")
	f.render(img, "thumb", format.JPEG, "optimised")
	best := f.publish(img, "thumb", "x")
	if fast.Name != best.Name {
		t.Errorf("the name changed from %s to %s", fast.Name, best.Name)
	}
	f.wantObject(best, "optimised")
	f.wantState(img, catalog.Confirmed)

	f.render(img, "thumb", format.AVIF, "another format")
	other := f.publish(img, "thumb", "x")
	if other.Name != strings.TrimSuffix(best.Name, "jpg")+"avif" {
		t.Errorf("named %s", other.Name)
	}
	f.wantObject(other, "another format")
	if _, err := os.Stat(f.object(best)); !os.IsNotExist(err) {
		t.Errorf("the old object: %v", err)
	}
	f.wantState(img, catalog.Confirmed)
}

func TestNamesOfTwoImages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "{name}.{ext}")
	first, second := f.upload("main", "a.jpg", "one"), f.upload("main", "b.jpg", "two")
	second.Name = first.Name
	p := f.publish(first, "", "x")
	_, err := f.Publish(t.Context(), second, "", "x")
	wantKind(t, err, fault.Conflict)
	if !strings.Contains(err.Error(), first.ID.String()) || !strings.Contains(err.Error(), "{id}") {
		t.Errorf("it says %q", err)
	}
	f.wantObject(p, "one")
	f.wantState(second)
}

func TestPublishAfterDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	f.render(img, "thumb", format.JPEG, "thumb")
	f.delete(img)
	for _, preset := range []string{"", "thumb"} {
		_, err := f.Publish(t.Context(), img, preset, "x")
		wantKind(t, err, fault.NotFound)
	}
	f.wantNoObjects("x")
	f.wantState(img)
}

func TestDeletedWhileItIsPublished(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before the commit", "before the reading back"} {
		f := newFixture(t, "")
		img := f.upload("main", "a.jpg", "source")
		vanish := func(string) { f.delete(img) }
		if f.stores["x"].onCommit = vanish; when != "before the commit" {
			f.stores["x"].onCommit, f.stores["x"].onOpen = nil, vanish
		}
		_, err := f.Publish(t.Context(), img, "", "x")
		wantKind(t, err, fault.NotFound)
		f.wantNoObjects("x")
		f.wantState(img, catalog.Withdrawn)
	}
}

func TestObjectThatReadsBackOtherwise(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	f.stores["x"].onOpen = func(name string) {
		if err := os.WriteFile(filepath.Join(f.dirs["x"], name), []byte("sourcE"), 0o600); err != nil {
			t.Error(err)
		}
	}
	_, err := f.Publish(t.Context(), img, "", "x")
	wantKind(t, err, fault.Internal)
	f.wantState(img, catalog.Writing)
	f.stores["x"].onOpen = nil
	f.wantObject(f.publish(img, "", "x"), "source")
}

func TestDamagedHomeCopyReplacesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	p := f.publish(img, "", "y")
	f.home.Trust(blob.SourceName(img.Source.Digest.String())) // it rotted after it was last checked
	if err := os.WriteFile(filepath.Join(f.homeDir, blob.SourceName(img.Source.Digest.String())), []byte("sourcE"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := f.Publish(t.Context(), img, "", "x")
	wantKind(t, err, fault.Internal)
	f.wantNoObjects("x")
	f.wantObject(p, "source")
}

func TestDestinationThatCantBeWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "dir/{id}-{preset}")
	img := f.upload("main", "a.jpg", "source")
	obstacle := filepath.Join(f.dirs["x"], "dir") // a file where a directory is needed
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Publish(t.Context(), img, "", "x"); err == nil || fault.Of(err) == fault.NotFound {
		t.Fatalf("got %v", err)
	}
	f.wantState(img, catalog.Writing)
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	f.wantObject(f.publish(img, "", "x"), "source")
	f.wantState(img, catalog.Confirmed)
}

func TestUnpublish(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img, other := f.upload("main", "a.jpg", "source"), f.upload("main", "b.jpg", "other")
	f.render(img, "thumb", format.JPEG, "thumb")
	f.publish(img, "", "x")
	kept, far := f.publish(img, "thumb", "x"), f.publish(img, "", "y")
	stays := f.publish(other, "", "x")
	source, x := "", "x"
	for range 2 {
		if err := f.Unpublish(t.Context(), img.ID, &source, &x); err != nil {
			t.Fatal(err)
		}
		f.wantObject(kept, "thumb")
		f.wantObject(far, "source")
	}
	f.wantState(img, catalog.Withdrawn, catalog.Confirmed, catalog.Confirmed)
	f.delete(img)
	for range 2 {
		if err := f.Unpublish(t.Context(), img.ID, nil, nil); err != nil {
			t.Fatal(err)
		}
		f.wantNoObjects("y")
	}
	f.wantObject(stays, "other")
	f.wantState(img, catalog.Withdrawn, catalog.Withdrawn, catalog.Withdrawn)

	f.publish(other, "", "y")
	delete(f.destinations, "x")
	wantKind(t, f.Unpublish(t.Context(), other.ID, nil, nil), fault.Unavailable)
	f.wantNoObjects("y") // the other destination was tried all the same
	f.wantObject(stays, "other")
}

// TestWritersOfOneObject checks that an object always has the bytes that its
// row says, however fast and optimised renditions, and withdrawals, cross.
func TestWritersOfOneObject(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	contents := map[asset.Digest]string{}
	for round := range 15 {
		var wg sync.WaitGroup
		for i := range 3 {
			data := fmt.Sprintf("%d %d", round, i)
			contents[f.render(img, "thumb", format.JPEG, data).Digest] = data
			wg.Go(func() {
				if _, err := f.Publish(t.Context(), img, "thumb", "x"); err != nil && fault.Of(err) != fault.NotFound {
					t.Error(err)
				}
			})
			if i == 1 {
				wg.Go(func() {
					if err := f.Unpublish(t.Context(), img.ID, nil, nil); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		for _, p := range f.rows(img) {
			switch p.State {
			case catalog.Confirmed:
				f.wantObject(p, contents[p.Digest])
			case catalog.Withdrawn:
				f.wantNoObjects("x")
			default:
				t.Fatalf("%+v", p)
			}
		}
		last := f.publish(img, "thumb", "x")
		f.wantObject(last, fmt.Sprintf("%d 2", round))
	}
}

// TestRemovalThatComesLate lets an object be published again between its
// withdrawal and its removal.
func TestRemovalThatComesLate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	p := f.publish(img, "", "x")
	withdrawn, err := f.db.Withdraw(t.Context(), img.ID, nil, nil)
	if err != nil || len(withdrawn) != 1 {
		t.Fatal(withdrawn, err)
	}
	f.publish(img, "", "x")
	if gone, err := f.remove(t.Context(), withdrawn[0]); gone || err != nil {
		t.Errorf("it says %v, %v", gone, err)
	}
	f.wantObject(p, "source")
}

// TestObjectTooYoung withdraws an object whose store can't be sure of its age:
// that is told until the object has gone.
func TestObjectTooYoung(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	p := f.publish(img, "", "x")
	f.delete(img)
	soon := time.Now().Add(time.Hour)
	if err := os.Chtimes(f.object(p), soon, soon); err != nil {
		t.Fatal(err)
	}
	for _, remove := range []func() error{
		func() error { return f.Unpublish(t.Context(), img.ID, nil, nil) },
		func() error { return f.Forget(t.Context(), img.ID) },
	} {
		err := remove()
		wantKind(t, err, fault.Unavailable)
		if fault.As(err).Code != TooYoung {
			t.Errorf("the code is %q", fault.As(err).Code)
		}
		f.wantObject(p, "source")
		f.wantState(img, catalog.Withdrawn)
	}
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(f.object(p), before, before); err != nil {
		t.Fatal(err)
	}
	if err := f.Forget(t.Context(), img.ID); err != nil {
		t.Fatal(err)
	}
	f.wantNoObjects("x")
	f.wantState(img)
}

// TestSweepTemp removes what a node that died has left at a destination, and
// not what is being written.
func TestSweepTemp(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for name, store := range f.stores {
		f.destinations[name] = destination{Store: store.Store} // without the hooks
		nodes, err := filepath.Glob(filepath.Join(f.dirs[name], "tmp", "*"))
		if err != nil || len(nodes) != 1 {
			t.Fatal(nodes, err)
		}
		left := filepath.Join(nodes[0], "left")
		if err := os.WriteFile(left, []byte("half a picture"), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := store.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		if n, err := f.SweepTemp(t.Context(), time.Hour); n != 1 || err != nil {
			t.Errorf("%s: removed %d, %v", name, n, err)
		}
		if _, err := os.Stat(left); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Commit(t.Context(), "whole"); err != nil {
			t.Errorf("%s: what was being written: %v", name, err)
		}
	}
}
