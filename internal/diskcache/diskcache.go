// Package diskcache keeps renditions as files under a budget of bytes: one file
// for each, <dir>/<ss>/<source>/<variant> with ss the source's first two
// digits. A file begins with the rendition's bytes, so that it can be sent as
// it is, and ends in a footer (see footer.go) that describes and seals it.
//
// Nothing is fsynced, as everything can be rendered again: a file that a crash
// has torn, or whose bytes have changed on the disk, is found by its digest on
// the first use after a start, and removed. Which entry goes when there is no
// room is decided by when it was used last. The package works on Linux only.
package diskcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

const (
	tempDir   = "tmp"
	lockName  = "lock"
	openWait  = 100 * time.Millisecond // how long Open waits for the index
	touchEach = time.Hour              // how exactly a file's time says when it was used
)

// Config bounds the cache.
type Config struct {
	// Dir is the cache's own directory; it is made when it is missing.
	Dir string
	// MaxBytes is the budget, counted in whole blocks of 4 KiB a file.
	MaxBytes int64
	// MaxEntryBytes bounds one entry; 0 is a sixteenth of MaxBytes.
	MaxEntryBytes int64
}

// Validate refuses a configuration that can't work.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return fault.New(fault.Invalid, "the disk cache's directory is not set")
	case c.MaxBytes < blockBytes:
		return fault.New(fault.Invalid, "the disk cache's size is %d bytes; it must be at least %d", c.MaxBytes, blockBytes)
	case c.MaxEntryBytes < 0 || c.MaxEntryBytes > c.MaxBytes:
		return fault.New(fault.Invalid, "the disk cache's largest entry is %d bytes; it must be between 0 and %d", c.MaxEntryBytes, c.MaxBytes)
	}
	return nil
}

// Cache is a cache.Cache whose entries have a File. It is safe for concurrent
// use.
type Cache struct {
	dir           string
	max, maxEntry int64
	lock          *os.File
	index         index
	sources       [64]stripe

	stop    chan struct{} // closed by Close
	indexed chan struct{} // closed when the index is whole

	hits, misses, evictions, corrupt atomic.Int64
}

var _ cache.Cache = (*Cache)(nil)

// stripe serialises what happens to the names of some sources. Its lock comes
// before the index's.
type stripe struct {
	mu   sync.Mutex
	puts map[*pending]struct{}
}

// pending is a Put under way.
type pending struct {
	source asset.Digest
	purged bool
}

// Open opens the cache of a directory. What lies there is indexed in the
// background; until that is done, files are found by their names, and few new
// ones are kept. It fails with fault.Conflict when another process (or another
// Cache) has the directory open.
func Open(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxEntryBytes == 0 {
		cfg.MaxEntryBytes = max(cfg.MaxBytes/16, blockBytes)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, classify(err, "opening the disk cache")
	}
	c := &Cache{
		dir: dir, max: cfg.MaxBytes, maxEntry: cfg.MaxEntryBytes,
		stop: make(chan struct{}), indexed: make(chan struct{}),
	}
	c.index.init(cfg.MaxBytes)
	for i := range c.sources {
		c.sources[i].puts = map[*pending]struct{}{}
	}
	if err := os.MkdirAll(filepath.Join(dir, tempDir), 0o750); err != nil {
		return nil, classify(err, "opening the disk cache")
	}
	if c.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := c.sweepTemp(); err != nil {
		return nil, errors.Join(classify(err, "opening the disk cache"), c.lock.Close())
	}
	go c.walk()
	wait := time.NewTimer(openWait)
	defer wait.Stop()
	select {
	case <-c.indexed:
	case <-wait.C:
	}
	return c, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, classify(err, "locking the disk cache")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fault.New(fault.Conflict, "the cache directory %s is in use by another server; each needs one of its own", dir)
	}
	return nil, classify(err, "locking the disk cache")
}

func (c *Cache) sweepTemp() error {
	left, err := os.ReadDir(filepath.Join(c.dir, tempDir))
	for _, f := range left {
		if f.Type().IsRegular() {
			err = errors.Join(err, os.Remove(filepath.Join(c.dir, tempDir, f.Name())))
		}
	}
	return err
}

// Close ends the background work and lets another process have the directory.
func (c *Cache) Close() error {
	close(c.stop)
	<-c.indexed
	return c.lock.Close()
}

// ready tells whether the index is whole.
func (c *Cache) ready() bool {
	select {
	case <-c.indexed:
		return true
	default:
		return false
	}
}

func (c *Cache) stripe(source asset.Digest) *stripe { return &c.sources[int(source[0])%len(c.sources)] }

func (c *Cache) sourceDir(source asset.Digest) string {
	name := source.String()
	return c.dir + "/" + name[:2] + "/" + name
}

func (c *Cache) path(key cache.Key) string {
	return c.sourceDir(key.Source) + "/" + key.Variant.String()
}

// List implements cache.Cache.
func (c *Cache) List(_ context.Context, source asset.Digest) ([]asset.Rendition, error) {
	files, err := os.ReadDir(c.sourceDir(source))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(err, "listing renditions")
	}
	var list []asset.Rendition
	for _, f := range files {
		variant, ok := parseVariant(f.Name())
		if !ok {
			continue
		}
		if meta, err := c.describe(cache.Key{Source: source, Variant: variant}); err == nil {
			list = append(list, meta)
		}
	}
	return list, nil
}

func (c *Cache) describe(key cache.Key) (asset.Rendition, error) {
	f, err := os.Open(c.path(key))
	if err != nil {
		return asset.Rendition{}, err
	}
	defer f.Close()
	seal, err := readFooter(f, key)
	return seal.meta, err
}

// Purge implements cache.Cache.
func (c *Cache) Purge(_ context.Context, source asset.Digest) error {
	s := c.stripe(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.puts {
		p.purged = p.purged || p.source == source
	}
	dir := c.sourceDir(source)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if variant, ok := parseVariant(f.Name()); ok {
			removeErr := os.Remove(filepath.Join(dir, f.Name()))
			if removeErr == nil || errors.Is(removeErr, fs.ErrNotExist) {
				c.index.remove(cache.Key{Source: source, Variant: variant})
			} else {
				err = errors.Join(err, removeErr)
			}
		}
	}
	_ = os.Remove(dir)
	if err != nil {
		return classify(err, "purging renditions")
	}
	return nil
}

// Stats implements cache.Cache.
func (c *Cache) Stats() cache.Stats {
	entries, bytes := c.index.size()
	return cache.Stats{
		Entries: entries, Bytes: bytes, Budget: c.max,
		Hits: c.hits.Load(), Misses: c.misses.Load(), Evictions: c.evictions.Load(), Corrupt: c.corrupt.Load(),
	}
}

func parseVariant(name string) (v asset.VariantKey, ok bool) { return v, parseHex(v[:], name) }

// classify turns the system's error into one of ours.
func classify(err error, doing string) error {
	kind, message := fault.Internal, "the disk cache failed"
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind, message = fault.OutOfSpace, "there is no room left for the disk cache"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		kind, message = fault.Unavailable, "the server has too many files open"
	}
	return fault.Wrap(kind, fmt.Errorf("%s: %w", doing, err), "%s", message)
}

var _ io.Closer = (*Cache)(nil)
