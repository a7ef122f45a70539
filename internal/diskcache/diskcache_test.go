package diskcache_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"safelight/internal/asset"
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

func TestDamage(t *testing.T) {
	other := cachetest.Key(9, 9)
	for name, damage := range map[string]func(t *testing.T, file, otherFile string) error{
		"a flipped bit": func(_ *testing.T, file, _ string) error { return flip(file, 5000) },
		"a flipped bit in the description": func(t *testing.T, file, _ string) error {
			return flip(file, 10_020)
		},
		"torn":  func(_ *testing.T, file, _ string) error { return os.Truncate(file, 9000) },
		"empty": func(_ *testing.T, file, _ string) error { return os.Truncate(file, 0) },
		"zeros at the end": func(_ *testing.T, file, _ string) error {
			return errors.Join(os.Truncate(file, 9000), os.Truncate(file, 10_400))
		},
		"another key's file": func(_ *testing.T, file, otherFile string) error { return os.Rename(otherFile, file) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key := cachetest.Key(1, 1)
			c := open(t, dir, budget)
			put(t, c, key, 10_000)
			put(t, c, other, 10_000)
			shut(t, c)
			if err := damage(t, c.Path(key), c.Path(other)); err != nil {
				t.Fatal(err)
			}
			c = open(t, dir, budget)
			defer shut(t, c)
			if hit(t, c, key, 10_000) {
				t.Fatal("a damaged file is a hit")
			}
			if _, err := os.Stat(c.Path(key)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatal("the damaged file is still there")
			}
			if s := c.Stats(); s.Corrupt != 1 {
				t.Fatalf("Stats says %+v", s)
			}
			onDisk(t, c, dir)
			put(t, c, key, 10_000)
			if !hit(t, c, key, 10_000) {
				t.Fatal("the entry can't be put again")
			}
		})
	}
}

func flip(file string, at int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 4
	_, err = f.WriteAt(b[:], at)
	return err
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

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("can't mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	c := open(t, dir, budget)
	put(t, c, cachetest.Key(1, 1), 150_000)
	held := c.Stats()
	meta, data := cachetest.Rendition(cachetest.Key(2, 1), 1, 150_000)
	if err := c.Put(t.Context(), cachetest.Key(2, 1), meta, bytes.NewReader(data)); fault.Of(err) != fault.OutOfSpace {
		t.Fatalf("a full disk gave %v", err)
	}
	if s := c.Stats(); s.Bytes != held.Bytes || s.Entries != 1 {
		t.Fatalf("a failed Put left %+v, before %+v", s, held)
	}
	onDisk(t, c, dir)
	if !hit(t, c, cachetest.Key(1, 1), 150_000) {
		t.Fatal("a full disk broke reading")
	}
	shut(t, c)
}

func TestTooManyFiles(t *testing.T) {
	c := open(t, t.TempDir(), budget)
	defer shut(t, c)
	key := cachetest.Key(1, 1)
	put(t, c, key, 1000)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Skip(err)
	}
	_, ok, getErr := c.Get(t.Context(), key)
	putErr := c.Put(t.Context(), key, asset.Rendition{}, bytes.NewReader(nil))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if ok || fault.Of(getErr) != fault.Unavailable || fault.Of(putErr) != fault.Unavailable {
		t.Fatalf("without descriptors Get gave %v, %v and Put %v", ok, getErr, putErr)
	}
	if !hit(t, c, key, 1000) {
		t.Fatal("the entry was lost")
	}
}

func TestIndexIsCompact(t *testing.T) {
	const entries = 300_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	x := diskcache.NewIndex()
	for i := range entries {
		x.Put(cachetest.Key(i/4, i))
	}
	each := float64(heap()-before) / entries
	t.Logf("%.0f bytes an entry", each)
	if each > 125 {
		t.Errorf("the index takes %.0f bytes an entry", each)
	}
	for i := range entries {
		if i%2 == 0 {
			x.Remove(cachetest.Key(i/4, i))
		}
	}
	if x.Entries() != entries/2 || x.Has(cachetest.Key(0, 0)) || !x.Has(cachetest.Key(0, 1)) {
		t.Fatalf("%d entries are left", x.Entries())
	}
}

func TestIndexCollisions(t *testing.T) {
	// Keys whose hash is the same: both halves are xored.
	key := func(i byte) (k cache.Key) {
		k.Source[0], k.Variant[0] = i, i
		return k
	}
	for gone := range byte(4) {
		x := diskcache.NewIndex()
		for i := range byte(4) {
			x.Put(key(i))
		}
		x.Remove(key(gone))
		for i := range byte(4) {
			if x.Has(key(i)) == (i == gone) {
				t.Errorf("with %d removed, Has(%d) is %v", gone, i, x.Has(key(i)))
			}
		}
	}
}

// FuzzFooter opens files of any content.
func FuzzFooter(f *testing.F) {
	dir := f.TempDir()
	c, err := diskcache.Open(diskcache.Config{Dir: dir, MaxBytes: 16 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	key := cachetest.Key(1, 1)
	put(f, c, key, 100)
	whole, err := os.ReadFile(c.Path(key))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:50])
	f.Add(append(make([]byte, 2000), whole...))
	f.Fuzz(func(t *testing.T, data []byte) {
		put(t, c, key, 100)
		if err := os.WriteFile(c.Path(key), data, 0o600); err != nil {
			t.Fatal(err)
		}
		e, ok, err := c.Get(t.Context(), key)
		if ok && !bytes.Equal(data, whole) && e.Meta.Bytes > int64(len(data)) {
			t.Fatalf("a file of %d bytes holds a rendition of %d", len(data), e.Meta.Bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = e.Close()
	})
}

func BenchmarkGet(b *testing.B) {
	c := open(b, b.TempDir(), 64<<20)
	defer shut(b, c)
	for i := range 256 {
		put(b, c, cachetest.Key(i, 1), 20_000)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		e, ok, err := c.Get(b.Context(), cachetest.Key(i%256, 1))
		if !ok || err != nil {
			b.Fatal(ok, err)
		}
		_ = e.Close()
	}
}

func BenchmarkPut(b *testing.B) {
	c := open(b, b.TempDir(), 64<<20)
	defer shut(b, c)
	meta, data := cachetest.Rendition(cachetest.Key(1, 1), 1, 50_000)
	b.SetBytes(50_000)
	for i := range b.N {
		if err := c.Put(b.Context(), cachetest.Key(i/3, i), meta, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen indexes 20,000 files.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	c := open(b, dir, 1<<30)
	for i := range 20_000 {
		put(b, c, cachetest.Key(i/4, i), 100)
	}
	shut(b, c)
	for b.Loop() {
		c := open(b, dir, 1<<30)
		c.WaitIndexed()
		shut(b, c)
	}
}
