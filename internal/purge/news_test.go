package purge

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
)

// notebook notes what is to be forgotten.
type notebook struct {
	mu    sync.Mutex
	names []Name
	all   int
	gate  chan struct{} // if set, waited for
	check func()        // if set, called by Forget
}

func (n *notebook) Forget(_ context.Context, names []Name) {
	if n.gate != nil {
		<-n.gate
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names = append(n.names, names...)
	if n.check != nil {
		n.check()
	}
}

func (n *notebook) ForgetAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all++
}

func (n *notebook) counts() (names, all int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.names), n.all
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestHear: what another node has deleted is forgotten, in the order that keeps
// prepared answers true, and its renditions go if no image has the source.
func TestHear(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	book := &notebook{}
	f.Answers = book
	used := f.add(t, "main", "used", "one").Source.Digest
	unused := asset.Digest{1}
	counter := f.Epochs().Of("main", "k")
	before := counter.Load()
	book.check = func() {
		if counter.Load() != before {
			t.Error("prepared answers are forgotten before those that they are prepared from")
		}
	}
	f.Hear(t.Context(), News{Names: []Name{{"main", "k"}}, Sources: []asset.Digest{used, unused}})
	if counter.Load() == before || !slices.Equal(book.names, []Name{{"main", "k"}}) {
		t.Errorf("forgotten are %v", book.names)
	}
	for i, c := range f.caches {
		if !slices.Equal(c.purged, []asset.Digest{unused}) {
			t.Errorf("cache %d has purged %v", i, c.purged)
		}
	}
	f.HearAll()
	if book.all != 1 || counter.Load() != before+2 {
		t.Error("not all is forgotten")
	}
}

// TestTell: others are told of what goes here.
func TestTell(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var told []News
	f.Tell = func(n News) { told = append(told, n) }
	img := f.add(t, "main", "k", "one")
	if err := f.Delete(t.Context(), "main", img.ID); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !slices.Equal(told[0].Names, []Name{{"main", img.ID.String()}, {"main", "k"}}) || !slices.Equal(told[0].Sources, []asset.Digest{img.Source.Digest}) {
		t.Errorf("told was %+v", told)
	}
	if err := f.Delete(t.Context(), "main", img.ID); err == nil || len(told) != 1 {
		t.Errorf("deleted twice: %v, told %d times", err, len(told))
	}
}

// blocked is a janitor that does not answer until it is let.
type blocked struct {
	catalog.Janitor
	gate chan struct{}
}

func (b blocked) Used(context.Context, asset.Digest) (bool, error) {
	<-b.gate
	return false, nil
}

// TestEar: names do not wait for a slow database, nobody who passes news on waits
// for a slow Redis, and when there is too much everything is forgotten.
func TestEar(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	book, db := &notebook{gate: make(chan struct{})}, blocked{f.db, make(chan struct{})}
	f.Answers, f.Janitor = book, db
	e := f.Ear()
	const many = maxNews + 10
	for i := range many {
		e.Hear(News{Names: []Name{{"main", "k"}}, Sources: []asset.Digest{{byte(i)}}})
	}
	close(book.gate)
	eventually(t, "names wait for the database", func() bool {
		names, all := book.counts()
		return names >= maxNews && all == 1
	})
	if len(f.caches[0].purged) != 0 {
		t.Error("purged without asking")
	}
	close(db.gate)
	e.Lost()
	eventually(t, "what was lost is not taken in", func() bool { _, all := book.counts(); return all == 2 })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e.Hear(News{Names: []Name{{"main", "k"}}}) // nobody waits
}
