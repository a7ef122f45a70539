package sealblob

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"path/filepath"
	"strings"

	"safelight/internal/blob"
)

// keeper keeps files, and fetches what it has not.
type keeper interface {
	Open(ctx context.Context, place, name string, fetch blob.Fetch) (blob.Reader, error)
	Forget(place, name string)
	ForgetPlace(place string)
}

// Cache seals what a cache of blobs keeps. It is safe for concurrent use.
type Cache struct {
	below keeper
	keys  []*key // the first one seals
}

// NewCache makes a cache over another one. There must be a key.
func NewCache(below keeper, keys *Keys) *Cache { return &Cache{below, keys.all} }

// Sealed tells whether a file of such a cache is one that was sealed, by its path.
func Sealed(path string) bool { return strings.Contains(filepath.Base(path), suffix) }

// Open reads the blob of a name, as the cache below does. What was kept under an
// earlier key is fetched again.
func (c *Cache) Open(ctx context.Context, place, name string, fetch blob.Fetch) (blob.Reader, error) {
	below, err := c.below.Open(ctx, place, name+c.keys[0].suffix, func(ctx context.Context, to blob.Landing) error {
		l := &landing{to: to, key: c.keys[0]}
		if err := l.Reset(); err != nil {
			return err
		}
		if err := fetch(ctx, l); err != nil {
			return err
		}
		return l.finish()
	})
	if err != nil {
		return nil, err
	}
	r, err := open(c.keys, below)
	if err != nil {
		return nil, errors.Join(err, below.Close())
	}
	return r, nil
}

// Forget drops what is kept of a name, sealed or not.
func (c *Cache) Forget(place, name string) {
	for _, k := range c.keys {
		c.below.Forget(place, name+k.suffix)
	}
	c.below.Forget(place, name)
}

// ForgetPlace drops what is kept of all names of a place.
func (c *Cache) ForgetPlace(place string) { c.below.ForgetPlace(place) }

// landing seals what is fetched, and knows what it was.
type landing struct {
	*sealer
	to  blob.Landing
	key *key
	sha hash.Hash
}

var _ blob.Landing = (*landing)(nil)

// Reset implements blob.Landing.
func (l *landing) Reset() error {
	if err := l.to.Reset(); err != nil {
		return err
	}
	l.sha = sha256.New()
	var err error
	l.sealer, err = l.key.newSealer(l.to)
	return err
}

// Write implements io.Writer.
func (l *landing) Write(p []byte) (int, error) {
	n, err := l.sealer.Write(p)
	l.sha.Write(p[:n])
	return n, err
}

// Sum implements blob.Landing.
func (l *landing) Sum() [sha256.Size]byte { return [sha256.Size]byte(l.sha.Sum(nil)) }
