package s3test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Proxy stands in front of a server and counts what is asked of it.
type Proxy struct {
	// Endpoint is the proxy's own.
	Endpoint string

	mu    sync.Mutex
	asked map[string]int // by method and path
}

// Watch puts a proxy before a server until the test ends.
func Watch(t testing.TB, s *Server) *Proxy {
	t.Helper()
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{asked: map[string]int{}}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // which is signed
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.Method+" "+r.URL.Path]++
		p.mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	p.Endpoint = front.URL
	return p
}

// Count is how often objects whose names have a part in them were asked for with
// a method, since the start or Reset.
func (p *Proxy) Count(method, part string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for asked, times := range p.asked {
		if strings.HasPrefix(asked, method+" ") && strings.Contains(asked, part) {
			n += times
		}
	}
	return n
}

// Reset begins counting anew.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.asked)
}
