package memcache

import (
	"slices"
	"sync"

	"safelight/internal/asset"
)

// index knows the cached variants of each source. A source's group exists
// while it has variants or a Put is under way. Its lock is held while an entry
// is set or invalidated, so that index and cache agree; only evictions come
// later, from the library's own goroutines, which hold no lock.
type index struct {
	shards [64]shard
}

type shard struct {
	mu     sync.Mutex
	groups map[asset.Digest]*group
}

type group struct {
	variants   []asset.VariantKey
	generation uint64 // counts purges while a Put is under way
	puts       int
}

func (x *index) init() {
	for i := range x.shards {
		x.shards[i].groups = map[asset.Digest]*group{}
	}
}

func (x *index) shard(source asset.Digest) *shard { return &x.shards[int(source[0])%len(x.shards)] }

// begin notes that a Put has begun and tells the source's generation.
func (x *index) begin(source asset.Digest) (generation uint64) {
	x.update(source, func(g *group) {
		g.puts++
		generation = g.generation
	})
	return generation
}

// end runs fn and notes that a Put has ended.
func (x *index) end(source asset.Digest, fn func(*group)) {
	x.update(source, func(g *group) {
		g.puts--
		fn(g)
	})
}

// update runs fn with the source's group locked.
func (x *index) update(source asset.Digest, fn func(*group)) {
	s := x.shard(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[source]
	if g == nil {
		g = &group{}
	}
	fn(g)
	if g.puts == 0 && len(g.variants) == 0 {
		delete(s.groups, source)
	} else {
		s.groups[source] = g
	}
}

func (g *group) add(v asset.VariantKey) {
	if !slices.Contains(g.variants, v) {
		g.variants = append(g.variants, v)
	}
}

func (g *group) remove(v asset.VariantKey) {
	if i := slices.Index(g.variants, v); i >= 0 {
		last := len(g.variants) - 1
		g.variants[i] = g.variants[last]
		g.variants = g.variants[:last]
	}
}
