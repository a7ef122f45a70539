package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/blobcache"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/recall"
	"safelight/internal/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hooked is a real store that calls functions before it opens and before it
// commits.
type hooked struct {
	blob.Store
	onOpen, onCommit func(name string)
}

func (h *hooked) Open(ctx context.Context, name string) (blob.Reader, error) {
	if h.onOpen != nil {
		h.onOpen(name)
	}
	return h.Store.Open(ctx, name)
}

func (h *hooked) Create(ctx context.Context) (blob.Writer, error) {
	w, err := h.Store.Create(ctx)
	return &hookedWriter{w, h}, err
}

type hookedWriter struct {
	blob.Writer
	store *hooked
}

func (w *hookedWriter) Commit(ctx context.Context, name string) error {
	if w.store.onCommit != nil {
		w.store.onCommit(name)
	}
	return w.Writer.Commit(ctx, name)
}

type fixture struct {
	*Service
	t       *testing.T
	db      *sqlite.DB
	home    *blob.Home
	kept    *blobcache.Cache
	keptDir string
	stores  map[string]*hooked
	dirs    map[string]string
	homeDir string

	between, after func() // in upload: of its two commits, and after the second
}

func openStore(t *testing.T, dir string) *diskblob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newFixture makes a service with two destinations, x and y, of which the first
// has the template.
func newFixture(t *testing.T, layout string) *fixture {
	t.Helper()
	f := &fixture{t: t, homeDir: t.TempDir(), stores: map[string]*hooked{}, dirs: map[string]string{}}
	var err error
	if f.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "x.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	f.keptDir = t.TempDir()
	if f.kept, err = blobcache.Open(blobcache.Config{Dir: f.keptDir, MaxBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.kept.Close() })
	f.home = blob.NewHome(openStore(t, f.homeDir))
	config, stores := DefaultConfig(), map[string]blob.Store{}
	for _, name := range []string{"x", "y"} {
		dir := t.TempDir()
		f.dirs[name], f.stores[name] = dir, &hooked{Store: openStore(t, dir)}
		stores[name] = f.stores[name]
		config.Destinations[name] = Destination{URL: "file://" + dir, Name: layout}
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if f.Service, err = New(config, stores, f.home, f.db, log); err != nil {
		t.Fatal(err)
	}
	f.home.Recall = recall.New(f.kept, f.db, f.Fetch).Open
	return f
}

// write puts bytes into the home store.
func (f *fixture) write(named func(string) string, data string) asset.Digest {
	f.t.Helper()
	digest := asset.Digest(sha256.Sum256([]byte(data)))
	w, err := f.home.Create(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.WriteString(w, data); err != nil {
		f.t.Fatal(err)
	}
	if err := w.Commit(f.t.Context(), named(digest.String())); err != nil {
		f.t.Fatal(err)
	}
	return digest
}

// upload stores an image as ingest does.
func (f *fixture) upload(owner, key, data string) asset.Image {
	f.t.Helper()
	digest := asset.Digest(sha256.Sum256([]byte(data)))
	name := blob.SourceName(digest.String())
	defer f.home.Keep(name)()
	f.write(blob.SourceName, data)
	if f.between != nil {
		f.between()
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	img := asset.Image{
		ID: mint.New(now), Owner: owner, Name: key, Created: now,
		Source: asset.Source{Digest: digest, Bytes: int64(len(data)), Header: format.Header{Format: format.JPEG, Width: 1, Height: 1, Pages: 1, Orientation: 1}},
	}
	stored, err := f.db.Commit(f.t.Context(), catalog.Change{Images: []catalog.NewImage{{Image: img, Keys: []string{key}}}})
	if err != nil {
		f.t.Fatal(err)
	}
	if f.after != nil {
		f.after()
	}
	if _, err := f.home.Stat(f.t.Context(), name); err != nil {
		f.t.Fatalf("the bytes of an upload went while it was stored: %v", err)
	}
	return stored[0].Image
}

// render keeps a rendition as the preset's task does.
func (f *fixture) render(img asset.Image, preset string, form format.Format, data string) catalog.Rendition {
	f.t.Helper()
	digest := asset.Digest(sha256.Sum256([]byte(data)))
	defer f.home.Keep(blob.RenditionName(digest.String()))()
	f.write(blob.RenditionName, data)
	r := catalog.Rendition{Image: img.ID, Preset: preset, Rendition: asset.Rendition{
		Source: img.Source.Digest, Options: preset, Format: form, Bytes: int64(len(data)), Digest: digest,
	}}
	if err := f.db.PutRendition(f.t.Context(), img.Owner, r); err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) delete(img asset.Image) {
	f.t.Helper()
	if _, err := f.db.Commit(f.t.Context(), catalog.Change{Deletes: []catalog.Delete{{Owner: img.Owner, ID: img.ID}}}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) publish(img asset.Image, preset, destination string) catalog.Publication {
	f.t.Helper()
	p, err := f.Publish(f.t.Context(), img, preset, destination)
	if err != nil {
		f.t.Fatal(err)
	}
	if p.State != catalog.Confirmed {
		f.t.Fatalf("published as %+v", p)
	}
	return p
}

// object is the file at a destination.
func (f *fixture) object(p catalog.Publication) string {
	return filepath.Join(f.dirs[p.Destination], p.Name)
}

func (f *fixture) wantObject(p catalog.Publication, data string) {
	f.t.Helper()
	got, err := os.ReadFile(f.object(p))
	if err != nil || string(got) != data {
		f.t.Fatalf("%s has %.40q, %v; expected %.40q", p.Name, got, err, data)
	}
}

func (f *fixture) wantNoObjects(destination string) {
	f.t.Helper()
	err := f.stores[destination].List(f.t.Context(), "", func(i blob.Info) error { return errors.New(i.Name + " is there") })
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) rows(img asset.Image) []catalog.Publication {
	f.t.Helper()
	rows, err := f.db.PublicationsOf(f.t.Context(), img.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	return rows
}

func (f *fixture) wantState(img asset.Image, states ...catalog.PublicationState) {
	f.t.Helper()
	rows := f.rows(img)
	if len(rows) != len(states) {
		f.t.Fatalf("there are %d rows, expected %d: %+v", len(rows), len(states), rows)
	}
	for i, p := range rows {
		if p.State != states[i] {
			f.t.Fatalf("row %d is %+v, expected %s", i, p, states[i])
		}
	}
}

// atHome tells whether a digest's bytes lie in the home store.
func (f *fixture) atHome(named func(string) string, d asset.Digest) bool {
	f.t.Helper()
	_, err := f.home.Stat(f.t.Context(), named(d.String()))
	if err != nil && fault.Of(err) != fault.NotFound {
		f.t.Fatal(err)
	}
	return err == nil
}

// wantOpens reads a name of the home store in every way that a Reader has.
func (f *fixture) wantOpens(name, data string) {
	f.t.Helper()
	r, err := f.home.Open(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	filer, ok := r.(blob.Filer)
	if !ok {
		f.t.Fatalf("%T is no Filer", r)
	}
	file, err := filer.File()
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	tail := make([]byte, 1)
	if n, err := r.ReadAt(tail, int64(len(data))); n != 0 || err != io.EOF {
		f.t.Fatalf("there is more after the end: %d, %v", n, err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != data || r.Info().Bytes != int64(len(data)) || r.Info().Name != name {
		f.t.Fatalf("%s gave %.40q, %v, %+v", name, got, err, r.Info())
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		f.t.Fatal(err)
	}
	if again, err := io.ReadAll(r); err != nil || !bytes.Equal(again, got) {
		f.t.Fatalf("after Seek: %.40q, %v", again, err)
	}
	if err := r.Close(); err != nil {
		f.t.Fatal(err)
	}
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		f.t.Fatalf("a second Close gave %v", err)
	}
	if whole, err := io.ReadAll(file); err != nil || string(whole) != data { // it outlives the reader
		f.t.Fatalf("the file has %.40q, %v", whole, err)
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.Of(err) != kind {
		t.Fatalf("got %v (%s), expected %s", err, fault.Of(err), kind)
	}
}

// future is a time before which everything was written.
func future() time.Time { return time.Now().Add(time.Hour) }
