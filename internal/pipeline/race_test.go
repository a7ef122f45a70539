package pipeline

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
)

// Images are uploaded, deleted, rendered, optimised, published, expired and
// swept at the same time. Afterwards everything that lives is whole, and nothing
// is left of the rest.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}, presets: map[string]string{"small": "w=40", "tiny": "w=20&format=png"}})
	f.Deps.Sweep.Grace = -time.Hour // whatever has no row goes at once
	var living []asset.Image
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					for _, dead := range f.settle() {
						t.Error(dead)
					}
				}
			}
		})
	}
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.do(about(Sweep, asset.Image{}, args{})); err != nil {
				t.Error(err)
			}
			found, err := f.db.ImagesAfter(t.Context(), asset.ID{}, 100)
			if err != nil {
				t.Error(err)
			}
			for _, img := range found {
				if _, err := f.Publish.Expire(t.Context(), img, time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 24 {
		img := f.upload(fmt.Sprint("k", i), picture(80, 60, i/2)) // two of each share a source
		if i%3 == 0 {
			f.delete(img)
		} else {
			living = append(living, img)
		}
	}
	close(stop)
	all.Wait()
	f.settled()
	f.must(about(Reconcile, asset.Image{}, args{}))
	f.settled()
	if got := did(f.must(about(Reconcile, asset.Image{}, args{}))); f.waiting(Publish)+f.waiting(Render) != 0 {
		t.Errorf("not all is published: %s", got)
	}
	if n := len(f.objects("x")); n != 3*len(living) {
		t.Errorf("%d objects of %d images are left", n, len(living))
	}
	for _, img := range living {
		for _, preset := range []string{"", "small", "tiny"} {
			name := blob.SourceName(img.Source.Digest.String())
			if preset != "" {
				name = blob.RenditionName(f.row(img, preset).Digest.String())
			}
			r, err := f.Home.Open(t.Context(), name)
			if err != nil {
				t.Errorf("%q is nowhere: %v", preset, err)
				continue
			}
			_ = r.Close()
			if _, err := os.Stat(f.object(img, preset, "x")); err != nil {
				t.Error(err)
			}
		}
		if f.row(img, "small").Encoder == "" {
			t.Error("a preset is not optimised")
		}
	}
}
