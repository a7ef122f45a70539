package diskcache_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/cache"
	"safelight/internal/cache/cachetest"
	"safelight/internal/diskcache"
	"safelight/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const budget = 1 << 20

func open(t testing.TB, dir string, maxBytes int64) *diskcache.Cache {
	t.Helper()
	c, err := diskcache.Open(diskcache.Config{Dir: dir, MaxBytes: maxBytes, MaxEntryBytes: maxBytes / 4})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func shut(t testing.TB, c *diskcache.Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Cache {
		dir := t.TempDir()
		c := open(t, dir, budget)
		t.Cleanup(func() {
			onDisk(t, c, dir)
			shut(t, c)
		})
		return c
	})
}

// onDisk checks that what the cache says it holds is what lies on the disk.
func onDisk(t *testing.T, c *diskcache.Cache, dir string) {
	t.Helper()
	var entries, total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			entries++
			total += (fi.Size() + 4095) / 4096 * 4096
		}
		return err
	})
	if s := c.Stats(); err != nil || s.Entries != entries || s.Bytes != total || total > budget {
		t.Errorf("%d files of %d bytes lie on the disk, but the cache says %+v; %v", entries, total, s, err)
	}
}

func put(t testing.TB, c cache.Cache, key cache.Key, n int) {
	t.Helper()
	meta, data := cachetest.Rendition(key, 1, n)
	if err := c.Put(t.Context(), key, meta, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func hit(t testing.TB, c cache.Cache, key cache.Key, n int) bool {
	t.Helper()
	e, ok, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return false
	}
	_, data := cachetest.Rendition(key, 1, n)
	if got, err := cachetest.Read(e); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("a hit gave %d bytes that were not put, %v", len(got), err)
	}
	return true
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, budget)
	for i := range 10 {
		key := cachetest.Key(i%3, i)
		put(t, c, key, 10_000)
		then := time.Now().Add(-time.Duration((i*3)%10) * 24 * time.Hour)
		if err := os.Chtimes(c.Path(key), then, then); err != nil {
			t.Fatal(err)
		}
	}
	held := c.Stats()
	if err := os.WriteFile(filepath.Join(dir, "tmp", "left"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	shut(t, c)

	c = open(t, dir, budget)
	if s := c.Stats(); s.Entries != held.Entries || s.Bytes != held.Bytes {
		t.Fatalf("after a restart Stats says %+v, before %+v", s, held)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp", "left")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a temporary file was left")
	}
	shut(t, c)

	c = open(t, dir, 5*12_288) // half the room: the five used last stay
	defer shut(t, c)
	for i := range 10 {
		if got, expected := hit(t, c, cachetest.Key(i%3, i), 10_000), (i*3)%10 < 5; got != expected {
			t.Errorf("an entry used %d days ago: kept %v, expected %v", (i*3)%10, got, expected)
		}
	}
	onDisk(t, c, dir)
}

func TestUseKeepsAnEntry(t *testing.T) {
	c := open(t, t.TempDir(), 10*4096)
	defer shut(t, c)
	for i := range 10 {
		put(t, c, cachetest.Key(i, 1), 1000)
	}
	if !hit(t, c, cachetest.Key(0, 1), 1000) {
		t.Fatal("the first entry is gone while there was room")
	}
	for i := range 9 {
		put(t, c, cachetest.Key(100+i, 1), 1000)
	}
	if !hit(t, c, cachetest.Key(0, 1), 1000) || hit(t, c, cachetest.Key(1, 1), 1000) {
		t.Fatal("the entry used least recently is not the one that went")
	}
}

func TestFileRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, budget)
	defer shut(t, c)
	key := cachetest.Key(1, 1)
	put(t, c, key, 1000)
	if err := os.RemoveAll(filepath.Dir(c.Path(key))); err != nil {
		t.Fatal(err)
	}
	if hit(t, c, key, 1000) {
		t.Fatal("a removed file is a hit")
	}
	onDisk(t, c, dir)
	put(t, c, key, 1000)
	if !hit(t, c, key, 1000) {
		t.Fatal("the entry can't be put again")
	}
}

// TestBeforeTheWalk checks what the cache does while it does not know yet what
// lies in its directory.
func TestBeforeTheWalk(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, budget)
	for i := range 6 {
		put(t, c, cachetest.Key(i, 1), 5000)
	}
	walk := c.Forget()
	if !hit(t, c, cachetest.Key(0, 1), 5000) || hit(t, c, cachetest.Key(7, 1), 5000) {
		t.Fatal("files are not found by their names")
	}
	if err := c.Purge(t.Context(), cachetest.Key(1, 1).Source); err != nil {
		t.Fatal(err)
	}
	put(t, c, cachetest.Key(2, 1), 6000)
	if err := flip(c.Path(cachetest.Key(3, 1)), 10); err != nil {
		t.Fatal(err)
	}
	if hit(t, c, cachetest.Key(3, 1), 5000) {
		t.Fatal("a damaged file is a hit")
	}
	for i := range 20 { // 160 KB, but only a twentieth of 1 MB is kept
		put(t, c, cachetest.Key(100+i, 1), 5000)
	}
	if s := c.Stats(); s.Bytes > budget/20+8192 {
		t.Fatalf("Stats says %+v before the walk", s)
	}
	walk()
	onDisk(t, c, dir)
	for i, n := range map[int]int{0: 5000, 2: 6000, 4: 5000, 5: 5000} {
		if !hit(t, c, cachetest.Key(i, 1), n) {
			t.Fatalf("entry %d was lost", i)
		}
	}
	shut(t, c)
}

func TestForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{"notes.txt", "ab/notes.txt", "ab/abcd/notes.txt"}
	for _, f := range foreign {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o700), os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, dir, budget)
	defer shut(t, c)
	for _, f := range foreign {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Entries != 0 {
		t.Fatalf("foreign files are entries: %+v", s)
	}
}

func TestOneCachePerDirectory(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, budget)
	if _, err := diskcache.Open(diskcache.Config{Dir: dir, MaxBytes: budget}); fault.Of(err) != fault.Conflict {
		t.Fatalf("a second cache in the directory gave %v", err)
	}
	shut(t, c)
	shut(t, open(t, dir, budget))
	for _, cfg := range []diskcache.Config{{MaxBytes: budget}, {Dir: dir}, {Dir: dir, MaxBytes: budget, MaxEntryBytes: budget + 1}} {
		if _, err := diskcache.Open(cfg); fault.Of(err) != fault.Invalid {
			t.Errorf("Open(%+v) gave %v", cfg, err)
		}
	}
}
