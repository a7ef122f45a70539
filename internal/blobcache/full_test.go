package blobcache

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"safelight/internal/fault"
)

// On a file system that is smaller than the budget, kept files go for what is
// fetched; what does not fit even so is out of space, and leaves nothing.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small file system can't be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	c := open(t, dir, 64<<20)
	var calls atomic.Int32
	for i := range 10 {
		name := string(rune('a' + i))
		if got := read(t, c, name, gives(bytesOf(name, 2<<20), &calls)); len(got) != 2<<20 {
			t.Fatalf("%d bytes", len(got))
		}
	}
	if s := c.Stats(); s.Entries < 2 || s.Evictions == 0 {
		t.Errorf("%+v", s)
	}
	consistent(t, c)
	if _, err := c.Open(t.Context(), "", "large", gives(make([]byte, 9<<20), &calls)); err == nil || fault.Of(err) != fault.OutOfSpace {
		t.Errorf("more than the disk has: %v", err)
	}
	consistent(t, c)
	if got := read(t, c, "again", gives(bytesOf("again", 2<<20), &calls)); len(got) != 2<<20 {
		t.Errorf("%d bytes", len(got))
	}
}
