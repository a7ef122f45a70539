package cdkblob_test

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/fault"
	"safelight/internal/faultproxy"
	"safelight/internal/objectblob"
)

// TestSilentService: a service to which connections stand still, or are reset.
// Calls and readers that are under way end soon, later ones at once, and nothing
// needs mending afterwards.
func TestSilentService(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	server.Bucket("bucket", "")
	proxy := faultproxy.Start(t, strings.TrimPrefix(server.Endpoint, "http://"))
	s := open(t, s3test.URL("http://"+proxy.Addr(), "bucket", ""), objectblob.DefaultConfig())
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	put(t, s, "large", large)
	put(t, s, "a", []byte("x"))
	for _, f := range []faultproxy.Fault{faultproxy.Silence, faultproxy.Refuse, faultproxy.Silence} {
		r, err := s.Open(t.Context(), "large") // under way
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, 100_000); err != nil {
			t.Fatal(err)
		}
		proxy.Set(f)
		all := calls(t, s)
		all["read"] = func() error { _, err := io.Copy(io.Discard, r); return err }
		for round := range 2 {
			var wg sync.WaitGroup
			for what, call := range all {
				wg.Go(func() {
					begin := time.Now()
					err := call()
					took := time.Since(begin)
					if fault.Of(err) != fault.Unavailable || took > 10*time.Second {
						t.Errorf("fault %d: %s ended after %v with %v", f, what, took, err)
					}
					t.Logf("fault %d, round %d: %s took %v", f, round, what, took)
				})
			}
			wg.Wait()
		}
		_ = r.Close()
		proxy.Set(faultproxy.None)
		begin := time.Now()
		again := calls(t, s)
		delete(again, "delete") // which is no error only where nothing can be said
		for what, call := range again {
			for err := call(); err != nil; err = call() {
				if time.Since(begin) > time.Minute {
					t.Fatalf("fault %d: %s fails long after it: %v", f, what, err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		t.Logf("fault %d: all works again after %v", f, time.Since(begin))
		if got := get(t, s, "a"); string(got) != "x" {
			t.Errorf("an object has become %q", got)
		}
	}
}

// TestSlowService: bytes that come slowly are bytes.
func TestSlowService(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	server.Bucket("bucket", "")
	proxy := faultproxy.Start(t, strings.TrimPrefix(server.Endpoint, "http://"))
	c := objectblob.DefaultConfig()
	c.AwayAfter = 300 * time.Millisecond
	var s blob.Store = open(t, s3test.URL("http://"+proxy.Addr(), "bucket", ""), c)
	put(t, s, "a", make([]byte, 1<<20))
	proxy.Delay(60 * time.Millisecond) // of each 32 KiB
	begin := time.Now()
	if got := get(t, s, "a"); len(got) != 1<<20 {
		t.Errorf("%d bytes came", len(got))
	}
	if took := time.Since(begin); took < 2*c.AwayAfter {
		t.Errorf("it took only %v, which shows nothing", took)
	}
}
