package rediscache_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"safelight/internal/cache/cachetest"
)

// BenchmarkCache measures hits, misses and puts on loopback.
func BenchmarkCache(b *testing.B) {
	c, _ := open(b)
	ctx := context.Background()
	for _, n := range []int{4 << 10, 32 << 10, 256 << 10} {
		key := cachetest.Key(n, 1)
		meta, data := cachetest.Rendition(key, 1, n)
		b.Run(fmt.Sprintf("put/%dKiB", n>>10), func(b *testing.B) {
			for range b.N {
				if err := c.Put(ctx, key, meta, bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("hit/%dKiB", n>>10), func(b *testing.B) {
			for range b.N {
				if _, ok, err := c.Get(ctx, key); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
	b.Run("miss", func(b *testing.B) {
		for i := range b.N {
			if _, ok, err := c.Get(ctx, cachetest.Key(0, i)); ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}
