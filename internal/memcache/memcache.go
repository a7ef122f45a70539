// Package memcache keeps small renditions in memory, under a budget of bytes.
// What to let go of is decided by how often and how recently an entry was used
// (W-TinyLFU, by the otter library).
package memcache

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

// overheadBytes is what an entry costs beside its bytes and its options: the
// library's node and table, the entry itself, and its place in the index.
const overheadBytes = 512

// Config bounds the cache.
type Config struct {
	MaxBytes      int64 // of memory in all, overhead included
	MaxEntryBytes int64 // of one entry, overhead included; 0 is a sixteenth of MaxBytes
}

// Validate refuses a configuration that can't work.
func (c Config) Validate() error {
	switch {
	case c.MaxBytes <= 0:
		return fault.New(fault.Invalid, "the memory cache's size is %d bytes; it must be positive", c.MaxBytes)
	case c.MaxEntryBytes < 0 || c.MaxEntryBytes > c.MaxBytes:
		return fault.New(fault.Invalid, "the memory cache's largest entry is %d bytes; it must be between 0 and %d", c.MaxEntryBytes, c.MaxBytes)
	}
	return nil
}

// Cache is a cache.Cache whose entries have Data. It is safe for concurrent use.
type Cache struct {
	max, maxEntry int64
	entries       *otter.Cache[cache.Key, *cache.Entry]
	sources       index
}

var _ cache.Cache = (*Cache)(nil)

// New makes an empty cache.
func New(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxEntryBytes == 0 {
		cfg.MaxEntryBytes = cfg.MaxBytes / 16
	}
	c := &Cache{max: cfg.MaxBytes, maxEntry: min(cfg.MaxEntryBytes, math.MaxUint32)}
	entries, err := otter.New(&otter.Options[cache.Key, *cache.Entry]{
		MaximumWeight: uint64(cfg.MaxBytes),
		Weigher:       func(_ cache.Key, e *cache.Entry) uint32 { return uint32(weight(e.Meta)) },
		StatsRecorder: stats.NewCounter(),
		OnDeletion: func(e otter.DeletionEvent[cache.Key, *cache.Entry]) {
			if e.WasEvicted() {
				c.forget(e.Key)
			}
		},
	})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the memory cache can't be made")
	}
	c.entries = entries
	c.sources.init()
	return c, nil
}

func weight(meta asset.Rendition) int64 {
	return meta.Bytes + int64(len(meta.Options)) + overheadBytes
}

// Lookup finds a rendition without allocating. The entry is shared: its Data
// must not be changed. Closing it does nothing.
func (c *Cache) Lookup(key cache.Key) (*cache.Entry, bool) { return c.entries.GetIfPresent(key) }

// Get implements cache.Cache; see Lookup.
func (c *Cache) Get(_ context.Context, key cache.Key) (*cache.Entry, bool, error) {
	e, ok := c.Lookup(key)
	return e, ok, nil
}

// Put implements cache.Cache. An entry above MaxEntryBytes is not kept, and
// its body not read.
func (c *Cache) Put(ctx context.Context, key cache.Key, meta asset.Rendition, body io.Reader) error {
	if meta.Bytes < 0 {
		return fault.New(fault.Internal, "a rendition of %d bytes can't be cached", meta.Bytes)
	}
	meta.Source, meta.Variant = key.Source, key.Variant
	generation := c.sources.begin(key.Source)
	var entry *cache.Entry
	var err error
	if weight(meta) <= c.maxEntry {
		entry, err = read(ctx, meta, body)
	}
	c.sources.end(key.Source, func(g *group) {
		switch {
		case err != nil || g.generation != generation: // purged since
		case entry == nil:
			c.entries.Invalidate(key)
			g.remove(key.Variant)
		default:
			c.entries.Set(key, entry)
			g.add(key.Variant)
		}
	})
	c.entries.CleanUp() // back to the budget now, not when the library comes to it
	return err
}

func read(ctx context.Context, meta asset.Rendition, body io.Reader) (*cache.Entry, error) {
	data := make([]byte, meta.Bytes)
	if n, err := io.ReadFull(body, data); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fault.Wrap(fault.Internal, err, "a rendition ended after %d of %d bytes", n, meta.Bytes)
		}
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Canceled, err, "the request was cancelled")
	}
	return &cache.Entry{Meta: meta, Data: data}, nil
}

// forget takes an evicted entry out of the index, unless it was put again.
func (c *Cache) forget(key cache.Key) {
	c.sources.update(key.Source, func(g *group) {
		if _, there := c.entries.GetEntryQuietly(key); !there {
			g.remove(key.Variant)
		}
	})
}

// List implements cache.Cache.
func (c *Cache) List(_ context.Context, source asset.Digest) ([]asset.Rendition, error) {
	var list []asset.Rendition
	c.sources.update(source, func(g *group) {
		for _, v := range g.variants {
			if e, ok := c.entries.GetEntryQuietly(cache.Key{Source: source, Variant: v}); ok {
				list = append(list, e.Value.Meta)
			}
		}
	})
	return list, nil
}

// Purge implements cache.Cache.
func (c *Cache) Purge(_ context.Context, source asset.Digest) error {
	c.sources.update(source, func(g *group) {
		g.generation++
		for _, v := range g.variants {
			c.entries.Invalidate(cache.Key{Source: source, Variant: v})
		}
		g.variants = nil
	})
	return nil
}

// Stats implements cache.Cache.
func (c *Cache) Stats() cache.Stats {
	c.entries.CleanUp() // or sizes lag behind
	s := c.entries.Stats()
	return cache.Stats{
		Entries: int64(c.entries.EstimatedSize()), Bytes: int64(c.entries.WeightedSize()), Budget: c.max,
		Hits: int64(s.Hits), Misses: int64(s.Misses), Evictions: int64(s.Evictions),
	}
}
