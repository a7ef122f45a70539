package cdkblob_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

func TestMain(m *testing.M) {
	for _, pair := range append(s3test.Env(), "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null") {
		name, value, _ := strings.Cut(pair, "=")
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// broken is a bucket behind a proxy, and the same bucket without.
type broken struct {
	t             *testing.T
	server        *s3test.Server
	proxy         *proxy
	store, direct *objectblob.Store
}

func newBroken(t *testing.T, change func(*objectblob.Config)) *broken {
	t.Helper()
	b := &broken{t: t, server: s3test.Start(t)}
	b.proxy = newProxy(t, b.server)
	direct := b.server.Bucket("bucket", "")
	c := quick()
	c.Failures, c.AwayAfter = 1000, time.Hour // what breaks here is for the connections to find out
	if change != nil {
		change(&c)
	}
	b.store = open(t, s3test.URL(b.proxy.endpoint(), "bucket", ""), c)
	b.direct = open(t, direct, quick())
	return b
}

func write(t *testing.T, s blob.Store, data []byte) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Abort)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := write(t, s, data).Commit(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s blob.Store, name string) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || fault.Of(err) != fault.Unavailable {
		t.Errorf("%s: got %v (%v); want unavailable", what, err, fault.Of(err))
	}
}

// large goes in parts (from 16 MiB on, whatever the size of parts), small in one
// request.
const large, small = 18 << 20, 2 << 20

func TestUploadBreaksOff(t *testing.T) {
	t.Parallel()
	for what, plan := range map[string]func(int64, net.Conn, net.Conn){
		"cut on the way up": passing(1<<20, -1), "cut before the answer": passing(-1, 0), "cut at once": passing(0, 0),
		"stalled": stalling(1<<20, 100), "slow down": answering("503 Slow Down", slowDown), "500": answering("500 Internal Server Error", ""),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBroken(t, func(c *objectblob.Config) { c.Stall = time.Second })
			for i, size := range []int{small, large} {
				name := fmt.Sprint("a/", size, ".jpg")
				before, _ := blobtest.Bytes(uint64(i), 1000)
				after, _ := blobtest.Bytes(uint64(i+10), size)
				put(t, b.direct, name, before)
				b.proxy.set(plan)
				w := write(t, b.store, after)
				wantUnavailable(t, "commit", w.Commit(t.Context(), name))
				got := get(t, b.direct, name)
				if !bytes.Equal(got, before) && (what != "cut before the answer" || !bytes.Equal(got, after)) {
					t.Errorf("the object has %d bytes that nobody has committed", len(got))
				}
				b.proxy.set(nil)
				if err := w.Commit(t.Context(), name); err != nil {
					t.Errorf("commit, once the way is free: %v", err)
				}
				if !bytes.Equal(get(t, b.direct, name), after) {
					t.Error("the object is not what was committed")
				}
			}
			if got := b.server.Objects("bucket"); len(got) != 2 {
				t.Errorf("there are %v", got)
			}
		})
	}
}

const slowDown = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`

// One connection that breaks is no reason to fail.
func TestRetries(t *testing.T) {
	t.Parallel()
	b := newBroken(t, func(c *objectblob.Config) { c.Attempts = 3 }) // an idle connection may have been cut as well
	data, name := blobtest.Bytes(1, small)
	for what, plan := range map[string]func(int64, net.Conn, net.Conn){
		"cut": passing(1<<20, 1<<20), "slow down": answering("503 Slow Down", slowDown),
	} {
		var first atomic.Int64
		once := func(n int64, client, server net.Conn) {
			if n == first.Load() {
				plan(n, client, server)
				return
			}
			passing(-1, -1)(n, client, server)
		}
		first.Store(b.proxy.connections.Load() + 1)
		b.proxy.set(once)
		put(t, b.store, name, data)
		first.Store(b.proxy.connections.Load() + 1)
		b.proxy.set(once)
		if !bytes.Equal(get(t, b.store, name), data) {
			t.Errorf("%s: other bytes were read", what)
		}
	}
}

func TestDownloadBreaksOff(t *testing.T) {
	t.Parallel()
	b := newBroken(t, func(c *objectblob.Config) { c.Stall = time.Second })
	data, name := blobtest.Bytes(1, 4<<20)
	put(t, b.direct, name, data)
	for what, c := range map[string]struct {
		plan func(int64, net.Conn, net.Conn)
		good bool
	}{
		"cut now and then": {passing(-1, 3<<19), true}, "stalled now and then": {stalling(-1, 3<<20), true},
		"cut all the time": {passing(-1, 20_000), false}, "stalled all the time": {stalling(-1, 20_000), false},
	} {
		b.proxy.set(c.plan)
		r, err := b.store.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !bytes.HasPrefix(data, got) || c.good && (err != nil || len(got) != len(data)) {
			t.Errorf("%s: %d bytes came, %v", what, len(got), err)
		}
		part := make([]byte, 3<<19)
		n, at := r.ReadAt(part, 1<<20)
		if !bytes.Equal(part[:n], data[1<<20:1<<20+n]) || c.good && (at != nil || n != len(part)) {
			t.Errorf("%s: ReadAt gave %d bytes, %v", what, n, at)
		}
		if !c.good {
			wantUnavailable(t, what, err)
			wantUnavailable(t, what, at)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A reader whose stream breaks off never goes on with the bytes of another
// object.
func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	b := newBroken(t, nil)
	for i, end := range []func(name string){
		func(name string) {
			other, _ := blobtest.Bytes(2, 9<<20)
			put(t, b.direct, name, other)
		},
		func(name string) {
			if ok, err := b.direct.Delete(t.Context(), name, time.Now().Add(time.Hour)); !ok || err != nil {
				t.Fatal(ok, err)
			}
		},
	} {
		data, _ := blobtest.Bytes(1, 9<<20)
		name := fmt.Sprint("a", i)
		put(t, b.direct, name, data)
		r, err := b.store.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 1000)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		end(name)
		b.proxy.cut()
		rest, err := io.ReadAll(r)
		if all := append(head, rest...); !bytes.HasPrefix(data, all) || len(all) == len(data) {
			t.Errorf("%d bytes came", len(all))
		}
		wantUnavailable(t, "read", err)
		if fault.As(err) == nil || fault.As(err).Code != objectblob.CodeReplaced {
			t.Errorf("the error is %v", err)
		}
		if n, err := r.ReadAt(head, 0); n != 0 || err == nil {
			t.Errorf("ReadAt gave %d bytes of another object, %v", n, err)
		}
		_ = r.Close()
	}
}

// calls are one of each kind.
func calls(t *testing.T, s blob.Store) map[string]func() error {
	return map[string]func() error{
		"stat": func() error { _, err := s.Stat(t.Context(), "a"); return err },
		"open": func() error { _, err := s.Open(t.Context(), "a"); return err },
		"delete": func() error {
			ok, err := s.Delete(t.Context(), "a", time.Now().Add(time.Hour))
			if ok {
				return fmt.Errorf("it says that the object is gone (%w)", err)
			}
			return err
		},
		"list":   func() error { return s.List(t.Context(), "", func(blob.Info) error { return nil }) },
		"commit": func() error { return write(t, s, []byte("x")).Commit(t.Context(), "a") },
	}
}

func TestEveryCallFailsInTime(t *testing.T) {
	t.Parallel()
	b := newBroken(t, func(c *objectblob.Config) { c.Stall = 300 * time.Millisecond })
	put(t, b.direct, "a", []byte("x"))
	for what, plan := range map[string]func(int64, net.Conn, net.Conn){
		"silence": stalling(0, 0), "slow down": answering("503 Slow Down", slowDown), "429": answering("429 Too Many Requests", ""), "cut": passing(0, 0),
	} {
		b.proxy.set(plan)
		for call, do := range calls(t, b.store) {
			start := time.Now()
			wantUnavailable(t, what+": "+call, do())
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: %s took %v", what, call, took)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	b.proxy.set(stalling(0, 0))
	if _, err := b.store.Stat(ctx, "a"); fault.Of(err) != fault.Timeout {
		t.Errorf("a caller that won't wait gets %v", err)
	}
	if got := get(t, b.direct, "a"); string(got) != "x" {
		t.Errorf("the object has become %q", got)
	}
}

// A destination that is away costs nothing but a try now and then.
func TestLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBroken(t, func(c *objectblob.Config) { c.Failures, c.Pause, c.Attempts = 3, 200*time.Millisecond, 1 })
	put(t, b.direct, "a", []byte("x"))
	b.proxy.set(passing(0, 0))
	for range 3 {
		_, err := b.store.Stat(t.Context(), "a")
		wantUnavailable(t, "stat", err)
	}
	asked := b.proxy.connections.Load()
	for call, do := range calls(t, b.store) {
		err := do()
		wantUnavailable(t, call, err)
		if wait := fault.As(err).RetryAfter; wait <= 0 || wait > 200*time.Millisecond {
			t.Errorf("%s: try again in %v", call, wait)
		}
	}
	if n := b.proxy.connections.Load(); n != asked {
		t.Errorf("%d connections were made to a destination that is left alone", n-asked)
	}
	b.proxy.set(nil)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := b.store.Stat(t.Context(), "a")
		if err == nil {
			break
		}
		if wantUnavailable(t, "stat", err); time.Now().After(deadline) {
			t.Fatal("it is still left alone")
		}
	}
	for call, do := range map[string]func() error{"list": calls(t, b.store)["list"], "commit": calls(t, b.store)["commit"]} {
		if err := do(); err != nil {
			t.Errorf("%s, once it is back: %v", call, err)
		}
	}
}

// A bucket that is not there must not pass for an empty one.
func TestNoBucket(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	s := open(t, s3test.URL(server.Endpoint, "nowhere", "prefix"), quick())
	for call, do := range calls(t, s) {
		err := do()
		wantUnavailable(t, call, err)
		if known := fault.As(err); known != nil && !strings.Contains(known.Message, "no bucket nowhere") {
			t.Errorf("%s: %v", call, err)
		}
	}
}
