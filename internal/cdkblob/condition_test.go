package cdkblob_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/cdkblob/s3test"
)

// TestNoConditions has a service that does not know If-Match for deletions.
func TestNoConditions(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	server.Bucket("bucket", "")
	at, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(at)
		r.Out.Host = r.In.Host // which is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && r.Header.Get("If-Match") != "" {
			refused.Add(1)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	defer front.Close()
	s := open(t, s3test.URL(front.URL, "bucket", ""), quick())
	put(t, s, "a", []byte("x"))
	if ok, err := s.Delete(t.Context(), "a", time.Now().Add(time.Hour)); !ok || err != nil {
		t.Errorf("Delete gave %v, %v", ok, err)
	}
	if left := server.Objects("bucket"); len(left) != 0 || refused.Load() == 0 {
		t.Errorf("left: %v; %d deletions had a condition", left, refused.Load())
	}
}
