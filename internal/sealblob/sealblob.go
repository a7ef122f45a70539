// Package sealblob encrypts what another store keeps: whoever reads its disk or
// bucket learns names, sizes and times, and nothing of the bytes. Blobs that were
// stored before there was a key, or under an earlier one, can be read as long as
// that key is configured, and are sealed anew by Reseal.
package sealblob

import (
	"context"
	"io"
	"io/fs"
	"strings"
	"time"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// Store is a blob.Store that seals. A sealed blob has, in the store below, its
// name with a suffix that tells the key. It is safe for concurrent use.
type Store struct {
	below blob.Store
	keys  []*key // the first one seals
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Sweeper   = (*Store)(nil)
	_ blob.Roomer    = (*Store)(nil)
	_ blob.Forgetter = (*Store)(nil)
	_ blob.Resealer  = (*Store)(nil)
)

// New makes a store over another one. There must be a key.
func New(below blob.Store, keys *Keys) *Store { return &Store{below, keys.all} }

// names are under which a blob may be found below, the likeliest first.
func (s *Store) names(name string) ([]string, error) {
	if !fs.ValidPath(name) || name == "." || strings.ContainsRune(name, 0) {
		return nil, fault.New(fault.Invalid, "the name of a blob is not a plain path")
	}
	all := make([]string, 0, len(s.keys)+1)
	for _, k := range s.keys {
		all = append(all, name+k.suffix)
	}
	return append(all, name), nil
}

// find calls fn with one name after the other until it finds something. The names
// with a key come once more at the end: a blob that is sealed anew meanwhile has
// left the name where it was before it was looked for there, and has got the other
// one after.
func (s *Store) find(name string, fn func(stored string) error) error {
	names, err := s.names(name)
	if err != nil {
		return err
	}
	for _, stored := range append(names, names[:len(s.keys)]...) {
		if err = fn(stored); err == nil || fault.Of(err) != fault.NotFound {
			break
		}
	}
	return err
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, name string) (found blob.Info, err error) {
	err = s.find(name, func(stored string) error {
		info, err := s.below.Stat(ctx, stored)
		if err != nil {
			return err
		}
		found, err = plainInfo(info)
		return err
	})
	return found, err
}

// plainInfo tells of a blob what is stored of it.
func plainInfo(info blob.Info) (blob.Info, error) {
	name, end := unsealed(info.Name)
	if end == "" {
		return info, nil
	}
	size, err := plainSize(info.Bytes)
	return blob.Info{Name: name, Bytes: size, Modified: info.Modified}, err
}

// Delete implements blob.Store. The blob goes in all the forms that there are of
// it, and the one that is read last.
func (s *Store) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	names, err := s.names(name)
	if err != nil {
		return false, err
	}
	for i := len(names) - 1; i >= 0; i-- {
		if gone, err := s.below.Delete(ctx, names[i], unless); err != nil || !gone {
			return false, err
		}
	}
	return true, nil
}

// List implements blob.Store. A blob that lies there in two forms is told twice.
func (s *Store) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	return s.below.List(ctx, prefix, func(info blob.Info) error {
		plain, err := plainInfo(info)
		if err != nil {
			plain = info // no blob of ours; whoever lists does not know its name
		}
		return fn(plain)
	})
}

// SweepTemp implements blob.Sweeper.
func (s *Store) SweepTemp(ctx context.Context, olderThan time.Duration) (int, error) {
	if sweeper, ok := s.below.(blob.Sweeper); ok {
		return sweeper.SweepTemp(ctx, olderThan)
	}
	return 0, nil
}

// FreeBytes implements blob.Roomer; below a store that does not know, there is
// room without end.
func (s *Store) FreeBytes() (int64, error) {
	if roomer, ok := s.below.(blob.Roomer); ok {
		return roomer.FreeBytes()
	}
	return 1 << 62, nil
}

// Forget implements blob.Forgetter.
func (s *Store) Forget(name string) {
	forgetter, ok := s.below.(blob.Forgetter)
	if names, err := s.names(name); ok && err == nil {
		for _, stored := range names {
			forgetter.Forget(stored)
		}
	}
}

// Stale implements blob.Resealer.
func (s *Store) Stale(ctx context.Context, prefix string, fn func(name string) error) error {
	return s.below.List(ctx, prefix, func(info blob.Info) error {
		name, end := unsealed(info.Name)
		if end == s.keys[0].suffix {
			return nil
		}
		return fn(name)
	})
}

// Reseal implements blob.Resealer.
func (s *Store) Reseal(ctx context.Context, name string, read func(context.Context) (blob.Reader, error)) error {
	names, err := s.names(name)
	if err != nil {
		return err
	}
	_, err = s.below.Stat(ctx, names[0])
	if err != nil && fault.Of(err) == fault.NotFound {
		err = s.copy(ctx, name, read)
	}
	if err == nil {
		err = s.sound(ctx, names[0])
	}
	if err != nil {
		return err
	}
	for _, stored := range names[1:] {
		if _, err := s.below.Delete(ctx, stored, time.Now().Add(time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

// sound reads back what is stored under a name, from where it lies: other forms of
// it are about to go.
func (s *Store) sound(ctx context.Context, stored string) error {
	if forgetter, ok := s.below.(blob.Forgetter); ok {
		forgetter.Forget(stored)
	}
	below, err := s.below.Open(ctx, stored)
	if err != nil {
		return err
	}
	defer below.Close()
	r, err := open(s.keys, below)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

func (s *Store) copy(ctx context.Context, name string, read func(context.Context) (blob.Reader, error)) error {
	r, err := read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := s.create(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := pour(w, r, r.Info().Bytes); err != nil {
		return err
	}
	return w.Commit(ctx, name)
}
