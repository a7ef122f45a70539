package memcache_test

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"safelight/internal/cache"
	"safelight/internal/cache/cachetest"
	"safelight/internal/fault"
	"safelight/internal/memcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg memcache.Config) *memcache.Cache {
	t.Helper()
	c, err := memcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConformance(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Cache {
		return open(t, memcache.Config{MaxBytes: 1 << 20, MaxEntryBytes: 1 << 17})
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []memcache.Config{{}, {MaxBytes: -1}, {MaxBytes: 10, MaxEntryBytes: 11}, {MaxBytes: 10, MaxEntryBytes: -1}} {
		if _, err := memcache.New(c); fault.Of(err) != fault.Invalid {
			t.Errorf("New(%+v) gave %v", c, err)
		}
	}
}

func TestLargestEntry(t *testing.T) {
	c := open(t, memcache.Config{MaxBytes: 1 << 20})
	for n, kept := range map[int]bool{60_000: true, 1 << 16: false} {
		key := cachetest.Key(n, 1)
		meta, data := cachetest.Rendition(key, 1, n)
		if err := c.Put(t.Context(), key, meta, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Lookup(key); ok != kept {
			t.Errorf("an entry of %d bytes: kept %v, expected %v", n, ok, kept)
		}
	}
}

// TestIndexFollowsEvictions checks that the index does not grow with what the
// cache has let go of.
func TestIndexFollowsEvictions(t *testing.T) {
	c := open(t, memcache.Config{MaxBytes: 1 << 20})
	for i := range 2000 {
		key := cachetest.Key(i%50, i)
		meta, data := cachetest.Rendition(key, 1, 10_000)
		if err := c.Put(t.Context(), key, meta, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	c.Settle()
	if indexed, held := c.Indexed(), int(c.Stats().Entries); indexed != held {
		t.Fatalf("%d variants are indexed, %d entries held", indexed, held)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	c := open(t, memcache.Config{MaxBytes: 1 << 20})
	key := cachetest.Key(1, 1)
	meta, data := cachetest.Rendition(key, 1, 1000)
	if err := c.Put(t.Context(), key, meta, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := c.Lookup(key); !ok {
			t.Error("a miss")
		}
	}); n >= 1 {
		t.Fatalf("Lookup allocates %v times", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	c := open(b, memcache.Config{MaxBytes: 64 << 20})
	var keys [512]cache.Key
	for i := range keys {
		keys[i] = cachetest.Key(i, 1)
		meta, data := cachetest.Rendition(keys[i], 1, 20_000)
		if err := c.Put(b.Context(), keys[i], meta, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := c.Lookup(keys[i%len(keys)]); !ok {
				b.Error("a miss")
			}
		}
	})
}
