package diskcache_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"safelight/internal/asset"
	"safelight/internal/cache/cachetest"
	"safelight/internal/diskcache"
	"safelight/internal/fault"
)

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
