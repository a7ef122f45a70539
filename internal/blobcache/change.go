package blobcache

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// change is a name that is being written or deleted where its blob lies. Until
// that is over nothing that is read of it is kept, since it may be the bytes from
// before.
type change struct {
	writers int
	several bool // at a time: whose bytes stay is not known
}

// begin says that a name is going to change. The caller must end it.
func (c *Cache) begin(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.detach(key)
	if now := c.changing[key]; now != nil {
		now.writers++
		now.several = true
		return
	}
	c.changing[key] = &change{writers: 1}
}

// end says that a name has changed, or may have. It tells whether nobody else was
// changing it meanwhile.
func (c *Cache) end(key string) (alone bool) {
	now := c.changing[key]
	if now.writers--; now.writers == 0 {
		delete(c.changing, key)
	}
	c.detach(key)
	return !now.several
}

// deleted ends the deletion of a name.
func (c *Cache) deleted(key string, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(key)
	if e := c.entries[key]; e != nil && gone {
		c.drop(e)
	}
}

// written ends the writing of a name. file, if not nil, has the bytes that were
// written, which are kept if nobody else was writing the name.
func (c *Cache) written(key string, file *os.File, sum [sha256.Size]byte) {
	temp, bytes := "", int64(0)
	if file != nil {
		temp, bytes = c.stage(file)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := c.end(key) && temp != ""
	e := c.entries[key]
	if e != nil && keep && e.sound && e.sum == sum {
		c.use(e)
	} else if e != nil {
		c.drop(e)
		e = nil
	}
	if e == nil && keep {
		e = &entry{key: key, sum: sum, bytes: bytes, sound: true}
		_ = os.Remove(c.path(e)) // of an entry that has gone and left its file
		if err := os.Rename(temp, c.path(e)); err == nil {
			c.insert(e)
			return
		}
	}
	if temp != "" {
		_ = os.Remove(temp)
		c.held -= bytes
	}
}

// stage gives a file another name, in the cache's temporary directory: without
// copying it where the file systems allow. It reserves the room for it. "" is one
// that can't be kept.
func (c *Cache) stage(file *os.File) (temp string, bytes int64) {
	info, err := file.Stat()
	if err != nil || !c.reserve(info.Size()) {
		return "", 0
	}
	temp = filepath.Join(c.dir, tempDir, rand.Text())
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", file.Fd()), unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		err = copyTo(temp, file)
	}
	if err != nil {
		_ = os.Remove(temp)
		c.release(info.Size())
		return "", 0
	}
	return temp, info.Size()
}

func copyTo(name string, from *os.File) error {
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
