package blobcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// Store is a store whose blobs are read through a cache. Another process may write
// to it too, as long as nobody gives a name other bytes that would not do as well:
// names by digest never get any. It is safe for concurrent use.
type Store struct {
	blob.Store
	cache *Cache
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Roomer    = (*Store)(nil)
	_ blob.Forgetter = (*Store)(nil)
)

// NewStore wraps a store. Several may share a cache if no name can be in two.
func NewStore(store blob.Store, cache *Cache) *Store { return &Store{store, cache} }

// Create implements blob.Store. What is committed is in the cache at once if the
// store's writers are blob.Filers.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	w, err := s.Store.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &writer{w, s.cache}, nil
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, name string) (blob.Reader, error) {
	return s.cache.Open(ctx, "", name, func(ctx context.Context, to blob.Landing) error {
		r, err := s.Store.Open(ctx, name)
		if err != nil {
			return err
		}
		defer r.Close()
		return land(to, r)
	})
}

// land fetches all of a blob, and holds it against what was noted of it.
func land(to blob.Landing, r blob.Reader) error {
	n, err := io.Copy(to, r)
	if err != nil {
		return err
	}
	info, sum := r.Info(), to.Sum()
	if got := hex.EncodeToString(sum[:]); n != info.Bytes || info.SHA256 != "" && info.SHA256 != got {
		return blob.Damage(fmt.Errorf("%s came with %d bytes and the SHA-256 %s, and was written with %d and %s", info.Name, n, got, info.Bytes, info.SHA256))
	}
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	key := keyOf("", name)
	s.cache.begin(key)
	gone, err := s.Store.Delete(ctx, name, unless)
	s.cache.deleted(key, gone || err != nil)
	return gone, err
}

// FreeBytes implements blob.Roomer: what is written and read needs room on this
// node.
func (s *Store) FreeBytes() (int64, error) { return s.cache.FreeBytes() }

// Forget implements blob.Forgetter.
func (s *Store) Forget(name string) { s.cache.Forget("", name) }

// writer puts what it has committed into the cache.
type writer struct {
	blob.Writer
	cache *Cache
}

var (
	_ blob.Filer    = (*writer)(nil)
	_ blob.Digester = (*writer)(nil)
)

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context, name string) error {
	file, sum := w.bytes()
	if file != nil {
		defer file.Close()
	}
	key := keyOf("", name)
	w.cache.begin(key)
	err := w.Writer.Commit(ctx, name)
	if err != nil {
		w.cache.written(key, nil, sum)
		return err
	}
	w.cache.written(key, file, sum)
	return nil
}

// bytes is what was written, where that can be had without effort; nil otherwise.
func (w *writer) bytes() (file *os.File, sum [sha256.Size]byte) {
	sum, known := w.Digest()
	filer, ok := w.Writer.(blob.Filer)
	if !known || !ok {
		return nil, sum
	}
	file, err := filer.File()
	if err != nil {
		return nil, sum
	}
	return file, sum
}

// File implements blob.Filer where the store's writers do.
func (w *writer) File() (*os.File, error) {
	if filer, ok := w.Writer.(blob.Filer); ok {
		return filer.File()
	}
	return nil, fault.New(fault.Internal, "the store's temporary space is not local")
}

// Digest implements blob.Digester where the store's writers do.
func (w *writer) Digest() (sum [sha256.Size]byte, known bool) {
	if d, ok := w.Writer.(blob.Digester); ok {
		return d.Digest()
	}
	return sum, false
}
