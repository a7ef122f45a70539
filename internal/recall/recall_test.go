package recall

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/diskcache"
	"safelight/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// none has no renditions.
type none struct{}

func (none) RenditionsWith(context.Context, asset.Digest) ([]catalog.Rendition, error) {
	return nil, nil
}

type fixture struct {
	t    *testing.T
	home *blob.Home
	dir  string
	disk *diskcache.Cache
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, dir: t.TempDir()}
	store, err := diskblob.Open(diskblob.Config{Dir: f.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f.home = blob.NewHome(store)
	if f.disk, err = diskcache.Open(diskcache.Config{Dir: t.TempDir(), MaxBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.disk.Close() })
	return f
}

func (f *fixture) from(places ...Fetch) *Service {
	s := New(f.home, none{}, f.disk, slog.New(slog.NewTextHandler(f.t.Output(), nil)), places...)
	f.home.Recall = s.Open
	return s
}

// gives is a place that has some bytes and calls them what it is asked for.
func (f *fixture) gives(data string, calls *atomic.Int32) Fetch {
	return func(ctx context.Context, _ string, d asset.Digest) (blob.Writer, int64, error) {
		calls.Add(1)
		return Spool(ctx, f.home, strings.NewReader(data), d)
	}
}

func fails(err error) Fetch {
	return func(context.Context, string, asset.Digest) (blob.Writer, int64, error) { return nil, 0, err }
}

// temps counts the home store's temporary files.
func (f *fixture) temps() int {
	f.t.Helper()
	files, err := os.ReadDir(f.dir + "/tmp/local")
	if err != nil {
		f.t.Fatal(err)
	}
	return len(files) - 1 // and the lock
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
		"the first":             {func(f *fixture) []Fetch { return []Fetch{f.gives("x", &first), f.gives("x", &second)} }, 0, ""},
		"the second":            {func(f *fixture) []Fetch { return []Fetch{fails(absent), f.gives("x", &first)} }, 0, ""},
		"after a failure":       {func(f *fixture) []Fetch { return []Fetch{fails(broken), f.gives("x", &first)} }, 0, ""},
		"after other bytes":     {func(f *fixture) []Fetch { return []Fetch{f.gives("y", &first), f.gives("x", &first)} }, 0, ""},
		"other bytes only":      {func(f *fixture) []Fetch { return []Fetch{f.gives("y", &first), fails(absent)} }, fault.Internal, "damaged"},
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

func TestCached(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var calls atomic.Int32
	f.from(f.gives("x", &calls))
	for range 3 {
		if got, err := read(t.Context(), f.home, nameOf("x")); err != nil || got != "x" {
			t.Fatal(got, err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("fetched %d times", calls.Load())
	}
	if err := f.disk.Purge(t.Context(), asset.Digest(sha256.Sum256([]byte("x")))); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), f.home, nameOf("x")); err != nil || calls.Load() != 2 {
		t.Errorf("fetched %d times, %v", calls.Load(), err)
	}
}

func TestConcurrentRecallsFetchOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var opened atomic.Int32
	gate := make(chan struct{})
	fetch := f.gives("source", &opened)
	s := f.from(func(ctx context.Context, name string, d asset.Digest) (blob.Writer, int64, error) {
		w, n, err := fetch(ctx, name, d)
		<-gate
		return w, n, err
	})
	name := nameOf("source")
	gone, cancel := context.WithCancel(t.Context())
	var wg, left sync.WaitGroup
	left.Go(func() { // the first to come, who goes away
		if _, err := f.home.Open(gone, name); fault.Of(err) != fault.Canceled {
			t.Errorf("a cancelled recall gave %v", err)
		}
	})
	for opened.Load() == 0 {
		runtime.Gosched()
	}
	const readers = 20
	for range readers {
		wg.Go(func() {
			if got, err := read(t.Context(), f.home, name); err != nil || got != "source" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for s.flights.count(name) < readers+1 {
		runtime.Gosched()
	}
	cancel()
	left.Wait()
	close(gate)
	wg.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
	if n := f.temps(); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
}

// count is how many wait for a name.
func (s *flights) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.running[name]; ok {
		return f.members
	}
	return 0
}
