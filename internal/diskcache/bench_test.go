package diskcache_test

import (
	"bytes"
	"testing"

	"safelight/internal/cache/cachetest"
)

func BenchmarkGet(b *testing.B) {
	c := open(b, b.TempDir(), 64<<20)
	defer shut(b, c)
	for i := range 256 {
		put(b, c, cachetest.Key(i, 1), 20_000)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		e, ok, err := c.Get(b.Context(), cachetest.Key(i%256, 1))
		if !ok || err != nil {
			b.Fatal(ok, err)
		}
		_ = e.Close()
	}
}

func BenchmarkPut(b *testing.B) {
	c := open(b, b.TempDir(), 64<<20)
	defer shut(b, c)
	meta, data := cachetest.Rendition(cachetest.Key(1, 1), 1, 50_000)
	b.SetBytes(50_000)
	for i := range b.N {
		if err := c.Put(b.Context(), cachetest.Key(i/3, i), meta, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen indexes 20,000 files.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	c := open(b, dir, 1<<30)
	for i := range 20_000 {
		put(b, c, cachetest.Key(i/4, i), 100)
	}
	shut(b, c)
	for b.Loop() {
		c := open(b, dir, 1<<30)
		c.WaitIndexed()
		shut(b, c)
	}
}
