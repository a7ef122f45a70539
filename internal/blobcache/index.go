package blobcache

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// touchEach is how exactly a file's time says when it was used.
const touchEach = time.Hour

// entry is a file that is kept. Its fields but sound and touched never change.
type entry struct {
	key     string
	sum     [sha256.Size]byte
	bytes   int64
	touched time.Time // about when the file's time was set
	sound   bool      // this process has seen that the bytes have the digest
	at      *list.Element
}

// maxKey leaves room in a file's name for a digest.
const maxKey = 180

// keyOf is a place and a name in letters that a file's name may have. Two never
// have the same key, but for long ones whose digests are the same.
func keyOf(place, name string) string {
	if place != "" {
		name = place + "//" + name // which no name of a blob has in it
	}
	var key strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c == '/':
			key.WriteByte(',')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~", c) >= 0:
			key.WriteByte(c)
		default:
			fmt.Fprintf(&key, "%%%02x", c)
		}
	}
	if key.Len() > maxKey {
		sum := sha256.Sum256([]byte(name))
		return "#" + hex.EncodeToString(sum[:])
	}
	return key.String()
}

// placeOf is the part of a key that is its place; "" is the store itself.
func placeOf(key string) string {
	place, _, found := strings.Cut(key, ",,")
	if !found {
		return ""
	}
	return place
}

func (c *Cache) path(e *entry) string {
	sum := hex.EncodeToString(e.sum[:])
	return c.dir + "/" + sum[:2] + "/" + e.key + "." + sum
}

// scan makes the directories, removes what was being fetched by a process that
// has died, and lists what is kept.
func (c *Cache) scan(unwanted func(file string) bool) error {
	left, err := os.ReadDir(filepath.Join(c.dir, tempDir))
	for _, f := range left {
		err = errors.Join(err, os.Remove(filepath.Join(c.dir, tempDir, f.Name())))
	}
	if err != nil {
		return err
	}
	var found []*entry
	for i := range 256 {
		dir := filepath.Join(c.dir, fmt.Sprintf("%02x", i))
		if err := os.Mkdir(dir, 0o750); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			if unwanted != nil && f.Type().IsRegular() && unwanted(f.Name()) {
				if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
					return err
				}
				continue
			}
			if e := described(f); e != nil {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return b.touched.Compare(a.touched) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range found {
		if c.entries[e.key] != nil || c.held+e.bytes > c.max { // a newer one has the name, or the budget was lowered
			if err := os.Remove(c.path(e)); err != nil {
				return err
			}
			continue
		}
		c.list(e)
		e.at = c.recent.PushBack(e)
		c.held += e.bytes
	}
	return nil
}

// described makes an entry of a file; nil is none of ours.
func described(f fs.DirEntry) *entry {
	dot := strings.LastIndexByte(f.Name(), '.')
	sum, err := hex.DecodeString(f.Name()[dot+1:])
	if dot < 1 || err != nil || len(sum) != sha256.Size {
		return nil
	}
	info, err := f.Info()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return &entry{key: f.Name()[:dot], sum: [sha256.Size]byte(sum), bytes: info.Size(), touched: info.ModTime()}
}

// use makes an entry the last used one. stale tells that its file's time should
// be brought up to date. The caller holds the lock, as in what follows.
func (c *Cache) use(e *entry) (stale bool) {
	c.recent.MoveToFront(e.at)
	if now := time.Now(); now.Sub(e.touched) > touchEach {
		e.touched, stale = now, true
	}
	return stale
}

// touch sets a file's time, which only tells what goes first after a restart.
func (c *Cache) touch(e *entry) {
	now := time.Now()
	_ = os.Chtimes(c.path(e), now, now)
}

// drop lets go of an entry and its file.
func (c *Cache) drop(e *entry) {
	if c.entries[e.key] != e {
		return
	}
	delete(c.entries, e.key)
	if place := placeOf(e.key); place != "" {
		if delete(c.places[place], e.key); len(c.places[place]) == 0 {
			delete(c.places, place)
		}
	}
	c.recent.Remove(e.at)
	c.held -= e.bytes
	_ = os.Remove(c.path(e)) // what stays is found at the next start
}

// lost drops an entry whose file has gone, or has other bytes than it should.
func (c *Cache) lost(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[e.key] == e {
		c.corrupt.Add(1)
		c.drop(e)
	}
}

// list has an entry found by its key, and by its place.
func (c *Cache) list(e *entry) {
	c.entries[e.key] = e
	if place := placeOf(e.key); place != "" {
		if c.places[place] == nil {
			c.places[place] = map[string]struct{}{}
		}
		c.places[place][e.key] = struct{}{}
	}
}

// insert takes an entry in whose file has its name and whose bytes are counted.
func (c *Cache) insert(e *entry) {
	e.touched = time.Now()
	c.list(e)
	e.at = c.recent.PushFront(e)
}

// evict lets go of the entry that nobody has used for longest; false is none.
func (c *Cache) evict() bool {
	last := c.recent.Back()
	if last == nil {
		return false
	}
	c.drop(last.Value.(*entry))
	c.evictions.Add(1)
	return true
}

// reserve counts bytes that are about to be written, and makes room for them. It
// tells false, and counts nothing, where they don't fit beside what is being
// fetched now.
func (c *Cache) reserve(bytes int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.held+bytes > c.max {
		if !c.evict() {
			return false
		}
	}
	if free, err := c.FreeBytes(); err == nil && c.spare > 0 {
		// Counted and not looked at again: file systems may free what was removed
		// somewhat later.
		for before := c.held; before-c.held < c.spare+bytes-free && c.evict(); {
			continue
		}
	}
	c.held += bytes
	return true
}

// release takes back what was reserved.
func (c *Cache) release(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held -= bytes
}
