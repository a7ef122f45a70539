package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/memcache"
	"safelight/internal/options"
	"safelight/internal/plan"
)

// fakeCatalog resolves keys and does nothing else.
type fakeCatalog struct {
	catalog.Catalog
	keys map[string]asset.Image
	err  error
}

func (c *fakeCatalog) Resolve(_ context.Context, owner, key string) (asset.Image, error) {
	if c.err != nil {
		return asset.Image{}, c.err
	}
	img, ok := c.keys[owner+"/"+key]
	if !ok {
		return img, fault.New(fault.NotFound, "no such image")
	}
	return img, nil
}

// fakeCodec answers with the job's inputs and so many bytes of padding.
type fakeCodec struct {
	t       *testing.T
	padding int
	begun   chan struct{} // if set, told of each job
	release chan struct{} // if set, waited for
	err     error
	renders atomic.Int32
}

func (c *fakeCodec) Render(ctx context.Context, _ Urgency, job plan.Job, inputs ...*os.File) (*Encoded, error) {
	c.renders.Add(1)
	if c.begun != nil {
		c.begun <- struct{}{}
	}
	if c.release != nil {
		select {
		case <-c.release:
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Canceled, ctx.Err(), "cancelled")
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	f, err := os.Create(filepath.Join(c.t.TempDir(), "result"))
	if err != nil {
		return nil, err
	}
	var n int64
	for _, in := range inputs {
		m, err := io.Copy(f, in)
		if n += m; err != nil {
			return nil, err
		}
	}
	m, err := f.WriteString(job.Save.Format.String() + strings.Repeat(".", c.padding))
	n += int64(m)
	if err == nil {
		_, err = f.WriteString("what is behind the end")
	}
	return &Encoded{Result: plan.Result{Width: 5, Height: 4, Pages: 1}, File: f, Bytes: n}, err
}

type fixture struct {
	*Service
	codec        *fakeCodec
	catalog      *fakeCatalog
	store        *diskblob.Store
	memory, disk *memcache.Cache
}

func newFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	store, err := diskblob.Open(diskblob.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	newCache := func() *memcache.Cache {
		c, err := memcache.New(memcache.Config{MaxBytes: 10 << 20, MaxEntryBytes: 5 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := &fixture{codec: &fakeCodec{t: t}, catalog: &fakeCatalog{keys: make(map[string]asset.Image)}, store: store, memory: newCache(), disk: newCache()}
	f.Service = New(config, blob.NewHome(store), f.catalog, nil, f.memory, f.disk, f.codec, slog.New(slog.NewTextHandler(t.Output(), nil)))
	return f
}

// add stores bytes as the source of an image, which a fake codec can read.
func (f *fixture) add(t *testing.T, data string) asset.Image {
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
	if err := w.Commit(t.Context(), blob.SourceName(digest.String())); err != nil {
		t.Fatal(err)
	}
	header := format.Header{Format: format.JPEG, Width: 400, Height: 300, Pages: 1, Orientation: 1, Bands: 3, BitDepth: 8}
	return asset.Image{Owner: "main", Source: asset.Source{Digest: digest, Bytes: int64(len(data)), Header: header}}
}

func (f *fixture) get(t *testing.T, img asset.Image, query string) (string, asset.Rendition, Status, error) {
	t.Helper()
	o, err := options.Parse(query)
	if err != nil {
		t.Fatal(err)
	}
	e, status, err := f.Rendition(t.Context(), img, o.Normalize(), plan.Accept{})
	if err != nil {
		return "", asset.Rendition{}, 0, err
	}
	return content(t, e), e.Meta, status, nil
}

func content(t *testing.T, e *cache.Entry) string {
	t.Helper()
	data := e.Data
	if e.File != nil {
		data = make([]byte, e.Meta.Bytes)
		if _, err := e.File.ReadAt(data, 0); err != nil {
			t.Error(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if int64(len(data)) != e.Meta.Bytes || sha256.Sum256(data) != e.Meta.Digest {
		t.Errorf("%d bytes are not those of %+v", len(data), e.Meta)
	}
	return string(data)
}

func TestRenditionIsMadeThenKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	img := f.add(t, "source")
	data, meta, status, err := f.get(t, img, "w=100")
	if err != nil || data != "sourcejpeg" || status != Made {
		t.Fatalf("%q, %d, %v", data, status, err)
	}
	if meta.Options != "w=100&format=jpeg" || meta.Format != format.JPEG || meta.Width != 5 || meta.Pages != 1 || meta.Source != img.Source.Digest || meta.Created.IsZero() {
		t.Errorf("%+v", meta)
	}
	if _, _, status, err = f.get(t, img, "w=100&format=jpg"); status != FromMemory || err != nil {
		t.Errorf("again: %d, %v", status, err)
	}
	if err := f.memory.Purge(t.Context(), img.Source.Digest); err != nil {
		t.Fatal(err)
	}
	if _, _, status, err = f.get(t, img, "w=100"); status != FromDisk || err != nil {
		// The fake disk keeps its entries as bytes, so they do not go up.
		t.Errorf("without memory: %d, %v", status, err)
	}
	if n := f.codec.renders.Load(); n != 1 {
		t.Errorf("rendered %d times", n)
	}
	if _, _, status, err = f.get(t, img, "w=101"); status != Made || err != nil {
		t.Errorf("another variant: %d, %v", status, err)
	}
}

func TestSettingsThatAFormatLacksMakeNoVariant(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	img := f.add(t, "source")
	for _, same := range [][]string{
		{"w=9&format=png", "w=9&format=png&q=50", "w=9&format=png&lossless=1"},
		{"w=9&format=jpeg", "w=9&format=jpeg&lossless=1", "w=9"},
		{"w=9&format=gif", "w=9&format=gif&q=3"},
	} {
		before := f.codec.renders.Load()
		for _, query := range same {
			if _, _, _, err := f.get(t, img, query); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.codec.renders.Load() - before; n != 1 {
			t.Errorf("%q were rendered %d times", same, n)
		}
	}
}

func TestRenditionIsMadeOnce(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]int64{"small": 1 << 20, "large": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(c *Config) { c.KeepInCache = keep })
			f.codec.padding, f.codec.begun, f.codec.release = 1000, make(chan struct{}, 1), make(chan struct{})
			img := f.add(t, "source")
			const callers = 20
			var wg sync.WaitGroup
			var made, joined, other atomic.Int32
			for range callers {
				wg.Go(func() {
					data, _, status, err := f.get(t, img, "w=100")
					if err != nil || data != "sourcejpeg"+strings.Repeat(".", 1000) {
						t.Errorf("%.20q, %v", data, err)
					}
					switch status {
					case Made:
						made.Add(1)
					case Joined:
						joined.Add(1)
					default:
						other.Add(1)
					}
				})
			}
			<-f.codec.begun
			close(f.codec.release)
			wg.Wait()
			if f.codec.renders.Load() != 1 || made.Load() != 1 || made.Load()+joined.Load()+other.Load() != callers {
				t.Errorf("rendered %d times: %d made, %d joined, %d cached", f.codec.renders.Load(), made.Load(), joined.Load(), other.Load())
			}
		})
	}
}

func TestLargeRenditionsAreFilesOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *Config) { c.KeepInCache = 10 })
	f.codec.padding = 100
	img := f.add(t, "source")
	e, status, err := f.Rendition(t.Context(), img, options.Options{Width: 9}, plan.Accept{})
	if err != nil || status != Made || e.File == nil || e.Data != nil {
		t.Fatalf("%+v, %d, %v", e, status, err)
	}
	if got := content(t, e); len(got) != len("sourcejpeg")+100 {
		t.Errorf("%q", got)
	}
	if s := f.memory.Stats(); s.Entries != 0 {
		t.Errorf("memory holds %d", s.Entries)
	}
	if s := f.disk.Stats(); s.Entries != 1 {
		t.Errorf("disk holds %d", s.Entries)
	}
	p := newFileProduct(asset.Rendition{Bytes: 3}, tempFile(t, "abcdef"))
	for range 3 { // each has an offset of its own
		e, err := p.entry()
		if err != nil {
			t.Fatal(err)
		}
		var all bytes.Buffer
		if _, err := io.Copy(&all, e.File); err != nil || all.String() != "abcdef" {
			t.Errorf("%q, %v", all.String(), err)
		}
		_ = e.Close()
	}
}

func tempFile(t *testing.T, data string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err == nil {
		_, err = f.WriteString(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDiskEntriesGoUpIntoMemory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	img := f.add(t, "source")
	if _, _, _, err := f.get(t, img, "w=100"); err != nil {
		t.Fatal(err)
	}
	f.Service.disk = fileCache{f.disk, t}
	_ = f.memory.Purge(t.Context(), img.Source.Digest)
	for _, want := range []Status{FromDisk, FromMemory} {
		if data, _, status, err := f.get(t, img, "w=100"); err != nil || status != want || data != "sourcejpeg" {
			t.Errorf("%q, %d, %v; want %d", data, status, err, want)
		}
	}
}

// fileCache hands its entries out as files.
type fileCache struct {
	cache.Cache
	t *testing.T
}

func (c fileCache) Get(ctx context.Context, key cache.Key) (*cache.Entry, bool, error) {
	e, ok, err := c.Cache.Get(ctx, key)
	if ok {
		e = &cache.Entry{Meta: e.Meta, File: tempFile(c.t, string(e.Data)+"footer")}
	}
	return e, ok, err
}

func TestWatermark(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	img, logo, other := f.add(t, "source"), f.add(t, "-logo-"), f.add(t, "-other-")
	f.catalog.keys["main/logo.png"], f.catalog.keys["main/same.png"] = logo, logo
	f.catalog.keys["else/secret.png"] = logo
	data, meta, _, err := f.get(t, img, "watermark=logo.png")
	if err != nil || data != "source-logo-jpeg" || meta.Options != "watermark="+logo.Source.Digest.String()+"&format=jpeg" {
		t.Errorf("%q, %q, %v", data, meta.Options, err)
	}
	if _, _, status, err := f.get(t, img, "watermark=same.png"); status != FromMemory || err != nil {
		t.Errorf("the same watermark by another key: %d, %v", status, err)
	}
	f.catalog.keys["main/logo.png"] = other
	if data, _, _, err := f.get(t, img, "watermark=logo.png"); data != "source-other-jpeg" || err != nil {
		t.Errorf("when the key has moved: %q, %v", data, err)
	}
	for _, key := range []string{"none.png", "secret.png"} {
		if _, _, _, err := f.get(t, img, "watermark="+key); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v; want Invalid", key, err)
		}
	}
	f.catalog.err = fault.New(fault.Unavailable, "the catalog is away")
	if _, _, _, err := f.get(t, img, "watermark=logo.png"); fault.Of(err) != fault.Unavailable {
		t.Errorf("%v; want Unavailable", err)
	}
}

func TestFailuresAreRemembered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    fault.Kind
		renders int32
	}{{fault.Unprocessable, 1}, {fault.Timeout, 1}, {fault.Unavailable, 3}, {fault.Internal, 3}} {
		t.Run(c.kind.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			f.codec.err = fault.New(c.kind, "no")
			img := f.add(t, "source")
			for range 3 {
				if _, _, _, err := f.get(t, img, "w=100"); fault.Of(err) != c.kind {
					t.Errorf("%v", err)
				}
			}
			if n := f.codec.renders.Load(); n != c.renders {
				t.Errorf("rendered %d times; want %d", n, c.renders)
			}
			f.codec.err = nil
			if _, _, _, err := f.get(t, img, "w=101"); err != nil {
				t.Errorf("another variant: %v", err)
			}
		})
	}
}

func TestMissingSource(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	img := f.add(t, "source")
	img.Source.Digest[0] ^= 1
	if _, _, _, err := f.get(t, img, "w=100"); fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), "missing") {
		t.Errorf("%v; want Internal", err)
	}
	if f.codec.renders.Load() != 0 || f.Waiting() != 0 || f.Refused() != 0 {
		t.Error("the codec was asked, or admission was not given back")
	}
}

func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.codec.begun, f.codec.release = make(chan struct{}, 1), make(chan struct{})
	img := f.add(t, "source")
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-f.codec.begun; leave() }()
	if _, _, err := f.Rendition(ctx, img, options.Options{Width: 9}, plan.Accept{}); fault.Of(err) != fault.Canceled {
		t.Errorf("%v; want Canceled", err)
	}
	close(f.codec.release)
	if _, _, status, err := f.get(t, img, "w=9"); err != nil || status != Made && status != FromMemory {
		t.Errorf("afterwards: %d, %v", status, err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"budget": func(c *Config) { c.Budget = 1<<20 - 1 }, "queue": func(c *Config) { c.Queue = 0 }, "wait": func(c *Config) { c.QueueWait = 0 },
		"entry": func(c *Config) { c.KeepInCache = -1 }, "plan": func(c *Config) { c.Plan.MaxFrames = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
