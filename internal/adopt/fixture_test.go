package adopt

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/app"
	"safelight/internal/client"
	"safelight/internal/codec/worker"
	"safelight/internal/config"
)

// The test binary is its own codec process.
func TestMain(m *testing.M) {
	if os.Getenv("SAFELIGHT_CODEC_CHILD") != "" {
		os.Exit(worker.Main())
	}
	os.Exit(m.Run())
}

// bed is a running server, with something before it that counts what is sent and
// may lose answers.
type bed struct {
	client *client.Client
	puts   atomic.Int32
	tries  sync.Map    // of PUTs, by path: *atomic.Int32
	down   atomic.Bool // nobody answers
	// turnedAway is told of requests that nobody answers.
	turnedAway atomic.Pointer[chan struct{}]
	// meddle is called for each PUT, the nth of its path: without answer, that
	// gets lost. nil is no meddling.
	meddle atomic.Pointer[func(n int32, w http.ResponseWriter) (forward, answer bool)]
}

func serve(t *testing.T) *bed {
	t.Helper()
	cfg, err := config.Load("", nil)
	check(t, err)
	cfg.Listen, cfg.Data = "127.0.0.1:0", t.TempDir()
	cfg.Codec.Processes = 1
	a, err := app.Open(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	at := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, func(addr net.Addr) { at <- addr.String() }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		check(t, a.Close())
	})
	b := &bed{}
	target := &url.URL{Scheme: "http", Host: <-at}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = target.Host
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.down.Load() {
			if asked := b.turnedAway.Load(); asked != nil {
				*asked <- struct{}{}
			}
			panic(http.ErrAbortHandler)
		}
		if r.Method != http.MethodPut {
			proxy.ServeHTTP(w, r)
			return
		}
		b.puts.Add(1)
		tries, _ := b.tries.LoadOrStore(r.URL.Path, new(atomic.Int32))
		n := tries.(*atomic.Int32).Add(1)
		forward, answer := true, true
		if m := b.meddle.Load(); m != nil {
			forward, answer = (*m)(n, w)
		}
		switch {
		case forward && answer:
			proxy.ServeHTTP(w, r)
		case forward:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(front.Close)
	b.client, err = client.New(front.URL, "")
	check(t, err)
	return b
}

func (b *bed) meddling(fn func(n int32, w http.ResponseWriter) (forward, answer bool)) {
	b.meddle.Store(&fn)
}

// images are the keys and digests that the server has.
func (b *bed) images(t *testing.T) map[string]string {
	t.Helper()
	keys := map[string]string{}
	check(t, b.client.Images(t.Context(), "", func(img client.Image) error { keys[img.Key] = img.SHA256; return nil }))
	return keys
}

// shown gathers results.
type shown struct {
	mu    sync.Mutex
	all   map[string]Result
	sum   Summary
	files int
	each  func(Result) // nil is none
}

func (s *shown) Listed(files int, _ int64) { s.files = files }

func (s *shown) Done(r Result) error {
	s.mu.Lock()
	if s.all == nil {
		s.all = map[string]Result{}
	}
	s.all[r.File] = r
	s.sum.Add(r)
	s.mu.Unlock()
	if s.each != nil {
		s.each(r)
	}
	return nil
}

// adopt makes an adoption of a directory.
func (b *bed) adopt(t *testing.T, dir string, c Config, show Show) *Adoption {
	t.Helper()
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	c.Pause = time.Millisecond
	a, err := New(t.Context(), c, dir, b.client, show)
	check(t, err)
	t.Cleanup(func() { check(t, a.Close()) })
	return a
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// picture is a small JPEG, a different one for each n.
func picture(n int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		img.Set(i%16, i/16, color.RGBA{uint8(n), uint8(n >> 8), uint8(i), 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// old is when files of tests were changed: long enough ago.
var old = time.Now().Add(-time.Hour)

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, content, 0o644))
	check(t, os.Chtimes(path, old, old))
}

func pictures(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		write(t, dir, fmt.Sprintf("%d/%d.jpg", i%3, i), picture(i))
	}
}
