package diskcache

import (
	"time"

	"safelight/internal/cache"
)

// Forget empties the index and lets the cache believe that the walk is still
// on its way; what it gives lets the walk begin.
func (c *Cache) Forget() (walk func()) {
	c.index = index{}
	c.index.init(c.max)
	c.indexed = make(chan struct{})
	return c.walk
}

// Path is a key's file.
func (c *Cache) Path(key cache.Key) string { return c.path(key) }

// Index is an index alone.
type Index struct{ x index }

// NewIndex makes an index without a limit.
func NewIndex() *Index {
	i := &Index{}
	i.x.init(1 << 60)
	return i
}

// Put adds an entry of one block.
func (i *Index) Put(key cache.Key) {
	i.x.reserve(1)
	i.x.put(key, 1, time.Unix(1e9, 0))
}

// Remove drops an entry, and Has finds it.
func (i *Index) Remove(key cache.Key)   { i.x.remove(key) }
func (i *Index) Has(key cache.Key) bool { return i.x.has(key) }

// Entries is how many there are.
func (i *Index) Entries() int64 { n, _ := i.x.size(); return n }

// WaitIndexed returns when the index is whole.
func (c *Cache) WaitIndexed() { <-c.indexed }
