package diskcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

// Get implements cache.Cache. The entry's file is positioned at its start.
func (c *Cache) Get(ctx context.Context, key cache.Key) (*cache.Entry, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, fault.Wrap(fault.Canceled, err, "the request was cancelled")
	}
	now := time.Now()
	found, verified, stale := c.index.use(key, now)
	if !found && c.ready() {
		c.misses.Add(1)
		return nil, false, nil
	}
	entry, err := c.open(key, found, verified)
	if err != nil || entry == nil {
		c.misses.Add(1)
		return nil, false, err
	}
	if stale {
		_ = os.Chtimes(c.path(key), now, now)
	}
	c.hits.Add(1)
	return entry, true, nil
}

// open opens a key's file and checks it; nil for a miss.
func (c *Cache) open(key cache.Key, indexed, verified bool) (*cache.Entry, error) {
	f, err := os.Open(c.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		c.lost(key)
		return nil, nil
	}
	if err != nil {
		return nil, classify(err, "opening a rendition")
	}
	seal, err := readFooter(f, key)
	if err == nil && !verified {
		err = seal.verify(f)
	}
	if err != nil {
		defer f.Close()
		if errors.Is(err, errDamaged) {
			c.discard(key, f)
			return nil, nil
		}
		return nil, classify(err, "reading a rendition")
	}
	switch {
	case !indexed:
		c.adopt(key, f)
	case !verified:
		c.index.setVerified(key)
	}
	return &cache.Entry{Meta: seal.meta, File: f}, nil
}

// lost takes an entry whose file somebody has removed out of the index.
func (c *Cache) lost(key cache.Key) {
	s := c.stripe(key.Source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Lstat(c.path(key)); errors.Is(err, fs.ErrNotExist) {
		c.index.remove(key)
	}
}

// discard removes a damaged file, unless a good one took its place meanwhile.
func (c *Cache) discard(key cache.Key, f *os.File) {
	s := c.stripe(key.Source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.current(key, f) {
		return
	}
	c.corrupt.Add(1)
	if c.unlink(key) == nil {
		c.index.remove(key)
	}
}

// adopt indexes a file that Get found before the walk did.
func (c *Cache) adopt(key cache.Key, f *os.File) {
	s := c.stripe(key.Source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if fi, err := f.Stat(); err == nil && c.current(key, f) {
		c.index.adopt(key, blocks(fi.Size()), fi.ModTime(), byGet)
		c.index.setVerified(key)
	}
}

// current tells whether f is what the key's name stands for.
func (c *Cache) current(key cache.Key, f *os.File) bool {
	there, err := os.Lstat(c.path(key))
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(there, mine)
}

// unlink removes a key's file, and its directory where that was the last one.
func (c *Cache) unlink(key cache.Key) error {
	if err := os.Remove(c.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = os.Remove(c.sourceDir(key.Source))
	return nil
}

// evict removes the files of entries that the index has dropped.
func (c *Cache) evict(victims []cache.Key) {
	for _, key := range victims {
		s := c.stripe(key.Source)
		s.mu.Lock()
		if !c.index.has(key) { // or it was put again meanwhile
			_ = c.unlink(key)
		}
		s.mu.Unlock()
		c.evictions.Add(1)
	}
}

func blocks(bytes int64) uint32 { return uint32((bytes + blockBytes - 1) / blockBytes) }

// walk indexes what lies in the directory. Names that are not the cache's own
// are left alone.
func (c *Cache) walk() {
	defer close(c.indexed)
	tops, _ := os.ReadDir(c.dir)
	for _, top := range tops {
		if len(top.Name()) != 2 || !top.IsDir() {
			continue
		}
		sources, _ := os.ReadDir(filepath.Join(c.dir, top.Name()))
		for _, dir := range sources {
			select {
			case <-c.stop:
				return
			default:
			}
			var source asset.Digest
			if parseHex(source[:], dir.Name()) && dir.Name()[:2] == top.Name() {
				c.walkSource(source)
			}
		}
	}
	c.evict(c.index.settle())
}

func (c *Cache) walkSource(source asset.Digest) {
	s := c.stripe(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	files, _ := os.ReadDir(c.sourceDir(source))
	for _, f := range files {
		variant, ok := parseVariant(f.Name())
		if !ok || !f.Type().IsRegular() {
			continue
		}
		if fi, err := f.Info(); err == nil {
			c.index.adopt(cache.Key{Source: source, Variant: variant}, blocks(fi.Size()), fi.ModTime(), byWalk)
		}
	}
	if len(files) == 0 {
		_ = os.Remove(c.sourceDir(source))
	}
}
