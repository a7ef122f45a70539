package diskcache

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

const copyBytes = 128 << 10

var buffers = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// Put implements cache.Cache. An entry above MaxEntryBytes is not kept, and
// its body not read.
func (c *Cache) Put(ctx context.Context, key cache.Key, meta asset.Rendition, body io.Reader) error {
	if meta.Bytes < 0 {
		return fault.New(fault.Internal, "a rendition of %d bytes can't be cached", meta.Bytes)
	}
	meta.Source, meta.Variant = key.Source, key.Variant
	text, err := describe(meta)
	if err != nil {
		return classify(err, "describing a rendition")
	}
	put := c.begin(key.Source)
	defer c.end(put)
	cost := blocks(meta.Bytes + int64(len(text)) + trailerBytes)
	if meta.Bytes > c.maxEntry || !c.reserve(cost) {
		return c.keepNone(key, put)
	}
	temp, err := c.write(ctx, meta.Bytes, text, body)
	if err != nil {
		c.index.refund(cost)
		return err
	}
	return c.publish(key, put, cost, temp)
}

func (c *Cache) begin(source asset.Digest) *pending {
	p := &pending{source: source}
	s := c.stripe(source)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts[p] = struct{}{}
	return p
}

func (c *Cache) end(p *pending) {
	s := c.stripe(p.source)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.puts, p)
}

// reserve makes room. While the walk has not yet told what lies in the
// directory, all new entries together may take a twentieth of the budget.
func (c *Cache) reserve(cost uint32) bool {
	if !c.ready() && !c.index.early(cost) {
		return false
	}
	victims, ok := c.index.reserve(cost)
	c.evict(victims)
	return ok
}

// keepNone removes what an entry that is not kept would have replaced.
func (c *Cache) keepNone(key cache.Key, p *pending) error {
	s := c.stripe(key.Source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.purged {
		return nil
	}
	if err := c.unlink(key); err != nil {
		return classify(err, "removing a rendition")
	}
	c.index.remove(key)
	return nil
}

// write makes a temporary file of a body of so many bytes and its footer.
func (c *Cache) write(ctx context.Context, bytes int64, text []byte, body io.Reader) (temp string, err error) {
	var id [12]byte
	_, _ = rand.Read(id[:])
	name := filepath.Join(c.dir, tempDir, hex.EncodeToString(id[:]))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return "", classify(err, "creating a cached file")
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = classify(closeErr, "writing a cached file")
		}
		if err != nil {
			_ = os.Remove(name)
		}
	}()
	buf, _ := buffers.Get().(*[copyBytes]byte)
	defer buffers.Put(buf)
	sum := sha256.New()
	for left := bytes; left > 0; {
		n, err := body.Read(buf[:min(left, copyBytes)])
		sum.Write(buf[:n])
		left -= int64(n)
		if _, err := f.Write(buf[:n]); err != nil {
			return "", classify(err, "writing a cached file")
		}
		if err == nil {
			err = ctx.Err()
		}
		switch {
		case left == 0:
		case errors.Is(err, io.EOF):
			return "", fault.Wrap(fault.Internal, io.ErrUnexpectedEOF, "a rendition ended %d bytes too early", left)
		case err != nil:
			return "", err
		}
	}
	if _, err := f.Write(footer(text, bytes, sum.Sum(nil))); err != nil {
		return "", classify(err, "writing a cached file")
	}
	return name, nil
}

// publish gives a written file its name, unless its source was purged since
// the Put began.
func (c *Cache) publish(key cache.Key, p *pending, cost uint32, temp string) error {
	s := c.stripe(key.Source)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.purged {
		c.index.refund(cost)
		_ = os.Remove(temp)
		return nil
	}
	target := c.path(key)
	err := os.Rename(temp, target)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(c.sourceDir(key.Source), 0o750); err == nil {
			err = os.Rename(temp, target)
		}
	}
	if err != nil {
		c.index.refund(cost)
		_ = os.Remove(temp)
		return classify(err, "naming a cached file")
	}
	c.index.put(key, cost, time.Now())
	return nil
}
