// Package cache is the port for finished renditions. A cached rendition is
// named by its variant and never stale; caches let go of them for room only.
package cache

import (
	"context"
	"io"
	"os"

	"safelight/internal/asset"
)

// Key names a rendition; Source groups all renditions of one source.
type Key struct {
	Source  asset.Digest
	Variant asset.VariantKey
}

// Cache keeps renditions under a budget of bytes. Implementations are safe for
// concurrent use. A cache that fails is a miss: errors are for logs.
type Cache interface {
	// Get finds a rendition; the caller closes the entry. ok is false for a
	// miss. Bytes that are not what was put are a miss and are removed.
	Get(ctx context.Context, key Key) (entry *Entry, ok bool, err error)
	// Put keeps a rendition, reading size bytes from body, and may let go of others (or, where it is larger than the budget allows, not keep it at all). The last Put of a key wins.
	Put(ctx context.Context, key Key, meta asset.Rendition, body io.Reader) error
	// List describes what is cached of one source.
	List(ctx context.Context, source asset.Digest) ([]asset.Rendition, error)
	// Purge removes everything of one source, also what is being put at the
	// same time by a Put that began before.
	Purge(ctx context.Context, source asset.Digest) error
	// Stats is what the cache holds and has seen.
	Stats() Stats
}

// Entry is a cached rendition: Data where it is in memory, otherwise File with
// Meta.Bytes bytes from offset 0 (the file may go on after them).
type Entry struct {
	Meta asset.Rendition
	Data []byte
	File *os.File
}

// Close frees the file, if any.
func (e *Entry) Close() error {
	if e == nil || e.File == nil {
		return nil
	}
	return e.File.Close()
}

// Stats counts since start; Bytes and Entries are what is held now. Where that is
// shared with other processes (Elsewhere), Entries, Bytes and Budget are 0, as
// only Redis or its like can tell.
type Stats struct {
	Elsewhere                        bool
	Entries, Bytes, Budget           int64
	Hits, Misses, Evictions, Corrupt int64
}

// Off is a cache that keeps nothing.
type Off struct{}

var _ Cache = Off{}

// Get implements Cache.
func (Off) Get(context.Context, Key) (*Entry, bool, error) { return nil, false, nil }

// Put implements Cache.
func (Off) Put(context.Context, Key, asset.Rendition, io.Reader) error { return nil }

// List implements Cache.
func (Off) List(context.Context, asset.Digest) ([]asset.Rendition, error) { return nil, nil }

// Purge implements Cache.
func (Off) Purge(context.Context, asset.Digest) error { return nil }

// Stats implements Cache.
func (Off) Stats() Stats { return Stats{} }
