package cdkblob_test

import (
	"io"
	"testing"

	"safelight/internal/blob/blobtest"
	"safelight/internal/blobcache"
	"safelight/internal/cdkblob/s3test"
	"safelight/internal/objectblob"
)

// BenchmarkPut and BenchmarkGet are what 1 MB costs on the way to a bucket and
// back, through the cache of a home store.
func BenchmarkPut(b *testing.B) {
	s := costStore(b)
	data, _ := blobtest.Bytes(1, 1<<20)
	for i := 0; b.Loop(); i++ {
		w, err := s.Create(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			b.Fatal(err)
		}
		if err := w.Commit(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := costStore(b)
	data, _ := blobtest.Bytes(1, 1<<20)
	w, err := s.Create(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		b.Fatal(err)
	}
	if err := w.Commit(b.Context(), "a"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Forget("a")
		r, err := s.Open(b.Context(), "a")
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	}
}

func costStore(b *testing.B) *blobcache.Store {
	server := s3test.Start(b)
	server.Bucket("bucket", "")
	bucket := open(b, s3test.URL(server.Endpoint, "bucket", ""), objectblob.DefaultConfig())
	cache, err := blobcache.Open(blobcache.Config{Dir: b.TempDir(), MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cache.Close() })
	return blobcache.NewStore(bucket, cache)
}
