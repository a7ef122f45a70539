package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/sqlite"
	"safelight/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "a ?#%41.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestConformance(t *testing.T) {
	catalogtest.Run(t, func(t *testing.T) catalog.Catalog { return openCatalog(t, task.NewSignals()) })
}

func add(db *sqlite.DB, source uint64, key string) error {
	_, err := db.Commit(context.Background(), catalog.Change{Images: []catalog.NewImage{catalogtest.NewImage("main", source, key)}})
	return err
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "x.db")})
		if err != nil {
			t.Fatal(err)
		}
		page, err := db.List(t.Context(), catalog.Query{Owner: "main", Limit: 10})
		if err != nil || len(page.Images) != i {
			t.Fatalf("opening %d found %d images, %v", i, len(page.Images), err)
		}
		if err := add(db, uint64(i), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{"", "-wal", "-shm"} {
			if fi, err := os.Stat(filepath.Join(dir, "x.db"+end)); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("others can read the database's secrets in %s: %v, %v", end, fi.Mode(), err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := add(db, 9, "late"); fault.Of(err) != fault.Unavailable {
			t.Fatalf("a change after Close gave %v", err)
		}
		if _, err := db.Resolve(t.Context(), "main", "0"); fault.Of(err) != fault.Unavailable {
			t.Fatalf("a read after Close gave %v", err)
		}
		if err := db.Ping(t.Context()); fault.Of(err) != fault.Unavailable {
			t.Fatalf("Ping after Close gave %v", err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 {
		t.Fatalf("Close left %v", files)
	}
}

func TestOpenFails(t *testing.T) {
	_, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "missing", "x.db")})
	if fault.Of(err) != fault.Unavailable {
		t.Errorf("a missing directory gave %v", err)
	}
	garbage := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(garbage, make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Config{Path: garbage}); err == nil || fault.Of(err) != fault.Internal {
		t.Errorf("a file that is no database gave %v", err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Config{}); fault.Of(err) != fault.Invalid {
		t.Errorf("no path gave %v", err)
	}
}

// TestHeaderIsStoredWhole fails when format.Header gets a field that the
// database does not know.
func TestHeaderIsStoredWhole(t *testing.T) {
	var h format.Header
	v := reflect.ValueOf(&h).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Uint8:
			f.SetUint(2)
		default:
			f.SetInt(int64(100 + i))
		}
	}
	if got, err := sqlite.RoundTrip(h); err != nil || got != h {
		t.Fatalf("stored %+v, read %+v, %v", h, got, err)
	}
}

func TestQueuedChangesShareATransaction(t *testing.T) {
	db := open(t, t.TempDir())
	const jobs = 20
	gone, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	err := db.Hold(t.Context(), func() {
		for i := range jobs {
			wg.Go(func() {
				if err := add(db, uint64(i), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		var last sync.WaitGroup
		last.Go(func() {
			n := catalogtest.NewImage("main", 99, "dropped")
			if _, err := db.Commit(gone, catalog.Change{Images: []catalog.NewImage{n}}); fault.Of(err) != fault.Canceled {
				t.Errorf("a change that was cancelled in the queue gave %v", err)
			}
		})
		for db.Queued() < jobs+1 {
			runtime.Gosched()
		}
		cancel()
		last.Wait() // while the writer is held
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	page, err := db.List(t.Context(), catalog.Query{Owner: "main", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(page.Images); n != jobs {
		t.Fatalf("%d images are stored, expected %d", n, jobs)
	}
}

// fill commits until the database is full.
func fill(t *testing.T, db *sqlite.DB) (stored int) {
	t.Helper()
	for i := range 5000 {
		n := catalogtest.NewImage("main", uint64(i), fmt.Sprint(i))
		n.Image.Name = fmt.Sprintf("%0200d", i)
		_, err := db.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}})
		if fault.Of(err) == fault.OutOfSpace {
			return stored
		}
		if err != nil {
			t.Fatalf("after %d images: %v", stored, err)
		}
		stored++
	}
	t.Fatal("the database never was full")
	return 0
}

func count(t *testing.T, db *sqlite.DB) int {
	t.Helper()
	n, err := db.Query(t.Context(), "SELECT count(*) FROM images")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFullDatabase(t *testing.T) {
	db := open(t, t.TempDir())
	pages, err := db.Pages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.LimitPages(t.Context(), pages+20); err != nil {
		t.Fatal(err)
	}
	stored := fill(t, db)
	if n := count(t, db); n != stored {
		t.Fatalf("%d images are stored, %d were acknowledged", n, stored)
	}
	// A change that is far too large must not fail those which share its
	// transaction and would fit, such as a token's removal.
	var wg sync.WaitGroup
	if err := db.Hold(t.Context(), func() {
		wg.Go(func() {
			var big catalog.Change
			for i := range 500 {
				big.Images = append(big.Images, catalogtest.NewImage("main", uint64(10_000+i), fmt.Sprintf("big%d", i)))
			}
			if _, err := db.Commit(context.Background(), big); fault.Of(err) != fault.OutOfSpace {
				t.Errorf("a change that is too large gave %v", err)
			}
		})
		wg.Go(func() {
			if _, err := db.Forget(context.Background(), catalogtest.Digest(1<<40), catalogtest.NewImage("", 0).Image.Created); err != nil {
				t.Errorf("a small change failed with the large one: %v", err)
			}
		})
		for db.Queued() < 2 {
			runtime.Gosched()
		}
	}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := db.LimitPages(t.Context(), 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := add(db, 7000, "room again"); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if n := count(t, db); n != stored+1 {
		t.Fatalf("%d images are stored, expected %d", n, stored+1)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("can't mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	stored := fill(t, db)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := add(db, uint64(20_000+i), fmt.Sprintf("group%d", i)); err != nil && fault.Of(err) != fault.OutOfSpace {
				t.Errorf("a full disk gave %v", err)
			}
		})
	}
	wg.Wait()
	if n := count(t, db); n < stored || n > stored+8 {
		t.Fatalf("%d images are stored, %d were acknowledged", n, stored)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := add(db, 7000, "room again"); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := errors.Join(db.Ping(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
}
