package purge

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/sqlite"
)

// fakeCache notes what is purged.
type fakeCache struct {
	cache.Cache
	purged []asset.Digest
	err    error
}

func (c *fakeCache) Purge(ctx context.Context, source asset.Digest) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.purged = append(c.purged, source)
	return c.err
}

type fixture struct {
	*Service
	db     *sqlite.DB
	store  *diskblob.Store
	caches [2]*fakeCache
	dir    string
}

var mint = asset.NewMint([]byte("0123456789abcdef"))

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), caches: [2]*fakeCache{{}, {}}}
	var err error
	if f.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "x.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	if f.store, err = diskblob.Open(diskblob.Config{Dir: f.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	f.Service = New(Deps{Catalog: f.db, Janitor: f.db, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Caches: []cache.Cache{f.caches[0], f.caches[1]}})
	return f
}

func (f *fixture) write(t *testing.T, data string) asset.Digest {
	t.Helper()
	return f.writeAs(t, blob.SourceName, data)
}

func (f *fixture) writeAs(t *testing.T, named func(string) string, data string) asset.Digest {
	t.Helper()
	w, err := f.store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	digest := asset.Digest(sha256.Sum256([]byte(data)))
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), named(digest.String())); err != nil {
		t.Fatal(err)
	}
	return digest
}

func (f *fixture) add(t *testing.T, owner, key, data string) asset.Image {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	img := asset.Image{
		ID: mint.New(now), Owner: owner, Name: key, Created: now,
		Source: asset.Source{Digest: f.write(t, data), Bytes: int64(len(data)), Header: format.Header{Format: format.JPEG, Width: 1, Height: 1, Pages: 1, Orientation: 1}},
	}
	result, err := f.db.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{{Image: img, Keys: []string{key}}}})
	if err != nil {
		t.Fatal(err)
	}
	return result[0].Image
}

func (f *fixture) stored(t *testing.T, d asset.Digest) bool {
	t.Helper()
	_, err := f.store.Stat(t.Context(), blob.SourceName(d.String()))
	if err != nil && fault.Of(err) != fault.NotFound {
		t.Fatal(err)
	}
	return err == nil
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	img := f.add(t, "main", "a.jpg", "a")
	byKey, byID, other := f.Epochs().Of("main", "a.jpg"), f.Epochs().Of("main", img.ID.String()), f.Epochs().Of("main", "b.jpg")
	keyBefore, idBefore, otherBefore := byKey.Load(), byID.Load(), other.Load()
	if err := f.Delete(t.Context(), "else", img.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("another owner's: %v", err)
	}
	if byID.Load() != idBefore || len(f.caches[0].purged) != 0 {
		t.Error("what was refused had effects")
	}
	if err := f.Delete(t.Context(), "main", img.ID); err != nil {
		t.Fatal(err)
	}
	if byKey.Load() == keyBefore || byID.Load() == idBefore {
		t.Error("prepared answers are still good")
	}
	if other != byKey && other != byID && other.Load() != otherBefore {
		t.Error("another name's answers are not good any more")
	}
	for _, c := range f.caches {
		if !slices.Equal(c.purged, []asset.Digest{img.Source.Digest}) {
			t.Errorf("purged %v", c.purged)
		}
	}
	if _, err := f.db.Image(t.Context(), "main", img.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("the image is still there: %v", err)
	}
	if !f.stored(t, img.Source.Digest) {
		t.Error("the bytes did not wait for the sweep")
	}
	if err := f.Delete(t.Context(), "main", img.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("twice: %v", err)
	}
}

func TestDeleteLeavesRenditionsOfASharedSource(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one, two := f.add(t, "main", "a.jpg", "same"), f.add(t, "else", "a.jpg", "same")
	if err := f.Delete(t.Context(), "main", one.ID); err != nil {
		t.Fatal(err)
	}
	if len(f.caches[0].purged) != 0 {
		t.Errorf("purged %v, which is in use", f.caches[0].purged)
	}
	if err := f.Delete(t.Context(), "else", two.ID); err != nil {
		t.Fatal(err)
	}
	if len(f.caches[0].purged) != 1 {
		t.Errorf("purged %v", f.caches[0].purged)
	}
}

// unsure is a janitor that can't tell.
type unsure struct{ catalog.Janitor }

func (unsure) Used(context.Context, asset.Digest) (bool, error) { return false, errors.New("locked") }

func TestGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	img := asset.Image{ID: mint.New(time.Now()), Owner: "main", Source: asset.Source{Digest: asset.Digest{1}}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the client has left, but the image is gone all the same
	f.caches[0].err = errors.New("broken")
	f.Gone(ctx, img)
	if len(f.caches[0].purged) != 1 || len(f.caches[1].purged) != 1 {
		t.Errorf("purged %v and %v", f.caches[0].purged, f.caches[1].purged)
	}
	f.Janitor = unsure{f.db}
	before := f.Epochs().Of("main", img.ID.String()).Load()
	f.Gone(t.Context(), img)
	if len(f.caches[0].purged) != 1 {
		t.Error("purged what may be in use")
	}
	if f.Epochs().Of("main", img.ID.String()).Load() == before {
		t.Error("prepared answers are still good")
	}
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	e := f.Epochs()
	if again := f.Epochs().Of("main", "a"); again != e.Of("main", "a") {
		t.Error("a name has two counters")
	}
	counters := make(map[any]bool)
	for i := range 1000 {
		counters[e.Of("main", strings.Repeat("x", i))] = true
		counters[e.Of(strings.Repeat("y", i), "a")] = true
	}
	if len(counters) < 1200 {
		t.Errorf("2000 names share %d counters", len(counters))
	}
	before := e.Of("main", "a").Load()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { e.Bump("main", "a") })
	}
	wg.Wait()
	if got := e.Of("main", "a").Load(); got != before+50 {
		t.Errorf("from %d to %d", before, got)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	kept := f.add(t, "main", "kept.jpg", "kept")
	shared, also := f.add(t, "main", "one.jpg", "shared"), f.add(t, "main", "two.jpg", "shared")
	gone := f.add(t, "main", "gone.jpg", "gone")
	orphan := f.write(t, "orphan")
	for _, img := range []asset.Image{gone, also} {
		if err := f.Delete(t.Context(), "main", img.ID); err != nil {
			t.Fatal(err)
		}
	}
	graceful := SweepConfig{Grace: time.Hour, TempAge: time.Hour, ReplayKept: time.Hour}
	if done, err := f.Sweep(t.Context(), blob.NewHome(f.store), graceful); err != nil || done != (Swept{}) {
		t.Fatalf("within the grace time: %+v, %v", done, err)
	}
	// A negative grace time ends in the future: what is new counts as old.
	at := SweepConfig{Grace: -time.Hour, TempAge: time.Hour, ReplayKept: time.Hour}
	done, err := f.Sweep(t.Context(), blob.NewHome(f.store), at)
	if err != nil || done != (Swept{Released: 1, Orphans: 1}) {
		t.Errorf("%+v, %v", done, err)
	}
	for what, want := range map[asset.Digest]bool{kept.Source.Digest: true, shared.Source.Digest: true, gone.Source.Digest: false, orphan: false} {
		if f.stored(t, what) != want {
			t.Errorf("%s: stored is %t", what, !want)
		}
	}
	if done, err := f.Sweep(t.Context(), blob.NewHome(f.store), at); err != nil || done != (Swept{}) {
		t.Errorf("again: %+v, %v", done, err)
	}
}

func TestSweepOfRenditions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	img := f.add(t, "main", "a.jpg", "a")
	kept, orphan := f.writeAs(t, blob.RenditionName, "kept"), f.writeAs(t, blob.RenditionName, "replaced")
	f.writeAs(t, blob.RenditionName, "a") // the same bytes as a source: its row does not count here
	r := catalog.Rendition{Image: img.ID, Preset: "thumb", Rendition: asset.Rendition{Source: img.Source.Digest, Digest: kept, Format: format.JPEG}}
	if err := f.db.PutRendition(t.Context(), "main", r); err != nil {
		t.Fatal(err)
	}
	late := SweepConfig{Grace: -time.Hour, TempAge: time.Hour, ReplayKept: time.Hour}
	if done, err := f.Sweep(t.Context(), blob.NewHome(f.store), SweepConfig{Grace: time.Hour, TempAge: time.Hour, ReplayKept: time.Hour}); err != nil || done != (Swept{}) {
		t.Fatalf("within the grace time: %+v, %v", done, err)
	}
	if done, err := f.Sweep(t.Context(), blob.NewHome(f.store), late); err != nil || done != (Swept{Renditions: 2}) {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := f.store.Stat(t.Context(), blob.RenditionName(kept.String())); err != nil {
		t.Error(err)
	}
	if _, err := f.store.Stat(t.Context(), blob.RenditionName(orphan.String())); fault.Of(err) != fault.NotFound {
		t.Errorf("a replaced rendition: %v", err)
	}
	if !f.stored(t, img.Source.Digest) {
		t.Error("a source was swept as a rendition")
	}
	if err := f.Delete(t.Context(), "main", img.ID); err != nil {
		t.Fatal(err)
	}
	if done, err := f.Sweep(t.Context(), blob.NewHome(f.store), late); err != nil || done != (Swept{Released: 1, Renditions: 1}) {
		t.Fatalf("after the delete: %+v, %v", done, err)
	}
}

func TestSweepInBatches(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	janitor := &fakeJanitor{}
	f.Janitor = janitor
	for i := range sweepBatch + 7 {
		janitor.released = append(janitor.released, asset.Digest{byte(i), byte(i >> 8), 1})
	}
	for i := range 30 {
		f.write(t, strings.Repeat("o", i+1))
	}
	strange := filepath.Join(f.dir, "sources", "ab", "cd", "README")
	if err := os.MkdirAll(filepath.Dir(strange), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strange, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	done, err := f.Sweep(t.Context(), blob.NewHome(f.store), SweepConfig{Grace: -time.Hour, TempAge: time.Hour})
	if err != nil || done.Released != sweepBatch+7 || done.Orphans != 30 || done.Replays != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := os.Stat(strange); err != nil {
		t.Errorf("a file that is not a source: %v", err)
	}
}

// fakeJanitor knows no rows but those that were released.
type fakeJanitor struct {
	catalog.Janitor
	released []asset.Digest
	err      error
}

func (j *fakeJanitor) Released(_ context.Context, _ time.Time, limit int) ([]asset.Digest, error) {
	return slices.Clone(j.released[:min(limit, len(j.released))]), j.err
}

func (j *fakeJanitor) Forget(_ context.Context, source asset.Digest, _ time.Time) (bool, error) {
	j.released = slices.DeleteFunc(j.released, func(d asset.Digest) bool { return d == source })
	return true, j.err
}

func (j *fakeJanitor) Unknown(_ context.Context, sources []asset.Digest) ([]asset.Digest, error) {
	return sources, j.err
}

func (j *fakeJanitor) UnknownRenditions(_ context.Context, digests []asset.Digest) ([]asset.Digest, error) {
	return digests, j.err
}

func (j *fakeJanitor) DropReplays(context.Context, time.Time) (int, error) { return 3, j.err }

func TestSweepFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Janitor = &fakeJanitor{err: fault.New(fault.Unavailable, "locked")}
	if _, err := f.Sweep(t.Context(), blob.NewHome(f.store), DefaultSweepConfig()); fault.Of(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}
