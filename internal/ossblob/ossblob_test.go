package ossblob_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
	"safelight/internal/ossblob"
)

// liveURL names a bucket of the real service that tests may write to and delete
// from, below a prefix of its URL.
const liveURL = "SAFELIGHT_TEST_OSS_URL"

func open(t *testing.T, url string, c objectblob.Config) *objectblob.Store {
	t.Helper()
	s, err := ossblob.Open(ossblob.Options{URL: url, Config: c, Spool: filepath.Join(t.TempDir(), "spool")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func quick() objectblob.Config {
	c := objectblob.DefaultConfig()
	c.PartBytes, c.Attempts, c.Stall, c.Failures = 5<<20, 2, 2*time.Second, 1000
	return c
}

func (s *service) url(prefix string) string {
	return "oss://" + bucket + "/" + prefix + "?region=" + region + "&path_style=true&endpoint=" + s.URL
}

func setKeys(t *testing.T, id, secret string) {
	t.Setenv("OSS_ACCESS_KEY_ID", id)
	t.Setenv("OSS_ACCESS_KEY_SECRET", secret)
	t.Setenv("OSS_SESSION_TOKEN", token)
}

func TestSuite(t *testing.T) {
	setKeys(t, accessKey, secretKey)
	for _, prefix := range []string{"", "pre/f x"} {
		t.Run(fmt.Sprintf("prefix %q", prefix), func(t *testing.T) {
			var all []*service
			blobtest.Run(t, func(t *testing.T) blob.Store {
				s := newService(t)
				all = append(all, s)
				return open(t, s.url(prefix), quick())
			})
			requests := 0
			for _, s := range all {
				if requests += s.requests; s.refused > 0 {
					t.Errorf("%d requests had a wrong signature", s.refused)
				}
			}
			if requests < 100 {
				t.Errorf("there were %d requests", requests)
			}
		})
	}
}

// TestLive runs the suite on the real service.
func TestLive(t *testing.T) {
	url := os.Getenv(liveURL)
	if url == "" {
		t.Skipf("%s names no bucket that tests may use", liveURL)
	}
	place, query, _ := strings.Cut(url, "?")
	var n atomic.Int64
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := open(t, fmt.Sprintf("%s/safelight-test-%d-%d?%s", strings.TrimSuffix(place, "/"), time.Now().UnixNano(), n.Add(1), query), objectblob.DefaultConfig())
		t.Cleanup(func() {
			ctx := context.Background()
			err := s.List(ctx, "", func(o blob.Info) error {
				_, err := s.Delete(ctx, o.Name, time.Now().Add(time.Hour))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

func put(t *testing.T, s blob.Store, name string, data []byte) error {
	t.Helper()
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	return w.Commit(t.Context(), name)
}

// TestParts sends an object in parts, and with odd characters in its name.
func TestParts(t *testing.T) {
	setKeys(t, accessKey, secretKey)
	service := newService(t)
	s := open(t, service.url("a b/ü+"), quick())
	data, _ := blobtest.Bytes(1, 12<<20)
	const name = "2026/ä ö+&=?#%25'()*~/x.webp"
	if err := put(t, s, name, data); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	var listed []string
	if err := s.List(t.Context(), "2026/ä", func(o blob.Info) error { listed = append(listed, o.Name); return nil }); err != nil || len(listed) != 1 || listed[0] != name {
		t.Errorf("listed %q, %v", listed, err)
	}
	if o, ok := service.objects["a b/ü+/"+name]; !ok || o.header.Get("Content-Type") != "image/webp" {
		t.Errorf("the service has %v", service.objects)
	}
	if len(service.uploads) != 0 || service.next != 1 {
		t.Errorf("%d uploads began, %d are left", service.next, len(service.uploads))
	}
}

func calls(t *testing.T, s blob.Store) map[string]func() error {
	return map[string]func() error{
		"stat":   func() error { _, err := s.Stat(t.Context(), "a"); return err },
		"open":   func() error { _, err := s.Open(t.Context(), "a"); return err },
		"delete": func() error { _, err := s.Delete(t.Context(), "a", time.Now().Add(time.Hour)); return err },
		"list":   func() error { return s.List(t.Context(), "", func(blob.Info) error { return nil }) },
		"commit": func() error { return put(t, s, "a", []byte("x")) },
	}
}

func TestFailures(t *testing.T) {
	setKeys(t, accessKey, secretKey)
	service := newService(t)
	c := quick()
	c.Stall, c.AwayAfter = 300*time.Millisecond, time.Hour
	s := open(t, service.url(""), c)
	answering := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool { refuse(w, status, code, ""); return true }
	}
	stop := make(chan struct{})
	defer close(stop)
	for what, c := range map[string]struct {
		before func(http.ResponseWriter, *http.Request) bool
		kind   fault.Kind
	}{
		"throttled": {answering(503, "ServiceUnavailable"), fault.Unavailable}, "denied": {answering(403, "AccessDenied"), fault.Unavailable},
		"no bucket": {answering(404, "NoSuchBucket"), fault.Unavailable}, "full": {answering(507, "InsufficientStorage"), fault.OutOfSpace},
		"refused": {answering(400, "InvalidArgument"), fault.Internal}, "no sense": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true }, fault.Unavailable},
		"cut":    {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, fault.Unavailable},
		"silent": {func(_ http.ResponseWriter, r *http.Request) bool { waitFor(r, stop); return true }, fault.Unavailable},
	} {
		service.mu.Lock()
		service.before = c.before
		service.mu.Unlock()
		for call, do := range calls(t, s) {
			start := time.Now()
			err := do()
			if err == nil || fault.Of(err) != c.kind {
				t.Errorf("%s: %s: %v (%v); want %v", what, call, err, fault.Of(err), c.kind)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("%s: %s took %v", what, call, took)
			}
		}
	}
}

func waitFor(r *http.Request, stop chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-stop:
	}
}

// What arrives with other bytes than were sent is refused, and leaves what was
// there.
func TestDamagedOnTheWay(t *testing.T) {
	setKeys(t, accessKey, secretKey)
	service := newService(t)
	s := open(t, service.url(""), quick())
	if err := put(t, s, "a", []byte("before")); err != nil {
		t.Fatal(err)
	}
	service.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			body, _ := io.ReadAll(r.Body)
			body[len(body)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		return false
	}
	for _, size := range []int{1000, 11 << 20} {
		data, _ := blobtest.Bytes(2, size)
		if err := put(t, s, "a", data); err == nil {
			t.Errorf("%d bytes that are damaged were committed", size)
		}
		if got := string(service.objects["a"].data); got != "before" {
			t.Errorf("the object has become %.40q", got)
		}
	}
}

func TestWrongKeys(t *testing.T) {
	service := newService(t)
	for _, keys := range [][2]string{{accessKey, "wrong-secret"}, {"nobody", secretKey}, {"", ""}} {
		setKeys(t, keys[0], keys[1])
		for call, do := range calls(t, open(t, service.url(""), quick())) {
			err := do()
			if fault.Of(err) != fault.Unavailable || keys[1] != "" && strings.Contains(err.Error(), keys[1]) {
				t.Errorf("%q: %s: %v", keys[0], call, err)
			}
		}
	}
	if len(service.objects) != 0 {
		t.Error("something was stored")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"oss://bucket/a?region=cn-hangzhou": "", "oss://bucket?region=cn-hangzhou&endpoint=https://oss-cn-hangzhou-internal.aliyuncs.com&sse=KMS&kms_key=k": "",
		"oss://bucket/a": "region is missing", "s3://bucket/a?region=x": "oss://", "oss://bucket?region=x&sse=aws:kms": "sse", "oss://bucket?region=x&kms_key=k": "needs sse=KMS",
		"oss://bucket?region=x&access_key=hush": "region, endpoint, path_style, sse, kms_key", "oss://id:hush@bucket?region=x": "environment",
	} {
		err := ossblob.Check(url)
		if says == "" && err != nil || says != "" && (fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v; want %q", url, err, says)
		}
	}
}
