// Package blobcache keeps whole blobs as plain files of this node, under a budget
// of bytes: those of stores that are no local file system, and those that were
// brought back from elsewhere. Codec processes need files, and however many
// renditions of a photo are asked for, it is fetched once.
//
// An entry is one file, <dir>/<ss>/<place and name>.<SHA-256 of the bytes> with ss
// the digest's first two digits. Nothing is fsynced, as everything can be fetched
// again: what a crash has torn is found by its digest on the first use after a
// start, and removed. What nobody has used for longest goes when there is no room;
// who has it open keeps it.
//
// The digest is that of the bytes which the store holds, whatever they are. Whether
// they are what a name promises, blob.Home tells. The package works on Linux only.
package blobcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

const (
	tempDir  = "tmp"
	lockName = "lock"
)

// Config bounds the cache.
type Config struct {
	// Dir is the cache's own directory; it is made when it is missing. On the file
	// system where stores prepare what is written, that needs no copy.
	Dir string
	// MaxBytes is the budget.
	MaxBytes int64
	// SpareBytes are left free on the file system; entries go for them.
	SpareBytes int64
	// Unwanted tells of the files of an earlier process which are to be removed when
	// the cache is opened; nil is none.
	Unwanted func(file string) bool
}

// Validate refuses a configuration that can't work.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return fault.New(fault.Invalid, "the directory of the cache of blobs is not set")
	case c.MaxBytes < 1<<20:
		return fault.New(fault.Invalid, "the cache of blobs has %d bytes; it must have at least 1 MiB", c.MaxBytes)
	case c.SpareBytes < 0:
		return fault.New(fault.Invalid, "the cache of blobs is to leave %d bytes free; that can't be negative", c.SpareBytes)
	}
	return nil
}

// Cache is safe for concurrent use.
type Cache struct {
	dir        string
	max, spare int64
	lock       *os.File
	work       sync.WaitGroup // flights
	life       context.Context
	stop       context.CancelFunc

	mu       sync.Mutex // guards what follows, and the names of entries' files
	entries  map[string]*entry
	places   map[string]map[string]struct{} // keys of entries, but for those of the store itself
	recent   *list.List                     // of *entry, last used first
	held     int64                          // bytes of entries and of what is being fetched
	flights  map[string]*flight
	changing map[string]*change
	closed   bool

	hits, misses, evictions, corrupt, fetched atomic.Int64
}

// Open opens the cache of a directory, and looks at what lies there. It fails
// with fault.Conflict when another process has the directory open.
func Open(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, classify(err, "opening the cache of blobs")
	}
	c := &Cache{
		dir: dir, max: cfg.MaxBytes, spare: cfg.SpareBytes, recent: list.New(),
		entries: map[string]*entry{}, places: map[string]map[string]struct{}{}, flights: map[string]*flight{}, changing: map[string]*change{},
	}
	c.life, c.stop = context.WithCancel(context.Background())
	if err := os.MkdirAll(filepath.Join(dir, tempDir), 0o750); err != nil {
		return nil, classify(err, "opening the cache of blobs")
	}
	if c.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := c.scan(cfg.Unwanted); err != nil {
		return nil, errors.Join(classify(err, "opening the cache of blobs"), c.lock.Close())
	}
	return c, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, classify(err, "locking the cache of blobs")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fault.New(fault.Conflict, "the directory %s is in use by another server; give this one another data directory (data), or a name of its own (node)", dir)
	}
	return nil, classify(err, "locking the cache of blobs")
}

// Close ends what is being fetched, and lets another process have the directory.
// Readers that are still open can be used to their end.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true // from now on no flight begins
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
	return c.lock.Close()
}

// Open reads the blob of a name. The reader is a blob.Filer and a blob.Digester.
// What is not kept is fetched, once for all who ask at the same time; the last of
// them to go away ends that. place keeps apart what different places have under
// one name, and must not end in a slash; "" is the store itself.
func (c *Cache) Open(ctx context.Context, place, name string, fetch blob.Fetch) (blob.Reader, error) {
	key := keyOf(place, name)
	if r, err := c.kept(key, name); r != nil || err != nil {
		return r, err
	}
	f, err := c.join(ctx, key, fetch)
	if err != nil {
		return nil, err
	}
	defer c.leave(f)
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, canceled(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	file, err := blob.Reopen(f.file)
	if err != nil {
		return nil, classify(err, "opening a blob")
	}
	return newReader(file, name, f.sum, f.at)
}

// kept opens what is kept and sound; nil is nothing.
func (c *Cache) kept(key, name string) (blob.Reader, error) {
	c.mu.Lock()
	e := c.entries[key]
	if e == nil || !e.sound {
		c.mu.Unlock()
		return nil, nil
	}
	stale := c.use(e)
	at := e.touched
	c.mu.Unlock()
	file, err := os.Open(c.path(e))
	if errors.Is(err, fs.ErrNotExist) {
		c.lost(e)
		return nil, nil
	}
	if err != nil {
		return nil, classify(err, "opening a blob")
	}
	if stale {
		c.touch(e)
	}
	r, err := newReader(file, name, e.sum, at)
	if err != nil {
		return nil, err
	}
	if r.info.Bytes != e.bytes {
		_ = r.Close()
		c.lost(e)
		return nil, nil
	}
	c.hits.Add(1)
	return r, nil
}

// Forget drops what is kept of a name; what is being fetched goes to those who
// wait, and is not kept.
func (c *Cache) Forget(place, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(keyOf(place, name))
}

func (c *Cache) forget(key string) {
	c.detach(key)
	if e := c.entries[key]; e != nil {
		c.drop(e)
	}
}

// ForgetPlace drops what is kept of all names of a place, which is not "".
func (c *Cache) ForgetPlace(place string) {
	place = placeOf(keyOf(place, ""))
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.flights {
		if placeOf(key) == place {
			c.detach(key)
		}
	}
	for key := range c.places[place] {
		c.forget(key)
	}
}

// FreeBytes is the room that is left for this process on the file system.
func (c *Cache) FreeBytes() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(c.dir, &st); err != nil {
		return 0, classify(err, "asking for free space")
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Stats is what the cache holds and has seen. A miss is a fetch.
func (c *Cache) Stats() cache.Stats {
	c.mu.Lock()
	entries, held := int64(len(c.entries)), c.held
	c.mu.Unlock()
	return cache.Stats{
		Entries: entries, Bytes: held, Budget: c.max,
		Hits: c.hits.Load(), Misses: c.misses.Load(), Evictions: c.evictions.Load(), Corrupt: c.corrupt.Load(),
	}
}

// Fetched is how many bytes were fetched.
func (c *Cache) Fetched() int64 { return c.fetched.Load() }

// canceled classifies the end of a context.
func canceled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, ctx.Err(), "fetching the bytes took too long")
	}
	return fault.Wrap(fault.Canceled, ctx.Err(), "the request was cancelled")
}

// classify turns the system's error into one of ours.
func classify(err error, doing string) error {
	kind, message := fault.Internal, "the cache of blobs failed"
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind, message = fault.OutOfSpace, "there is no room left on this node to fetch a blob"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		kind, message = fault.Unavailable, "the server has too many files open"
	}
	return fault.Wrap(kind, fmt.Errorf("%s: %w", doing, err), "%s", message)
}
