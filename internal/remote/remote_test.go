package remote_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/ingest"
	"safelight/internal/origin"
	"safelight/internal/purge"
	"safelight/internal/remote"
	"safelight/internal/sqlite"
)

func picture(shade uint8) []byte {
	img := image.NewGray(image.Rect(0, 0, 8, 6))
	img.SetGray(1, 1, color.Gray{Y: shade})
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

type uncounted struct{}

func (uncounted) Fetch(string, int64, time.Duration) {}

// fixture is a service over a real store, catalog and fetcher, and an origin
// whose handler a test may change.
type fixture struct {
	*remote.Service
	t       *testing.T
	db      *sqlite.DB
	url     string
	handler atomic.Pointer[http.HandlerFunc]
	asked   atomic.Int64
	offset  atomic.Int64 // of the clock
	config  remote.Config
	catalog catalog.Catalog // of what build makes
	build   func() *remote.Service
}

func newFixture(t *testing.T, handler http.HandlerFunc) *fixture {
	t.Helper()
	f := &fixture{t: t, config: remote.DefaultConfig()}
	f.handler.Store(&handler)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		(*f.handler.Load())(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL + "/pictures/a.png"
	u, _ := url.Parse(server.URL)
	port, _ := strconv.Atoi(u.Port())
	var err error
	if f.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "x.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	store, err := diskblob.Open(diskblob.Config{Dir: t.TempDir(), Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	oc := origin.DefaultConfig()
	oc.Hosts, oc.Ports, oc.AllowPrivate = []string{"127.0.0.1"}, []int{port}, []string{"127.0.0.0/8"}
	fetcher, err := origin.New(oc, 1<<20, "test", uncounted{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	ic := ingest.DefaultConfig()
	ic.Verify, ic.ReserveBytes = ingest.VerifyHeader, 0
	intake := ingest.New(ic, blob.NewHome(store), f.db, nil, asset.NewMint([]byte("0123456789abcdef")), nil)
	gone := purge.New(purge.Deps{Catalog: f.db, Janitor: f.db, Log: log})
	f.catalog = f.db
	f.build = func() *remote.Service {
		s := remote.New(f.config, remote.Deps{Origin: fetcher, Ingest: intake, Purge: gone, Catalog: f.catalog, Log: log})
		s.SetClock(func() time.Time { return time.Now().Add(time.Duration(f.offset.Load())) })
		return s
	}
	f.Service = f.build()
	return f
}

func (f *fixture) serve(h http.HandlerFunc)   { f.handler.Store(&h) }
func (f *fixture) pass(d time.Duration)       { f.offset.Add(int64(d)) }
func (f *fixture) show() (asset.Image, error) { return f.Image(f.t.Context(), "main", f.clean()) }

func (f *fixture) clean() string {
	clean, key, err := f.Name(f.url)
	if err != nil || key != remote.Key(clean) {
		f.t.Fatalf("%q, %q, %v", clean, key, err)
	}
	return clean
}

// expect fails unless the origin was asked n times since the last call.
func (f *fixture) expect(n int64, what string) {
	f.t.Helper()
	if got := f.asked.Swap(0); got != n {
		f.t.Errorf("%s: the origin was asked %d times; want %d", what, got, n)
	}
}

func (f *fixture) must() asset.Image {
	f.t.Helper()
	img, err := f.show()
	if err != nil {
		f.t.Fatal(err)
	}
	return img
}

func with(body []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("Etag", etag)
			if r.Header.Get("If-None-Match") == etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		_, _ = w.Write(body)
	}
}

func failing(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func TestImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), `"1"`))
	img := f.must()
	if img.Key != remote.Key(f.clean()) || img.Name != "a.png" || img.Owner != "main" || img.Source.Bytes != int64(len(picture(1))) {
		t.Errorf("%+v", img)
	}
	if again := f.must(); again.ID != img.ID {
		t.Error("stored twice")
	}
	f.expect(1, "while it is fresh")
	if got, err := f.Image(t.Context(), "other", f.clean()); err != nil || got.ID == img.ID {
		t.Errorf("another owner got %v, %v", got.ID, err)
	}
	f.expect(1, "for another owner")
}

func TestRevalidation(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), `"1"`))
	first := f.must()
	f.expect(1, "at first")
	for range 3 {
		f.pass(25 * time.Hour)
		for range 2 {
			if f.must().ID != first.ID {
				t.Error("what is unchanged was stored anew")
			}
		}
		f.expect(1, "after the ttl")
	}
	f.serve(with(picture(2), `"2"`))
	f.pass(25 * time.Hour)
	second := f.must()
	if second.ID == first.ID || second.Source.Digest == first.Source.Digest || second.Key != first.Key {
		t.Errorf("what has changed was not taken: %+v", second)
	}
	if _, err := f.db.Image(t.Context(), "main", first.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("the image that was replaced: %v", err)
	}
	f.expect(1, "for what has changed")
	f.serve(with(picture(2), ""))
	f.pass(25 * time.Hour)
	if f.must().ID != second.ID {
		t.Error("the same bytes without an entity tag were stored anew")
	}
}

func TestForever(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), ""))
	f.config.TTL = 0
	f.Service = f.build()
	f.must()
	f.pass(10000 * time.Hour)
	f.must()
	f.expect(1, "with ttl 0")
}

// TestRestart: what is remembered only in memory costs one fetch.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), `"1"`))
	first := f.must()
	f.Service = f.build()
	f.must()
	f.expect(1, "after a restart")
	f.pass(25 * time.Hour)
	if f.must().ID != first.ID {
		t.Error("stored anew")
	}
	f.must()
	f.expect(1, "after a restart and the ttl")
}

func TestOneFlight(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	var once sync.Once
	leave := make(chan struct{})
	f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { close(arrived) })
		<-leave
		_, _ = w.Write(picture(1))
	})
	var wg sync.WaitGroup
	ids := make([]asset.ID, 50)
	ask := func(i int) {
		img, err := f.show()
		if err != nil {
			t.Error(err)
		}
		ids[i] = img.ID
	}
	wg.Go(func() { ask(0) })
	<-arrived
	for i := range ids[1:] {
		wg.Go(func() { ask(i + 1) })
	}
	close(leave)
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatal("different images")
		}
	}
	f.expect(1, "by all at once")
}

// pausing is a catalog whose next Resolve pauses before it answers.
type pausing struct {
	catalog.Catalog
	pause chan func()
}

func (p pausing) Resolve(ctx context.Context, owner, key string) (asset.Image, error) {
	img, err := p.Catalog.Resolve(ctx, owner, key)
	select {
	case wait := <-p.pause:
		wait()
	default:
	}
	return img, err
}

// TestLateFlight: who looked before a flight landed, and takes off after it,
// finds what it brought.
func TestLateFlight(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), ""))
	p := pausing{f.db, make(chan func(), 1)}
	f.catalog = p
	f.Service = f.build()
	p.pause <- func() { f.must() } // another request, from beginning to end
	f.must()
	f.expect(1, "by both")
}

func TestStale(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), `"1"`))
	first := f.must()
	f.expect(1, "at first")
	f.pass(25 * time.Hour)
	for i, h := range []http.HandlerFunc{failing(500), failing(403), with([]byte("no picture"), ""), with(nil, "")} {
		f.serve(h)
		for range 3 {
			if got, err := f.show(); err != nil || got.ID != first.ID {
				t.Errorf("failure %d: %v, %v", i, got.ID, err)
			}
		}
		f.expect(1, "while the failure is remembered")
		f.pass(11 * time.Second)
	}
	if f.Stale() != 12 {
		t.Errorf("%d answers count as stale", f.Stale())
	}
	f.serve(with(picture(1), `"1"`))
	f.must()
	f.must()
	f.expect(1, "when the origin is back")

	f.serve(failing(404))
	f.pass(25 * time.Hour)
	if _, err := f.show(); fault.Of(err) != fault.Upstream || fault.As(err).Code != remote.Gone {
		t.Errorf("what the origin has no more: %v", err)
	}
}

// TestStalledOrigin: who asks for what is stored does not wait for long.
func TestStalledOrigin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), ""))
	first := f.must()
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	f.serve(func(http.ResponseWriter, *http.Request) { <-ended })
	f.pass(25 * time.Hour)
	start := time.Now()
	if got, err := f.show(); err != nil || got.ID != first.ID || time.Since(start) > 8*time.Second {
		t.Errorf("%v, %v after %s", got.ID, err, time.Since(start))
	}
}

func TestNegative(t *testing.T) {
	t.Parallel()
	f := newFixture(t, failing(500))
	for range 5 {
		if _, err := f.show(); fault.Of(err) != fault.Upstream {
			t.Error(err)
		}
	}
	f.expect(1, "while the failure is remembered")
	f.pass(11 * time.Second)
	f.serve(with([]byte("<html>"), ""))
	for range 5 {
		if _, err := f.show(); fault.Of(err) != fault.Unsupported {
			t.Error(err)
		}
	}
	f.expect(1, "for what is no picture")
	f.pass(11 * time.Second)
	f.serve(with(picture(1), ""))
	f.must()
	f.expect(1, "when the origin is back")
}

func TestDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), `"1"`))
	first := f.must()
	if _, err := f.db.Commit(t.Context(), catalog.Change{Deletes: []catalog.Delete{{Owner: "main", ID: first.ID}}}); err != nil {
		t.Fatal(err)
	}
	if f.must().ID == first.ID {
		t.Error("the deleted image was shown")
	}
	f.expect(2, "before and after the deletion")
}

func TestHostThatIsOffTheList(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), ""))
	for u, want := range map[string]fault.Kind{"http://127.0.0.2/a": fault.Denied, "http://127.0.0.1:1/": fault.Denied, "file:///a": fault.Invalid, "": fault.Invalid} {
		if _, _, err := f.Name(u); fault.Of(err) != want {
			t.Errorf("%s: %v", u, err)
		}
		if _, err := f.Add(t.Context(), u, ingest.File{Owner: "main"}); fault.Of(err) != want {
			t.Errorf("%s: %v", u, err)
		}
	}
	f.expect(0, "for what may not be fetched")
}

func TestAdd(t *testing.T) {
	t.Parallel()
	f := newFixture(t, with(picture(1), ""))
	got, err := f.Add(t.Context(), f.url, ingest.File{Owner: "main", Prefix: "p", Tags: []string{"x"}, Category: "c"})
	if err != nil || got.Image.Key != "p/a.png" || got.Image.Category != "c" || len(got.Image.Tags) != 1 {
		t.Fatalf("%+v, %v", got.Image, err)
	}
	token := catalog.Replay{Token: "t"}
	one, err := f.Add(t.Context(), f.url, ingest.File{Owner: "main", Key: "k", Rule: catalog.Replace, Replay: token})
	if err != nil {
		t.Fatal(err)
	}
	two, err := f.Add(t.Context(), f.url, ingest.File{Owner: "main", Key: "k", Rule: catalog.Replace, Replay: token})
	if err != nil || two.Image.ID != one.Image.ID || !two.Replayed {
		t.Errorf("repeated: %+v, %v", two, err)
	}
	f.serve(with(picture(2), ""))
	if _, err := f.Add(t.Context(), f.url, ingest.File{Owner: "main", Key: "k", Rule: catalog.Replace, Replay: token}); fault.Of(err) != fault.Unprocessable {
		t.Errorf("repeated with other bytes: %v", err)
	}
	three, err := f.Add(t.Context(), f.url, ingest.File{Owner: "main", Key: "k", Rule: catalog.Replace})
	if err != nil || three.Replaced.ID != one.Image.ID {
		t.Errorf("%+v, %v", three, err)
	}
}
