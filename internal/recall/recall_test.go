package recall

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/blobcache"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// none has no renditions.
type none struct{}

func (none) RenditionsWith(context.Context, asset.Digest) ([]catalog.Rendition, error) {
	return nil, nil
}

type fixture struct {
	t     *testing.T
	home  *blob.Home
	dir   string // of the cache
	cache *blobcache.Cache
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, dir: t.TempDir()}
	store, err := diskblob.Open(diskblob.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f.home = blob.NewHome(store)
	if f.cache, err = blobcache.Open(blobcache.Config{Dir: f.dir, MaxBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cache.Close() })
	return f
}

func (f *fixture) from(places ...Fetch) {
	f.home.Recall = New(f.cache, none{}, places...).Open
}

// gives is a place that has some bytes and calls them what it is asked for.
func gives(data string, calls *atomic.Int32) Fetch {
	return func(_ context.Context, _ string, _ asset.Digest, to blob.Landing) error {
		calls.Add(1)
		_, err := io.WriteString(to, data)
		return err
	}
}

// breaks is a place that fails in the middle.
func breaks(data string, err error) Fetch {
	return func(_ context.Context, _ string, _ asset.Digest, to blob.Landing) error {
		_, _ = io.WriteString(to, data)
		return err
	}
}

func fails(err error) Fetch { return breaks("", err) }

// temps counts the cache's temporary files.
func (f *fixture) temps() int {
	f.t.Helper()
	files, err := os.ReadDir(f.dir + "/tmp")
	if err != nil {
		f.t.Fatal(err)
	}
	return len(files)
}

func nameOf(data string) string {
	return blob.SourceName(asset.Digest(sha256.Sum256([]byte(data))).String())
}

func read(ctx context.Context, home *blob.Home, name string) (string, error) {
	r, err := home.Open(ctx, name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

// Places are asked in their order, and none after one that has the bytes.
func TestOrder(t *testing.T) {
	t.Parallel()
	var first, second atomic.Int32
	away := fault.New(fault.Unavailable, "away")
	broken := fault.New(fault.Internal, "broken")
	absent := fault.New(fault.NotFound, "absent")
	for name, c := range map[string]struct {
		places func(f *fixture) []Fetch
		kind   fault.Kind
		words  string // "" is the bytes
	}{
		"the first":             {func(f *fixture) []Fetch { return []Fetch{gives("x", &first), gives("x", &second)} }, 0, ""},
		"the second":            {func(f *fixture) []Fetch { return []Fetch{fails(absent), gives("x", &first)} }, 0, ""},
		"after a failure":       {func(f *fixture) []Fetch { return []Fetch{fails(broken), gives("x", &first)} }, 0, ""},
		"after half of it":      {func(f *fixture) []Fetch { return []Fetch{breaks("x", away), gives("x", &first)} }, 0, ""},
		"after other bytes":     {func(f *fixture) []Fetch { return []Fetch{gives("y", &first), gives("x", &first)} }, 0, ""},
		"other bytes only":      {func(f *fixture) []Fetch { return []Fetch{gives("y", &first), fails(absent)} }, fault.Internal, "damaged"},
		"nobody":                {func(f *fixture) []Fetch { return []Fetch{fails(absent), fails(absent)} }, fault.NotFound, "no such"},
		"no place":              {func(f *fixture) []Fetch { return nil }, fault.NotFound, "no such"},
		"what may pass is said": {func(f *fixture) []Fetch { return []Fetch{fails(broken), fails(away)} }, fault.Unavailable, "away"},
		"one that failed":       {func(f *fixture) []Fetch { return []Fetch{fails(away), fails(absent)} }, fault.Unavailable, "away"},
	} {
		f := newFixture(t)
		f.from(c.places(f)...)
		got, err := read(t.Context(), f.home, nameOf("x"))
		if c.words == "" && (err != nil || got != "x") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if c.words != "" && (err == nil || fault.Of(err) != c.kind || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if n := f.temps(); n != 0 {
			t.Errorf("%s: %d temporary files are left", name, n)
		}
	}
	if second.Load() != 0 {
		t.Error("a second place was asked for what the first had")
	}
}

func TestKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var calls atomic.Int32
	f.from(gives("x", &calls))
	for range 3 {
		if got, err := read(t.Context(), f.home, nameOf("x")); err != nil || got != "x" {
			t.Fatal(got, err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("fetched %d times", calls.Load())
	}
	f.cache.ForgetPlace(Place(sha256.Sum256([]byte("x"))))
	if _, err := read(t.Context(), f.home, nameOf("x")); err != nil || calls.Load() != 2 {
		t.Errorf("fetched %d times, %v", calls.Load(), err)
	}
}

// What can't be read at home now is brought back from elsewhere too, and if that
// fails, the error is that of the home.
func TestHomeAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.home = blob.NewHome(broken{})
	var calls atomic.Int32
	f.from(gives("x", &calls))
	if got, err := read(t.Context(), f.home, nameOf("x")); err != nil || got != "x" {
		t.Fatal(got, err)
	}
	if _, err := read(t.Context(), f.home, nameOf("y")); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "home is away") {
		t.Fatal(err)
	}
}

// broken is a store that can't be reached.
type broken struct{ blob.Store }

func (broken) Open(context.Context, string) (blob.Reader, error) {
	return nil, fault.New(fault.Unavailable, "home is away")
}
