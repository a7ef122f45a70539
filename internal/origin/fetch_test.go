package origin

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/remote"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	var seen http.Header
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Last-Modified", "Sat, 01 Nov 2025 00:00:00 GMT")
		_, _ = w.Write([]byte(r.Host + " " + r.URL.RequestURI()))
	}, nil)
	b.resolve("pictures.example", []string{home})
	fetched, err := b.Fetch(t.Context(), "http://Pictures.example:"+b.port+"/a%2Fb.jpg?c=d&e#f", remote.Validators{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(fetched.Body)
	if want := "pictures.example:" + b.port + " /a%2Fb.jpg?c=d&e"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	_, _ = fetched.Body.Close(), fetched.Body.Close()
	if fetched.Validators != (remote.Validators{ETag: `"v1"`, LastModified: "Sat, 01 Nov 2025 00:00:00 GMT"}) {
		t.Errorf("validators %+v", fetched.Validators)
	}
	if seen.Get("User-Agent") != "Safelight/test" || seen.Get("Accept") != "image/*" || seen.Get("Accept-Encoding") != "identity" || len(seen) != 4 {
		t.Errorf("the request had %v", seen)
	}
	if b.count.outcomes["fetched"] != 1 || b.count.bytes != int64(len(got)) || b.strangers() != 1 {
		t.Errorf("counted %v, %d bytes", b.count.outcomes, b.count.bytes)
	}
}

func TestProxyOfEnvironmentIsIgnored(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
	t.Setenv("ALL_PROXY", "http://127.0.0.1:9")
	b := newBed(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }, nil)
	if got, err := b.get(b.url); err != nil || string(got) != "x" || b.strangers() != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRevalidation(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"v1"` && r.Header.Get("If-Modified-Since") == "then" || r.URL.Path == "/always" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte("new"))
	}, nil)
	same, err := b.Fetch(t.Context(), b.url, remote.Validators{ETag: `"v1"`, LastModified: "then"})
	if err != nil || !same.Unchanged {
		t.Fatalf("%+v, %v", same, err)
	}
	if got, err := io.ReadAll(same.Body); len(got) != 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	other, err := b.Fetch(t.Context(), b.url, remote.Validators{ETag: `"v0"`})
	if err != nil || other.Unchanged {
		t.Fatalf("%+v, %v", other, err)
	}
	other.Body.Close()
	if _, err := b.Fetch(t.Context(), b.url+"/always", remote.Validators{}); fault.Of(err) != fault.Upstream {
		t.Errorf("a 304 that nobody asked for: %v", err)
	}
	if b.count.outcomes["unchanged"] != 1 || len(b.turns) != 0 {
		t.Errorf("counted %v; %d turns are held", b.count.outcomes, len(b.turns))
	}
}

// TestAnswers lists what origins do wrong, and what becomes of it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(make([]byte, 8<<20))
	_ = z.Close()
	raw := func(w http.ResponseWriter, text string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
	forever := func(w io.Writer) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	status := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(n)
			_, _ = io.WriteString(w, "secret of the inside")
		}
	}
	tests := []struct {
		name string
		h    http.HandlerFunc
		want fault.Kind
		code string
	}{
		{"404", status(404), fault.Upstream, remote.Gone},
		{"410", status(410), fault.Upstream, remote.Gone},
		{"500", status(500), fault.Upstream, ""},
		{"503", status(503), fault.Upstream, ""},
		{"401", status(401), fault.Upstream, ""},
		{"204", status(204), fault.Upstream, ""},
		{"206", status(206), fault.Upstream, ""},
		{"300", status(300), fault.Upstream, ""},
		{"gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped.Bytes())
		}, fault.Upstream, ""},
		{"identity and br", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Encoding"] = []string{"identity", "br"}
			_, _ = io.WriteString(w, "x")
		}, fault.Upstream, ""},
		{"endless", func(w http.ResponseWriter, _ *http.Request) { forever(w) }, fault.TooLarge, "limit-exceeded"},
		{"Content-Length over the limit", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(1<<20+1))
			forever(w)
		}, fault.TooLarge, "limit-exceeded"},
		{"body longer than the limit says nothing of it", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.0 200 OK\r\n\r\n"+strings.Repeat("x", 1<<20+1))
		}, fault.TooLarge, "limit-exceeded"},
		{"body shorter than Content-Length", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
		}, fault.Upstream, ""},
		{"chunks break off", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
		}, fault.Upstream, ""},
		{"two lengths", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort!")
		}, fault.Upstream, ""},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) { raw(w, "SSH-2.0-x\r\n") }, fault.Upstream, ""},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) { raw(w, "") }, fault.Upstream, ""},
		{"huge header", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 70<<10)+"\r\n\r\n")
		}, fault.Upstream, ""},
		{"many headers", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Y: z\r\n", 20_000)+"\r\n")
		}, fault.Upstream, ""},
		{"endless early hints", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 10_000))
		}, fault.Upstream, ""},
		{"switching protocols", func(w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxxxx")
		}, fault.Upstream, ""},
		{"redirect without Location", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, fault.Upstream, ""},
		{"redirect to itself", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, fault.Upstream, ""},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(302)
		}, fault.Denied, "redirect-refused"},
		{"redirect with a password", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://u:p@"+r.Host+"/")
			w.WriteHeader(302)
		}, fault.Denied, "redirect-refused"},
		{"redirect to another port", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://"+home+":22/")
			w.WriteHeader(307)
		}, fault.Denied, "redirect-refused"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, c.h, nil)
			got, err := b.get(b.url + "/x")
			e := fault.As(err)
			if fault.Of(err) != c.want || e.Code != c.code || len(got) > 1<<20 {
				t.Fatalf("%d bytes, %v (%s); want %s %s", len(got), err, fault.Of(err), c.want, c.code)
			}
			if strings.Contains(e.Message, home) || strings.Contains(e.Message, "secret") {
				t.Errorf("the message tells of the inside: %s", e.Message)
			}
			b.strangers()
			if b.count.outcomes[c.want.String()] != 1 || len(b.turns) != 0 {
				t.Errorf("counted %v; %d turns are held", b.count.outcomes, len(b.turns))
			}
		})
	}
}

func TestLimitIsInclusive(t *testing.T) {
	t.Parallel()
	for _, extra := range []int{0, 1} {
		b := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush() // no Content-Length
			_, _ = w.Write(make([]byte, 1<<20+extra))
		}, nil)
		got, err := b.get(b.url)
		if extra == 0 && (err != nil || len(got) != 1<<20) || extra == 1 && fault.Of(err) != fault.TooLarge {
			t.Errorf("%d more: %d bytes, %v", extra, len(got), err)
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		if n == 0 {
			_, _ = io.WriteString(w, "here")
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/%d", n-1), []int{301, 302, 303, 307, 308}[n%5])
	}, nil)
	for n, want := range map[int]fault.Kind{0: 0, 1: 0, 3: 0, 4: fault.Upstream, 100: fault.Upstream} {
		got, err := b.get(fmt.Sprintf("%s/%d", b.url, n))
		if fault.Of(err) != want || want == 0 && (err != nil || string(got) != "here") {
			t.Errorf("%d redirects: %q, %v", n, got, err)
		}
		if dials := b.strangers(); dials != min(n, 3)+1 {
			t.Errorf("%d redirects: %d dials", n, dials)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect from https to http was followed") }, nil)
	ln, err := net.Listen("tcp", home+":0")
	if err != nil {
		t.Fatal(err)
	}
	secure := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, b.url, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "secure")
	})}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	n, _ := strconv.Atoi(port)
	b.guard.ports = append(b.guard.ports, n)
	b.resolve("example.com", []string{home}) // the name in httptest's certificate
	b.resolve("other.example", []string{home})
	u := "https://example.com:" + port
	if _, err := b.get(u); fault.Of(err) != fault.Upstream {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	b.http.TLSClientConfig.RootCAs = roots
	if got, err := b.get(u); err != nil || string(got) != "secure" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.get("https://other.example:" + port); fault.Of(err) != fault.Upstream {
		t.Errorf("a certificate for another name: %v", err)
	}
	if _, err := b.get(u + "/down"); fault.Of(err) != fault.Denied {
		t.Errorf("from https to http: %v", err)
	}
}

// TestSlow: each of the clocks ends a fetch by itself.
func TestSlow(t *testing.T) {
	t.Parallel()
	long, short := 30*time.Second, 50*time.Millisecond
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	half := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 1000))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	tests := []struct {
		name   string
		h      http.HandlerFunc
		change func(*Config)
		part   string
	}{
		{"no header", hang, func(c *Config) { c.FirstByte = short }, "did not answer in time"},
		{"no header in all", hang, func(c *Config) { c.Timeout = short }, "remote.timeout"},
		{"stalled body", half, func(c *Config) { c.Stall = short }, "remote.stall"},
		{"stalled body in all", half, func(c *Config) { c.Timeout = 4 * short }, "remote.timeout"},
		{"dripping body", drip, func(c *Config) { c.Timeout = 4 * short }, "remote.timeout"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, c.h, func(config *Config) {
				config.Timeout, config.FirstByte, config.Stall = long, long, long
				c.change(config)
			})
			start := time.Now()
			_, err := b.get(b.url)
			if fault.Of(err) != fault.Timeout || !strings.Contains(err.Error(), c.part) || time.Since(start) > long/2 {
				t.Errorf("%v after %s; want a timeout with %q", err, time.Since(start), c.part)
			}
			if b.count.outcomes["timeout"] != 1 {
				t.Errorf("counted %v", b.count.outcomes)
			}
		})
	}
}

// TestSlowReader: what takes long on our side is no stall of the origin.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, func(c *Config) { c.Stall = 100 * time.Millisecond })
	fetched, err := b.Fetch(t.Context(), b.url, remote.Validators{})
	if err != nil {
		t.Fatal(err)
	}
	defer fetched.Body.Close()
	if _, err := io.ReadFull(fetched.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // three stalls long
	if n, err := io.Copy(io.Discard, fetched.Body); err != nil || n != 1<<20-10 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := newBed(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}, nil)
	if _, err := b.getContext(ctx, b.url); fault.Of(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	arrived, leave := make(chan struct{}, 100), make(chan struct{})
	b := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-leave
		_, _ = io.WriteString(w, "x")
	}, func(c *Config) { c.Concurrency = 2 })
	const all = 2 + 2*waitingFactor
	results := make(chan error, all)
	for range all {
		go func() {
			_, err := b.get(b.url)
			results <- err
		}()
	}
	<-arrived
	<-arrived
	for b.waiting.Load() < 2*waitingFactor {
		time.Sleep(time.Millisecond) // until all are in their places
	}
	if _, err := b.get(b.url); fault.Of(err) != fault.Unavailable {
		t.Errorf("one more than may wait: %v", err)
	}
	if len(arrived) != 0 {
		t.Errorf("%d more than two are under way", len(arrived))
	}
	close(leave)
	for range all {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if len(b.turns) != 0 || b.waiting.Load() != 0 {
		t.Errorf("%d turns are held, %d wait", len(b.turns), b.waiting.Load())
	}
}
