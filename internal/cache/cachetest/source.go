package cachetest

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/cache"
)

func list(t *testing.T, c cache.Cache) {
	expected := map[asset.VariantKey]asset.Rendition{}
	for v := range 5 {
		put(t, c, Key(1, v), v, 100+v)
		put(t, c, Key(2, v), v, 200+v)
		expected[Key(1, v).Variant], _ = Rendition(Key(1, v), v, 100+v)
	}
	got, err := c.List(ctx, Key(1, 0).Source)
	if err != nil || len(got) != len(expected) {
		t.Fatalf("List gave %d renditions, %v; expected %d", len(got), err, len(expected))
	}
	for _, r := range got {
		if !reflect.DeepEqual(r, expected[r.Variant]) {
			t.Fatalf("List says\n%+v, expected\n%+v", r, expected[r.Variant])
		}
	}
	if got, err := c.List(ctx, Key(3, 0).Source); err != nil || len(got) != 0 {
		t.Fatalf("List of an unknown source gave %+v, %v", got, err)
	}
}

func purge(t *testing.T, c cache.Cache) {
	for v := range 5 {
		put(t, c, Key(1, v), v, 1000)
		put(t, c, Key(2, v), v, 1000)
	}
	for range 2 { // what is there, and then nothing
		if err := c.Purge(ctx, Key(1, 0).Source); err != nil {
			t.Fatal(err)
		}
	}
	for v := range 5 {
		wantMiss(t, c, Key(1, v))
		wantHit(t, c, Key(2, v), v, 1000)
	}
	if got, err := c.List(ctx, Key(1, 0).Source); err != nil || len(got) != 0 {
		t.Fatalf("List of a purged source gave %+v, %v", got, err)
	}
	put(t, c, Key(1, 1), 9, 1000)
	wantHit(t, c, Key(1, 1), 9, 1000)
}

// gate is a body that stops in the middle until it is let go.
type gate struct {
	io.Reader
	reached, release chan struct{}
	once             sync.Once
}

func (g *gate) Read(p []byte) (int, error) {
	g.once.Do(func() { close(g.reached); <-g.release })
	return g.Reader.Read(p)
}

func purgeBeatsPut(t *testing.T, c cache.Cache) {
	meta, data := Rendition(Key(1, 1), 1, 10_000)
	body := &gate{Reader: bytes.NewReader(data), reached: make(chan struct{}), release: make(chan struct{})}
	done := make(chan error)
	go func() { done <- c.Put(ctx, Key(1, 1), meta, body) }()
	<-body.reached
	put(t, c, Key(2, 1), 2, 1000)
	if err := c.Purge(ctx, Key(1, 1).Source); err != nil {
		t.Fatal(err)
	}
	put(t, c, Key(1, 2), 3, 1000) // begun after the purge
	close(body.release)
	if err := <-done; err != nil {
		t.Fatalf("a Put that was overtaken by a Purge gave %v", err)
	}
	wantMiss(t, c, Key(1, 1))
	wantHit(t, c, Key(1, 2), 3, 1000)
	wantHit(t, c, Key(2, 1), 2, 1000)
	put(t, c, Key(1, 1), 4, 1000)
	wantHit(t, c, Key(1, 1), 4, 1000)
}

func wantBudget(c cache.Cache) error {
	if s := c.Stats(); s.Budget > 0 && s.Bytes > s.Budget+s.Budget/20 || s.Bytes < 0 || s.Entries < 0 {
		return fmt.Errorf("the cache holds %d bytes in %d entries; its budget is %d", s.Bytes, s.Entries, s.Budget)
	}
	return nil
}

func budget(t *testing.T, c cache.Cache) {
	limit := c.Stats().Budget
	if limit == 0 {
		t.Skip("the cache knows no budget")
	}
	var puts int64
	for total := int64(0); total < 3*limit; total += EntryBytes {
		put(t, c, Key(int(puts), 1), 1, EntryBytes)
		puts++
		if err := wantBudget(c); err != nil {
			t.Fatalf("after %d puts: %v", puts, err)
		}
	}
	held := int64(0)
	for i := range puts {
		e, ok, err := c.Get(ctx, Key(int(i), 1))
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			held++
			if err := match(e, Key(int(i), 1), 1, EntryBytes); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := c.Stats()
	if held*EntryBytes < limit/2 || s.Entries != held {
		t.Fatalf("%d entries of %d bytes are held, and Stats says %+v", held, EntryBytes, s)
	}
	if s.Evictions+held < puts {
		t.Fatalf("%d puts left %d entries, but Stats says %+v", puts, held, s)
	}
}

func stats(t *testing.T, c cache.Cache) {
	before := c.Stats()
	if before.Entries != 0 || before.Bytes != 0 {
		t.Fatalf("an empty cache says %+v", before)
	}
	wantMiss(t, c, Key(1, 1))
	put(t, c, Key(1, 1), 1, 10_000)
	wantHit(t, c, Key(1, 1), 1, 10_000)
	wantHit(t, c, Key(1, 1), 1, 10_000)
	wantMiss(t, c, Key(2, 1))
	s := c.Stats()
	held := s.Entries == 1 && s.Bytes >= 10_000
	if s.Elsewhere {
		held = s.Entries == 0 && s.Bytes == 0
	}
	if s.Hits != before.Hits+2 || s.Misses != before.Misses+2 || !held || s.Corrupt != 0 {
		t.Fatalf("Stats says %+v after 2 hits and 2 misses with one entry", s)
	}
	if err := c.Purge(ctx, Key(1, 1).Source); err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Fatalf("Stats says %+v after everything was purged", s)
	}
}

// concurrent lets everything happen at once on few keys; entries must be whole.
func concurrent(t *testing.T, c cache.Cache) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 120 {
				key, seed := Key(i%7, (i+w)%5), (i*w)%4
				switch (i + w) % 10 {
				case 0:
					if err := c.Purge(ctx, key.Source); err != nil {
						t.Errorf("Purge: %v", err)
					}
				case 1:
					if _, err := c.List(ctx, key.Source); err != nil {
						t.Errorf("List: %v", err)
					}
				case 2, 3, 4:
					meta, data := Rendition(key, seed, 20_000+seed)
					if err := c.Put(ctx, key, meta, bytes.NewReader(data)); err != nil {
						t.Errorf("Put: %v", err)
					}
				default:
					e, ok, err := c.Get(ctx, key)
					if err != nil {
						t.Errorf("Get: %v", err)
					} else if ok {
						if err := match(e, key, int(e.Meta.Bytes)-20_000, int(e.Meta.Bytes)); err != nil {
							t.Error(err)
						}
					}
				}
				if err := wantBudget(c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for s := range 7 {
		if err := c.Purge(ctx, Key(s, 0).Source); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Fatalf("Stats says %+v after everything was purged", s)
	}
}

// model puts, gets and purges at random: a hit is always what was put last.
func model(t *testing.T, open func(t *testing.T) cache.Cache) {
	type version struct{ seed, n int }
	c := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		for s := range 6 {
			if err := c.Purge(ctx, Key(s, 0).Source); err != nil {
				rt.Fatal(err)
			}
		}
		last := map[cache.Key]version{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			key := Key(rapid.IntRange(0, 5).Draw(rt, "source"), rapid.IntRange(0, 5).Draw(rt, "variant"))
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				if err := c.Purge(ctx, key.Source); err != nil {
					rt.Fatal(err)
				}
				for k := range last {
					if k.Source == key.Source {
						delete(last, k)
					}
				}
			case 1, 2, 3, 4, 5:
				v := version{rapid.IntRange(0, 99).Draw(rt, "seed"), rapid.IntRange(0, 2*EntryBytes).Draw(rt, "bytes")}
				meta, data := Rendition(key, v.seed, v.n)
				if err := c.Put(ctx, key, meta, bytes.NewReader(data)); err != nil {
					rt.Fatal(err)
				}
				last[key] = v
			}
			e, ok, err := c.Get(ctx, key)
			v, known := last[key]
			switch {
			case err != nil:
				rt.Fatal(err)
			case ok && !known:
				rt.Fatal("what was purged, or never put, is a hit")
			case ok:
				if err := match(e, key, v.seed, v.n); err != nil {
					rt.Fatal(err)
				}
			}
			if err := wantBudget(c); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
