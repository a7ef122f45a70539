package publish

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/format"
)

// expired expires and checks how many copies went, and why the others stayed.
func (f *fixture) expired(img asset.Image, before time.Time, removed int, reasons ...string) {
	f.t.Helper()
	got, err := f.Expire(f.t.Context(), img, before)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(got.Removed) != removed || len(got.Kept) != len(reasons) {
		f.t.Fatalf("%+v; expected %d removed and %q kept", got, removed, reasons)
	}
	for i, c := range got.Kept {
		if !strings.Contains(c.Reason, reasons[i]) {
			f.t.Fatalf("kept %+v, expected %q", c, reasons[i])
		}
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	thumb := f.render(img, "thumb", format.JPEG, "thumb")
	f.expired(img, future(), 0, "not published", "not published")
	f.publish(img, "", "x")
	f.expired(img, time.Now().Add(-time.Hour), 0, "not old", "not old")
	f.expired(img, future(), 1, "not published")
	if f.atHome(blob.SourceName, img.Source.Digest) || !f.atHome(blob.RenditionName, thumb.Digest) {
		t.Fatal("the wrong copy was removed")
	}
	f.publish(img, "thumb", "y")
	f.expired(img, future(), 1)
	f.expired(img, future(), 0)
	f.wantOpens(blob.SourceName(img.Source.Digest.String()), "source")
	f.wantOpens(blob.RenditionName(thumb.Digest.String()), "thumb")
	if f.atHome(blob.SourceName, img.Source.Digest) {
		t.Fatal("a recalled copy counts as one at home")
	}
}

func TestExpireWithASecondImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	one, two := f.upload("main", "a.jpg", "source"), f.upload("other", "a.jpg", "source")
	f.render(one, "thumb", format.JPEG, "thumb")
	f.render(two, "thumb", format.JPEG, "thumb")
	f.publish(one, "", "x")
	f.publish(one, "thumb", "x")
	f.expired(one, future(), 0, "every image", "every image")
	source := f.publish(two, "", "x")
	f.expired(one, future(), 1, "every image")
	f.publish(two, "thumb", "y")
	f.expired(two, future(), 1)
	// What one image's object is good for must not depend on the other's.
	f.delete(one)
	if err := f.Unpublish(t.Context(), one.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	f.wantObject(source, "source")
	f.wantOpens(blob.SourceName(two.Source.Digest.String()), "source")
}

func TestExpireReadsBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	p := f.publish(img, "", "x")
	if err := os.WriteFile(f.object(p), []byte("sourcE"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := f.Expire(t.Context(), img, future())
	if err != nil || len(done.Damaged) != 1 || done.Damaged[0] != (Due{img.ID, "main", "", "x", Damaged}) || len(done.Kept) != 1 || !strings.Contains(done.Kept[0].Reason, "at x could not be read back") {
		t.Fatalf("%+v, %v", done, err)
	}
	p = f.publish(img, "", "x") // it counted no more, so that it is written again
	f.wantObject(p, "source")
	if err := os.Remove(f.object(p)); err != nil {
		t.Fatal(err)
	}
	f.expired(img, future(), 0, "at x could not be read back")
	f.publish(img, "", "y") // one good object is enough
	f.expired(img, future(), 1)
}

func TestExpireAfterTheRowsMoved(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*fixture, asset.Image){
		"withdrawn": func(f *fixture, img asset.Image) {
			if _, err := f.db.Withdraw(f.t.Context(), img.ID, nil, nil); err != nil {
				f.t.Error(err)
			}
		},
		"deleted":  func(f *fixture, img asset.Image) { f.delete(img) },
		"uploaded": func(f *fixture, _ asset.Image) { f.upload("other", "b.jpg", "source") },
		"written again": func(f *fixture, img asset.Image) {
			if err := f.db.Intend(f.t.Context(), f.rows(img)[0]); err != nil {
				f.t.Error(err)
			}
		},
	} {
		f := newFixture(t, "")
		img := f.upload("main", "a.jpg", "source")
		f.publish(img, "", "x")
		var once sync.Once // while the object is read back
		f.stores["x"].onOpen = func(string) { once.Do(func() { change(f, img) }) }
		f.expired(img, future(), 0, "changed meanwhile")
		if !f.atHome(blob.SourceName, img.Source.Digest) {
			t.Errorf("%s: the bytes are gone", what)
		}
	}
}

// TestExpireWhileUploading lets uploads of the same bytes cross with Expire;
// upload fails when its bytes go, as ingest would.
func TestExpireWhileUploading(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	for i := range 25 {
		data := fmt.Sprint("source ", i)
		img := f.upload("main", fmt.Sprint("a", i), data)
		f.publish(img, "", "x")
		var wg sync.WaitGroup
		for j := range 3 {
			wg.Go(func() { f.upload("other", fmt.Sprint(i, j), data) })
			wg.Go(func() {
				if _, err := f.Expire(t.Context(), img, future()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if !f.atHome(blob.SourceName, img.Source.Digest) {
			t.Fatal("the bytes of images that are not published are gone")
		}
	}
}

// watched calls a function whenever the catalog is asked for publications of
// some bytes.
type watched struct {
	Records
	onPublished func()
}

func (w *watched) Published(ctx context.Context, d asset.Digest) ([]catalog.Publication, error) {
	w.onPublished()
	return w.Records.Published(ctx, d)
}

// TestExpireWaitsForAnUpload checks that nothing is decided while an upload is
// between its two commits.
func TestExpireWaitsForAnUpload(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	img := f.upload("main", "a.jpg", "source")
	f.publish(img, "", "x")
	var uploading atomic.Bool
	f.records = &watched{f.db, func() {
		if uploading.Load() {
			t.Error("it was decided while an upload had its bytes stored, but no row yet")
		}
	}}
	var upload sync.WaitGroup
	var once sync.Once
	stored := make(chan struct{})
	f.between = func() { uploading.Store(true); close(stored) }
	f.after = func() { uploading.Store(false) }
	f.stores["x"].onOpen = func(string) { // while the object is read back
		once.Do(func() {
			upload.Go(func() {
				f.upload("other", "b.jpg", "source")
			})
			<-stored
		})
	}
	f.expired(img, future(), 0, "changed meanwhile")
	upload.Wait()
}
