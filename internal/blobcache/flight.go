package blobcache

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// flight brings one blob here, for all who ask for it at the same time: from a
// file of an earlier process, if that is whole, or from where it lies. Unlike in
// x/sync/singleflight, the last one to go away ends the work.
type flight struct {
	key    string
	cancel context.CancelFunc
	done   chan struct{} // closed when what follows is set
	file   *os.File
	sum    [sha256.Size]byte
	at     time.Time
	err    error

	members  int  // guarded by Cache.mu, as what follows
	stale    bool // the name was written or deleted meanwhile: the bytes are not kept
	finished bool
}

// join starts a flight or gets into the one that is under way. The caller must
// leave it.
func (c *Cache) join(ctx context.Context, key string, fetch blob.Fetch) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fault.New(fault.Unavailable, "the server is stopping")
	}
	if f, ok := c.flights[key]; ok {
		f.members++
		c.hits.Add(1)
		return f, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stay := context.AfterFunc(c.life, cancel)
	f := &flight{key: key, cancel: cancel, done: make(chan struct{}), members: 1, stale: c.changing[key] != nil}
	c.flights[key] = f
	c.work.Go(func() {
		defer stay()
		c.bring(ctx, f, fetch)
		c.mu.Lock()
		defer c.mu.Unlock()
		f.finished = true
		c.unlist(f)
		close(f.done)
		if f.members == 0 {
			f.free()
		}
	})
	return f, nil
}

func (c *Cache) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.members--; f.members > 0 {
		return
	}
	f.cancel()
	c.unlist(f)
	if f.finished {
		f.free()
	}
}

// unlist lets the next who asks start a new flight.
func (c *Cache) unlist(f *flight) {
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
}

// detach has a flight's bytes go to those who wait for them, and to nobody else.
func (c *Cache) detach(key string) {
	if f := c.flights[key]; f != nil {
		f.stale = true
		delete(c.flights, key)
	}
}

func (f *flight) free() {
	f.cancel()
	if f.file != nil {
		_ = f.file.Close()
	}
}

// bring does the work of a flight.
func (c *Cache) bring(ctx context.Context, f *flight, fetch blob.Fetch) {
	file, sum, err := c.recover(ctx, f)
	if err != nil {
		f.err = err
		return
	}
	if file != nil {
		c.hits.Add(1)
		f.file, f.sum, f.at = file, sum, time.Now()
		return
	}
	c.misses.Add(1)
	l, err := c.land()
	if err != nil {
		f.err = err
		return
	}
	if err := fetch(ctx, l); err != nil {
		l.abort()
		f.err = err
		return
	}
	c.fetched.Add(l.size)
	f.file, f.sum, f.at = l.file, l.Sum(), time.Now()
	c.take(f, l)
}

// recover looks at the file of an entry that this process has not seen yet. Where
// its bytes are not what they were, it goes; nil is none.
func (c *Cache) recover(ctx context.Context, f *flight) (file *os.File, sum [sha256.Size]byte, err error) {
	c.mu.Lock()
	e := c.entries[f.key]
	c.mu.Unlock()
	if e == nil {
		return nil, sum, nil
	}
	file, err = os.Open(c.path(e))
	if errors.Is(err, fs.ErrNotExist) {
		c.lost(e)
		return nil, sum, nil
	}
	if err != nil {
		return nil, sum, classify(err, "opening a blob")
	}
	h := sha256.New()
	_, err = io.Copy(h, &whileWanted{ctx, file})
	if err == nil && [sha256.Size]byte(h.Sum(nil)) == e.sum {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.sound = true
		if c.entries[e.key] == e {
			c.use(e)
		}
		return file, e.sum, nil
	}
	_ = file.Close()
	if ctx.Err() != nil {
		return nil, sum, canceled(ctx)
	}
	c.lost(e)
	return nil, sum, nil
}

// whileWanted reads until a context ends.
type whileWanted struct {
	ctx  context.Context
	from io.Reader
}

func (r *whileWanted) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// take keeps what a flight has fetched, if it may be kept and fits.
func (c *Cache) take(f *flight, l *landing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.stale || l.over || c.entries[f.key] != nil {
		l.drop()
		return
	}
	e := &entry{key: f.key, sum: f.sum, bytes: l.size, sound: true}
	if err := os.Rename(l.path, c.path(e)); err != nil {
		l.drop()
		return
	}
	c.held += l.size - l.reserved
	c.insert(e)
}
