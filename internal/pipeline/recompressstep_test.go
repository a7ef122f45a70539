package pipeline

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
	"safelight/internal/fault"
)

// failing is a real store that breaks off at the n-th call that changes it or
// asks for the smaller form.
type failing struct {
	blob.Store
	left  int    // calls until it fails; each fails from then on
	after bool   // carry the call out before it fails, as when a node dies right after it
	at    string // what failed
}

var errBroken = fault.New(fault.Unavailable, "the store is broken")

func (s *failing) step(what string, do func() error) error {
	if s.left > 0 {
		s.left--
		return do()
	}
	if s.at == "" && s.after {
		_ = do()
	}
	if s.at == "" {
		s.at = what
	}
	return errBroken
}

func (s *failing) Create(ctx context.Context) (w blob.Writer, err error) {
	if err = s.step("create", func() error { return nil }); err != nil {
		return nil, err
	}
	w, err = s.Store.Create(ctx)
	return &failingWriter{w, s}, err
}

func (s *failing) Open(ctx context.Context, name string) (r blob.Reader, err error) {
	if err = s.step("open "+name, func() error { return nil }); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name)
}

func (s *failing) Stat(ctx context.Context, name string) (i blob.Info, err error) {
	err = s.step("stat "+name, func() (err error) { i, err = s.Store.Stat(ctx, name); return err })
	return i, err
}

func (s *failing) Delete(ctx context.Context, name string, unless time.Time) (gone bool, err error) {
	err = s.step("delete "+name, func() (err error) { gone, err = s.Store.Delete(ctx, name, unless); return err })
	return gone, err
}

type failingWriter struct {
	blob.Writer
	store *failing
}

func (w *failingWriter) Commit(ctx context.Context, name string) error {
	return w.store.step("commit "+name, func() error { return w.Writer.Commit(ctx, name) })
}

func (w *failingWriter) File() (*os.File, error) { return w.Writer.(blob.Filer).File() }

// Recompression breaks off at each of its steps, before and after it. The source
// can be had each time, the next attempt comes to an end, and nothing is left
// once the image is deleted.
func TestRecompressBreaksOffAnywhere(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}})
	sound := f.Home.Store
	seen := map[string]bool{}
	for seed := 1; ; seed++ {
		img := f.uploadPhoto("x", seed)
		broken := &failing{Store: sound, left: (seed - 1) / 2, after: seed%2 == 0}
		f.Home.Store = broken
		_, err := f.do(about(Recompress, img, args{}))
		f.Home.Store = sound
		what, _, _ := strings.Cut(broken.at, "/")
		seen[what] = true
		if broken.at == "" {
			if err != nil {
				t.Fatal(err)
			}
			f.wantForms(img, "jxl")
			break
		}
		wantKind(t, err, fault.Unavailable, "broken")
		f.wantSource(img)
		f.must(about(Recompress, img, args{}))
		f.wantForms(img, "jxl")
		f.wantSource(img)
		f.delete(img)
		f.must(about(Sweep, asset.Image{}, args{}))
		f.wantForms(img)
	}
	for _, what := range []string{"create", "open sources", "open recompressed", "commit recompressed", "stat sources", "stat recompressed", "delete sources"} {
		if !seen[what] {
			t.Errorf("it never broke off at %q: %v", what, seen)
		}
	}
}

// meanwhile is a real store that has something done before its n-th call.
type meanwhile struct {
	blob.Store
	left atomic.Int32 // calls until then
	do   func()
	done sync.WaitGroup
}

func (s *meanwhile) step() {
	if s.left.Add(-1) != -1 {
		return
	}
	done := make(chan struct{})
	s.done.Go(func() { defer close(done); s.do() })
	select {
	case <-done:
	case <-time.After(30 * time.Millisecond): // it waits for a lock that is held over the call
	}
}

func (s *meanwhile) Create(ctx context.Context) (blob.Writer, error) {
	s.step()
	w, err := s.Store.Create(ctx)
	return &meanwhileWriter{w, s}, err
}

func (s *meanwhile) Open(ctx context.Context, name string) (blob.Reader, error) {
	s.step()
	return s.Store.Open(ctx, name)
}

func (s *meanwhile) Stat(ctx context.Context, name string) (blob.Info, error) {
	s.step()
	return s.Store.Stat(ctx, name)
}

func (s *meanwhile) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	s.step()
	return s.Store.Delete(ctx, name, unless)
}

type meanwhileWriter struct {
	blob.Writer
	store *meanwhile
}

func (w *meanwhileWriter) Commit(ctx context.Context, name string) error {
	w.store.step()
	return w.Writer.Commit(ctx, name)
}

func (w *meanwhileWriter) File() (*os.File, error) { return w.Writer.(blob.Filer).File() }

// At every step of a recompression, and of what else removes forms of a source,
// something else happens to the same bytes. Whoever has an image has its bytes,
// and nothing stays of the others.
func TestRecompressMeanwhile(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}, destinations: []string{"x"}})
	seed := 0
	sound := f.Home.Store
	sweep := func() { f.must(about(Sweep, asset.Image{}, args{})) }
	recompress := func(img asset.Image) func() {
		return func() {
			if _, err := f.Recompress.Recompress(t.Context(), img.Source, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
		}
	}
	expire := func(img asset.Image) func() {
		return func() {
			if _, err := f.Publish.Expire(t.Context(), img, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
		}
	}
	both := func(img asset.Image) { // leaves both forms
		recompress(img)()
		f.delete(f.uploadPhoto("twin", seed))
		f.wantForms(img, "jpeg", "jxl")
	}
	nothing := func(asset.Image) {}
	type act = func(asset.Image) func()
	swept := func(asset.Image) func() { return sweep }
	uploaded := func(asset.Image) func() { return func() { f.uploadPhoto("again", seed) } }
	deleted := func(img asset.Image) func() { return func() { f.delete(img); sweep() } }
	replaced := func(img asset.Image) func() { return func() { deleted(img)(); uploaded(img)() } }
	again := func(img asset.Image) func() { return func() { uploaded(img)(); recompress(img)() } }
	published := func(img asset.Image) { f.must(about(Publish, img, args{Destination: "x"})) }
	publishedBoth := func(img asset.Image) { published(img); both(img) }
	for name, c := range map[string]struct {
		before     func(asset.Image)
		main, then act
	}{
		"deleted while recompressed":           {nothing, recompress, deleted},
		"deleted, uploaded while recompressed": {nothing, recompress, replaced},
		"uploaded while recompressed":          {nothing, recompress, uploaded},
		"recompressed while recompressed":      {nothing, recompress, recompress},
		"uploaded, swept while proven again":   {both, recompress, func(img asset.Image) func() { return func() { uploaded(img)(); sweep() } }},
		"deleted, uploaded while proven again": {both, recompress, replaced},
		"expired while recompressed":           {published, recompress, expire},
		"expired while proven again":           {publishedBoth, recompress, expire},
		"uploaded while expired":               {publishedBoth, expire, uploaded},
		"recompressed while expired":           {publishedBoth, expire, recompress},
		"uploaded, recompressed while expired": {publishedBoth, expire, again},
		"uploaded, recompressed while swept":   {func(img asset.Image) { both(img); f.delete(img) }, swept, again},
		"recompressed while others are swept":  {both, swept, recompress},
	} {
		for n := 0; ; n++ {
			seed++
			img := f.uploadPhoto("x", seed)
			c.before(img)
			s := &meanwhile{Store: sound, do: c.then(img)}
			s.left.Store(int32(n))
			f.Home.Store = s
			c.main(img)()
			s.done.Wait()
			f.Home.Store = sound
			f.wantWhole(fmt.Sprintf("%s, at call %d", name, n))
			if s.left.Load() >= 0 {
				break
			}
		}
	}
}

// wantWhole checks that every image has its bytes, and that nothing is left once
// all are deleted.
func (f *fixture) wantWhole(when string) {
	f.t.Helper()
	found, err := f.db.ImagesAfter(f.t.Context(), asset.ID{}, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, img := range found {
		f.emptyCaches(img)
		if err := f.readSource(img); err != nil {
			f.t.Fatalf("%s: %s has lost its bytes: %v", when, img.Name, err)
		}
	}
	for _, img := range found {
		f.delete(img)
	}
	f.must(about(Sweep, asset.Image{}, args{}))
	for _, prefix := range []string{blob.SourcePrefix, blob.RecompressedPrefix} {
		err := f.Home.List(f.t.Context(), prefix, func(i blob.Info) error { f.t.Errorf("%s: %s is left", when, i.Name); return nil })
		if err != nil {
			f.t.Error(err)
		}
	}
}

// Everything that may happen to sources of the same bytes at once; an
// acknowledged image never lacks its bytes, and nothing stays of the others.
func TestRecompressAtOnce(t *testing.T) {
	t.Parallel()
	f := recompressing(t, setup{presets: map[string]string{}, destinations: []string{"x"}})
	const pictures = 3
	stop := make(chan struct{})
	var busy, done sync.WaitGroup
	loop := func(do func() error) {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all := func() []asset.Image {
		found, err := f.db.ImagesAfter(t.Context(), asset.ID{}, 1000)
		if err != nil {
			t.Error(err)
		}
		return found
	}
	loop(func() error { _, err := f.do(about(Sweep, asset.Image{}, args{})); return err })
	for range 2 {
		loop(func() error {
			for _, img := range all() {
				if _, err := f.Recompress.Recompress(t.Context(), img.Source, time.Now().Add(time.Hour)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	loop(func() error {
		for _, img := range all() {
			_, err := f.Publish.Publish(t.Context(), img, "", "x")
			if err != nil && fault.Of(err) != fault.NotFound && !f.gone(img) {
				return err
			}
			if _, err := f.Publish.Expire(t.Context(), img, time.Now().Add(time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
	for n := range 3 {
		done.Go(func() {
			for i := range 12 {
				img := f.uploadPhoto("k"+string(rune('a'+n))+string(rune('a'+i)), i%pictures)
				f.emptyCaches(img)
				if err := f.readSource(img); err != nil {
					t.Errorf("an acknowledged image: %v", err)
				}
				if i%4 != 3 {
					f.delete(img)
				}
			}
		})
	}
	done.Wait()
	close(stop)
	busy.Wait()
	f.wantWhole("at the end")
}

func (f *fixture) gone(img asset.Image) bool {
	_, err := f.db.Image(f.t.Context(), img.Owner, img.ID)
	return fault.Of(err) == fault.NotFound
}
