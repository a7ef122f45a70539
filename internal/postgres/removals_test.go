package postgres_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/postgres"
)

// hesitant deletes as a service far away may: whatever it is told to spare, and
// some time after it has looked.
type hesitant struct {
	blob.Store
}

func (s hesitant) Delete(ctx context.Context, name string, _ time.Time) (bool, error) {
	time.Sleep(rand.N(3 * time.Millisecond))
	return s.Store.Delete(ctx, name, time.Now().Add(time.Hour))
}

// home is a node's home store in a directory that others share.
func home(t *testing.T, dir, node string, db *postgres.DB) *blob.Home {
	t.Helper()
	store, err := diskblob.Open(diskblob.Config{Dir: dir, Node: node})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	h := blob.NewHome(hesitant{store})
	h.Fence = db
	return h
}

// imageOf is a new image of some bytes, with its id for a key.
func imageOf(text string) catalog.NewImage {
	n := catalogtest.NewImage("o", 1)
	n.Image.Source.Digest = sha256.Sum256([]byte(text))
	n.Keys = []string{n.Image.ID.String()}
	return n
}

// put uploads some bytes as ingest does.
func put(ctx context.Context, h *blob.Home, db *postgres.DB, n catalog.NewImage, data string) error {
	w, err := h.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write([]byte(data)); err != nil {
		return err
	}
	name := blob.SourceName(n.Image.Source.Digest.String())
	defer h.Keep(name)()
	if err := w.Commit(ctx, name); err != nil {
		return err
	}
	if _, err := db.Commit(ctx, catalog.Change{Images: []catalog.NewImage{n}}); err != nil {
		return err
	}
	_, err = h.Stat(ctx, name)
	return err
}

// TestRemovalsMeetUploads has nodes upload and delete the same few bytes, and
// remove what nobody uses, over and over: whenever an upload has succeeded and
// the image is there, so are its bytes.
func TestRemovalsMeetUploads(t *testing.T) {
	t.Parallel()
	cfg, dir := config(fresh(t)), t.TempDir()
	ctx := t.Context()
	data := []string{"one", "two", "three"}
	var wg sync.WaitGroup
	for n := range 3 {
		db := openQueue(t, cfg, tasksConfig()).db
		h := home(t, dir, fmt.Sprint("node", n), db)
		for range 2 {
			wg.Go(func() {
				for range 60 {
					text := data[rand.N(len(data))]
					n := imageOf(text)
					err := put(ctx, h, db, n, text)
					if fault.Of(err) == fault.Unavailable || fault.Of(err) == fault.NotFound {
						continue // refused
					}
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(rand.N(6 * time.Millisecond)) // others remove meanwhile
					if _, err := h.Stat(ctx, blob.SourceName(n.Image.Source.Digest.String())); err != nil {
						t.Errorf("the bytes of an image that was stored are gone: %v", err)
						return
					}
					if _, err := db.Commit(ctx, catalog.Change{Deletes: []catalog.Delete{{Owner: "o", ID: n.Image.ID}}}); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(rand.N(20 * time.Millisecond)) // nobody uses them
				}
			})
		}
		wg.Go(func() {
			for i := range 120 {
				d := asset.Digest(sha256.Sum256([]byte(data[i%len(data)])))
				_, err := h.Remove(ctx, blob.SourceName(d.String()), time.Now(), func() (bool, error) {
					used, err := db.Used(ctx, d)
					return !used, err
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestRaise: what stands while bytes are removed, and for how long.
func TestRaise(t *testing.T) {
	t.Parallel()
	cfg := config(fresh(t))
	a, b := openQueue(t, cfg, tasksConfig()).db, openQueue(t, cfg, tasksConfig()).db
	ctx := t.Context()
	digest := asset.Digest(sha256.Sum256([]byte("x")))
	store := func(text string) error {
		n := imageOf(text)
		_, err := b.Commit(ctx, catalog.Change{Images: []catalog.NewImage{n}})
		return err
	}
	lower, err := a.Raise(ctx, digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := store("x"); fault.Of(err) != fault.Unavailable || fault.As(err).RetryAfter != time.Second {
		t.Errorf("while its bytes are removed an image is stored with %v", err)
	}
	if err := store("y"); err != nil {
		t.Errorf("another image is stored with %v", err)
	}
	if _, err := b.Raise(ctx, digest.String()); fault.Of(err) != fault.Conflict || err == nil {
		t.Errorf("another node begins to remove the same with %v", err)
	}
	if err := lower(ctx); err != nil {
		t.Fatal(err)
	}
	if err := store("x"); err != nil {
		t.Errorf("afterwards the image is stored with %v", err)
	}
	if _, err := a.Raise(ctx, "not a digest"); err == nil {
		t.Error("what is no digest was taken")
	}
	if _, err := a.Raise(ctx, digest.String()); err != nil { // and its node dies
		t.Fatal(err)
	}
	if _, err := a.Pool().Exec(ctx, `UPDATE removals SET until = 1`); err != nil {
		t.Fatal(err)
	}
	if err := store("x"); err != nil {
		t.Errorf("after the time of a removal the image is stored with %v", err)
	}
	lower, err = b.Raise(ctx, digest.String())
	if err != nil {
		t.Errorf("after the time of a removal another begins with %v", err)
	} else if err := lower(ctx); err != nil {
		t.Error(err)
	}
}

// failing can't delete.
type failing struct{ blob.Store }

func (failing) Delete(context.Context, string, time.Time) (bool, error) {
	return false, fault.New(fault.Timeout, "who knows")
}

// TestRemoveLowers: what is known to be over ends at once, and what may still
// happen does not.
func TestRemoveLowers(t *testing.T) {
	t.Parallel()
	db := openQueue(t, config(fresh(t)), tasksConfig()).db
	h := home(t, t.TempDir(), "node", db)
	ctx := t.Context()
	for name, c := range map[string]struct {
		store  blob.Store
		unused func() (bool, error)
		stands bool
	}{
		"done":   {h.Store, func() (bool, error) { return true, nil }, false},
		"used":   {h.Store, func() (bool, error) { return false, nil }, false},
		"failed": {h.Store, func() (bool, error) { return false, errors.New("failed") }, false},
		"open":   {failing{h.Store}, func() (bool, error) { return true, nil }, true},
	} {
		h := blob.NewHome(c.store)
		h.Fence = db
		sum := sha256.Sum256([]byte(name))
		_, _ = h.Remove(ctx, blob.SourceName(hex.EncodeToString(sum[:])), time.Now(), c.unused)
		var stands bool
		err := db.Pool().QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM removals WHERE digest = $1)`, sum[:]).Scan(&stands)
		if err != nil || stands != c.stands {
			t.Errorf("%s: the removal stands: %t, %v", path.Base(name), stands, err)
		}
	}
}
