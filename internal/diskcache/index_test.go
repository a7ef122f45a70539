package diskcache_test

import (
	"runtime"
	"testing"

	"safelight/internal/cache"
	"safelight/internal/cache/cachetest"
	"safelight/internal/diskcache"
)

func TestIndexIsCompact(t *testing.T) {
	const entries = 300_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	x := diskcache.NewIndex()
	for i := range entries {
		x.Put(cachetest.Key(i/4, i))
	}
	each := float64(heap()-before) / entries
	t.Logf("%.0f bytes an entry", each)
	if each > 125 {
		t.Errorf("the index takes %.0f bytes an entry", each)
	}
	for i := range entries {
		if i%2 == 0 {
			x.Remove(cachetest.Key(i/4, i))
		}
	}
	if x.Entries() != entries/2 || x.Has(cachetest.Key(0, 0)) || !x.Has(cachetest.Key(0, 1)) {
		t.Fatalf("%d entries are left", x.Entries())
	}
}

func TestIndexCollisions(t *testing.T) {
	// Keys whose hash is the same: both halves are xored.
	key := func(i byte) (k cache.Key) {
		k.Source[0], k.Variant[0] = i, i
		return k
	}
	for gone := range byte(4) {
		x := diskcache.NewIndex()
		for i := range byte(4) {
			x.Put(key(i))
		}
		x.Remove(key(gone))
		for i := range byte(4) {
			if x.Has(key(i)) == (i == gone) {
				t.Errorf("with %d removed, Has(%d) is %v", gone, i, x.Has(key(i)))
			}
		}
	}
}
