package memcache

import "runtime"

// Settle waits until the library has told of every eviction.
func (c *Cache) Settle() {
	c.entries.CleanUp()
	for c.Indexed() > c.entries.EstimatedSize() {
		runtime.Gosched()
	}
}

// Indexed counts the variants in the index.
func (c *Cache) Indexed() (n int) {
	for i := range c.sources.shards {
		s := &c.sources.shards[i]
		s.mu.Lock()
		for _, g := range s.groups {
			n += len(g.variants)
		}
		s.mu.Unlock()
	}
	return n
}
