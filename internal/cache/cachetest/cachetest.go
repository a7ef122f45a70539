// Package cachetest states the contract of cache.Cache in executable form.
// Every cache, and every wrapper around one, runs it.
package cachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/format"
)

// EntryBytes is the size that a cache under test must be able to keep.
const EntryBytes = 32 << 10

// Run checks a cache. open gives an empty one that only this test uses, with a
// budget between 16 and 200 times EntryBytes (or none that it knows of).
func Run(t *testing.T, open func(t *testing.T) cache.Cache) {
	for _, c := range []struct {
		name string
		test func(*testing.T, cache.Cache)
	}{
		{"put then get", putThenGet},
		{"misses", misses},
		{"the last put wins", lastWins},
		{"entries are independent", independent},
		{"an entry outlives its purge", outlives},
		{"a body that is too short", short},
		{"a body that goes on", long},
		{"a body that fails", failing},
		{"too large to keep", tooLarge},
		{"list a source", list},
		{"purge a source", purge},
		{"purge beats a put begun before", purgeBeatsPut},
		{"the budget holds", budget},
		{"stats", stats},
		{"all at once", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("against a model", func(t *testing.T) { model(t, open) })
}

var (
	ctx = context.Background()
	now = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
)

// Key makes a key of source s and variant v.
func Key(s, v int) cache.Key {
	source := asset.Digest(sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(s))))
	return cache.Key{Source: source, Variant: asset.Variant(source, fmt.Sprint(v))}
}

// Rendition makes n bytes for a key, and their description. Other seeds give
// other bytes.
func Rendition(key cache.Key, seed, n int) (asset.Rendition, []byte) {
	var s [32]byte
	copy(s[:], key.Variant[:])
	s[31], s[30] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(s).Read(data)
	return asset.Rendition{
		Variant: key.Variant, Source: key.Source, Options: fmt.Sprintf("w=%d,fit=cover,q=80", 100+seed),
		Format: format.WebP, Width: 100 + seed, Height: 200, Pages: 1,
		Bytes: int64(n), Digest: sha256.Sum256(data), Created: now.Add(time.Duration(seed) * time.Second),
	}, data
}

// Read gives an entry's bytes, and closes it.
func Read(e *cache.Entry) ([]byte, error) {
	if e.File == nil {
		return e.Data, nil
	}
	data, err := io.ReadAll(io.LimitReader(e.File, e.Meta.Bytes))
	return data, errors.Join(err, e.Close())
}

func put(t *testing.T, c cache.Cache, key cache.Key, seed, n int) {
	t.Helper()
	meta, data := Rendition(key, seed, n)
	if err := c.Put(ctx, key, meta, bytes.NewReader(data)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// match tells whether an entry is what Rendition makes.
func match(e *cache.Entry, key cache.Key, seed, n int) error {
	meta, data := Rendition(key, seed, n)
	got, err := Read(e)
	switch {
	case err != nil:
		return err
	case !reflect.DeepEqual(e.Meta, meta):
		return fmt.Errorf("the entry says\n%+v, expected\n%+v", e.Meta, meta)
	case !bytes.Equal(got, data):
		return fmt.Errorf("the entry has %d bytes that are not the %d put", len(got), n)
	}
	return nil
}

func wantHit(t *testing.T, c cache.Cache, key cache.Key, seed, n int) {
	t.Helper()
	e, ok, err := c.Get(ctx, key)
	if !ok || err != nil {
		t.Fatalf("Get gave %v, %v; expected a hit", ok, err)
	}
	if err := match(e, key, seed, n); err != nil {
		t.Fatal(err)
	}
}

func wantMiss(t *testing.T, c cache.Cache, key cache.Key) {
	t.Helper()
	if e, ok, err := c.Get(ctx, key); ok || err != nil || e != nil {
		_ = e.Close()
		t.Fatalf("Get gave %v, %v, %v; expected a miss", e, ok, err)
	}
}

func putThenGet(t *testing.T, c cache.Cache) {
	for i, n := range []int{0, 1, 4095, 4096, EntryBytes} {
		put(t, c, Key(i, i), i, n)
		for range 3 {
			wantHit(t, c, Key(i, i), i, n)
		}
	}
}

func misses(t *testing.T, c cache.Cache) {
	wantMiss(t, c, Key(1, 1))
	put(t, c, Key(1, 1), 1, 10)
	wantMiss(t, c, Key(1, 2))
	wantMiss(t, c, Key(2, 1))
	wantMiss(t, c, cache.Key{Source: Key(2, 1).Source, Variant: Key(1, 1).Variant})
}

func lastWins(t *testing.T, c cache.Cache) {
	for i, n := range []int{1000, 9000, 10, 0, 5000} {
		put(t, c, Key(1, 1), i, n)
		wantHit(t, c, Key(1, 1), i, n)
	}
	if s := c.Stats(); s.Entries > 1 {
		t.Fatalf("%d entries are held, expected one", s.Entries)
	}
	if l, err := c.List(ctx, Key(1, 1).Source); err != nil || len(l) != 1 {
		t.Fatalf("List gave %+v, %v; expected one", l, err)
	}
}

func independent(t *testing.T, c cache.Cache) {
	put(t, c, Key(1, 1), 1, 10_000)
	a, ok, err := c.Get(ctx, Key(1, 1))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if a.File != nil {
		if _, err := a.File.Read(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	wantHit(t, c, Key(1, 1), 1, 10_000) // from the start, whatever a has read
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantHit(t, c, Key(1, 1), 1, 10_000)
}

func outlives(t *testing.T, c cache.Cache) {
	put(t, c, Key(1, 1), 1, 10_000)
	e, ok, err := c.Get(ctx, Key(1, 1))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	put(t, c, Key(1, 1), 2, 9_000)
	if err := c.Purge(ctx, Key(1, 1).Source); err != nil {
		t.Fatal(err)
	}
	if err := match(e, Key(1, 1), 1, 10_000); err != nil {
		t.Fatal(err)
	}
}

func short(t *testing.T, c cache.Cache) {
	meta, data := Rendition(Key(1, 1), 1, 10_000)
	for _, n := range []int{0, 1, 9_999} {
		if err := c.Put(ctx, Key(1, 1), meta, bytes.NewReader(data[:n])); err == nil {
			t.Fatalf("a body of %d instead of 10,000 bytes was taken", n)
		}
		wantMiss(t, c, Key(1, 1))
	}
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Fatalf("failed puts left %+v", s)
	}
}

func long(t *testing.T, c cache.Cache) {
	meta, data := Rendition(Key(1, 1), 1, 10_000)
	if err := c.Put(ctx, Key(1, 1), meta, io.MultiReader(bytes.NewReader(data), bytes.NewReader(data))); err != nil {
		t.Fatal(err)
	}
	wantHit(t, c, Key(1, 1), 1, 10_000)
}

func failing(t *testing.T, c cache.Cache) {
	meta, data := Rendition(Key(1, 1), 1, 10_000)
	broken := errors.New("the codec died")
	err := c.Put(ctx, Key(1, 1), meta, io.MultiReader(bytes.NewReader(data[:5000]), failingReader{broken}))
	if !errors.Is(err, broken) {
		t.Fatalf("Put gave %v, expected the body's error", err)
	}
	wantMiss(t, c, Key(1, 1))
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func tooLarge(t *testing.T, c cache.Cache) {
	limit := c.Stats().Budget
	if limit == 0 {
		t.Skip("the cache knows no budget")
	}
	put(t, c, Key(1, 1), 1, 1000)
	put(t, c, Key(1, 1), 2, int(limit)+1)
	wantMiss(t, c, Key(1, 1)) // not the earlier one: the last Put wins
	put(t, c, Key(1, 1), 3, 1000)
	wantHit(t, c, Key(1, 1), 3, 1000)
}
