package blobcache

import (
	"crypto/sha256"
	"errors"
	"hash"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
)

// step is how much room is reserved at a time.
const step = 1 << 20

// landing is the temporary file of a fetch. What does not fit into the budget
// beside other fetches is written all the same, and not kept.
type landing struct {
	cache    *Cache
	file     *os.File
	path     string
	sha      hash.Hash
	size     int64
	reserved int64
	over     bool // it does not fit
}

var _ blob.Landing = (*landing)(nil)

func (c *Cache) land() (*landing, error) {
	f, err := os.CreateTemp(filepath.Join(c.dir, tempDir), "")
	if err != nil {
		return nil, classify(err, "creating a temporary file")
	}
	return &landing{cache: c, file: f, path: f.Name(), sha: sha256.New()}, nil
}

// Write implements io.Writer. On a full disk entries go until it fits.
func (l *landing) Write(p []byte) (int, error) {
	n := int64(len(p))
	if missing := l.size + n - l.reserved; !l.over && missing > 0 {
		missing = max(missing, step)
		if l.over = !l.cache.reserve(missing); !l.over {
			l.reserved += missing
		}
	}
	written, err := l.file.Write(p)
	for errors.Is(err, unix.ENOSPC) && l.cache.shrink() {
		var more int
		more, err = l.file.Write(p[written:])
		written += more
	}
	l.size += int64(written)
	l.sha.Write(p[:written])
	if err != nil {
		return written, classify(err, "writing a blob")
	}
	return written, nil
}

// shrink lets go of the entry that nobody has used for longest.
func (c *Cache) shrink() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.evict()
}

// Reset implements blob.Landing.
func (l *landing) Reset() error {
	err := l.file.Truncate(0)
	if err == nil {
		_, err = l.file.Seek(0, 0)
	}
	if err != nil {
		return classify(err, "writing a blob")
	}
	l.size = 0
	l.sha.Reset()
	return nil
}

// Sum implements blob.Landing.
func (l *landing) Sum() [sha256.Size]byte { return [sha256.Size]byte(l.sha.Sum(nil)) }

// abort frees everything.
func (l *landing) abort() {
	_ = l.file.Close()
	_ = os.Remove(l.path)
	l.cache.release(l.reserved)
}

// drop takes the name from a file that is read and not kept. The caller holds the
// cache's lock.
func (l *landing) drop() {
	_ = os.Remove(l.path)
	l.cache.held -= l.reserved
}
