package blobcache

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/cdkblob"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
)

// disk is a store of which nothing but the port is known, as of a bucket.
func disk(t *testing.T) blob.Store {
	t.Helper()
	s, err := diskblob.Open(diskblob.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return struct{ blob.Store }{s}
}

func bucket(t *testing.T, endpoint, prefix, spool string) blob.Store {
	t.Helper()
	s, err := cdkblob.Open(t.Context(), cdkblob.Options{URL: s3test.URL(endpoint, "blobs", prefix), Config: objectblob.DefaultConfig(), Spool: spool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return NewStore(disk(t), open(t, t.TempDir(), 64<<20)) })
}

// A cache that holds next to nothing must not show.
func TestStoreWithoutRoom(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return NewStore(disk(t), open(t, t.TempDir(), 1<<20)) })
}

func TestStoreOverBucket(t *testing.T) {
	server := s3test.Start(t)
	s3test.SetEnv(t)
	server.Bucket("blobs", "")
	n := atomic.Int32{}
	blobtest.Run(t, func(t *testing.T) blob.Store {
		dir := t.TempDir()
		prefix := "p" + strings.Repeat("x", int(n.Add(1)))
		return NewStore(bucket(t, server.Endpoint, prefix, dir+"/spool"), open(t, dir+"/blobs", 64<<20))
	})
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// What is committed to a bucket is read from this node; what another has
// committed is fetched once; and the file that was sent is the one that is kept.
func TestCommittedIsKept(t *testing.T) {
	server := s3test.Start(t)
	s3test.SetEnv(t)
	server.Bucket("blobs", "")
	proxy := s3test.Watch(t, server)
	dir := t.TempDir()
	c := open(t, dir+"/blobs", 64<<20)
	home := blob.NewHome(NewStore(bucket(t, proxy.Endpoint, "", dir+"/spool"), c))
	data, name := blobtest.Bytes(1, 300_000)
	put(t, home, name, data)
	check := func(gets int) {
		t.Helper()
		r, err := home.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if n := proxy.Count(http.MethodGet, name); n != gets {
			t.Fatalf("it was asked for %d times; want %d", n, gets)
		}
	}
	check(0)
	home.Forget(name)
	check(1)
	check(1)
	consistent(t, c)
}

// A bucket with other bytes than were written is found out, whether it says so
// itself or only the name does; when it is mended, that is seen.
func TestDamagedObject(t *testing.T) {
	server := s3test.Start(t)
	s3test.SetEnv(t)
	server.Bucket("blobs", "")
	dir := t.TempDir()
	c := open(t, dir+"/blobs", 64<<20)
	home := blob.NewHome(NewStore(bucket(t, server.Endpoint, "", dir+"/spool"), c))
	data, name := blobtest.Bytes(1, 3000)
	put(t, home, name, data)
	object := server.Dir + "/blobs/" + name
	damaged := bytes.Clone(data)
	damaged[7] ^= 1
	if err := os.WriteFile(object, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	home.Forget(name)
	if _, err := home.Open(t.Context(), name); !blob.IsDamage(err) {
		t.Errorf("damaged bytes: %v", err)
	}
	if has(c, name) {
		t.Error("they are kept")
	}
	if err := os.WriteFile(object, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := home.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()

	plain := disk(t) // which notes no digests
	home = blob.NewHome(NewStore(plain, open(t, t.TempDir(), 64<<20)))
	put(t, plain, name, damaged)
	if _, err := home.Open(t.Context(), name); !blob.IsDamage(err) {
		t.Errorf("damaged bytes: %v", err)
	}
	put(t, plain, name, data)
	if r, err = home.Open(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
}

// slow is a store whose reads wait.
type slow struct {
	blob.Store
	opened, gate chan struct{}
}

func (s slow) Open(ctx context.Context, name string) (blob.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	s.opened <- struct{}{}
	<-s.gate
	return r, err
}

// What was read of a name before it changed is not kept after that.
func TestChangeWhileFetching(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*testing.T, blob.Store){
		"written": func(t *testing.T, s blob.Store) { put(t, s, "x", []byte("new")) },
		"deleted": func(t *testing.T, s blob.Store) {
			if gone, err := s.Delete(t.Context(), "x", time.Now().Add(time.Hour)); !gone || err != nil {
				t.Error(gone, err)
			}
		},
	} {
		inner := slow{disk(t), make(chan struct{}, 9), make(chan struct{})}
		c := open(t, t.TempDir(), 64<<20)
		s := NewStore(inner, c)
		put(t, inner.Store, "x", []byte("old"))
		got := make(chan string)
		go func() {
			r, err := s.Open(t.Context(), "x")
			if err != nil {
				t.Error(err)
				got <- ""
				return
			}
			defer r.Close()
			data, _ := io.ReadAll(r)
			got <- string(data)
		}()
		<-inner.opened
		change(t, s)
		close(inner.gate)
		if data := <-got; data != "old" {
			t.Errorf("%s: who asked before got %q", what, data)
		}
		c.work.Wait()
		r, err := s.Open(t.Context(), "x")
		if what == "deleted" {
			if fault.Of(err) != fault.NotFound || err == nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, _ := io.ReadAll(r); string(data) != "new" {
			t.Errorf("%s: who asks after it gets %q", what, data)
		}
		_ = r.Close()
	}
}
