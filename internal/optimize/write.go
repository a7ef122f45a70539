package optimize

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"safelight/internal/fault"
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".safelight-"

// temp is a file that is being written beside the one which it becomes.
type temp struct{ *os.File }

func newTemp(beside string, mode os.FileMode) (temp, error) {
	name := filepath.Join(filepath.Dir(beside), tempPrefix+rand.Text()+".tmp")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	return temp{f}, err
}

// drop removes what did not become a file; after an install it does nothing.
func (t temp) drop() {
	t.Close()
	_ = os.Remove(t.Name()) // it is gone where it was renamed
}

// fill writes all of r, to the disk.
func (t temp) fill(r io.Reader) error {
	if _, err := io.Copy(t, r); err != nil {
		return err
	}
	return t.Sync()
}

// writeNew makes a file that was not there, with its directories. What is there
// is never overwritten: the error is fault.Conflict.
func writeNew(path string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	t, err := newTemp(path, 0o666)
	if err != nil {
		return err
	}
	defer t.drop()
	if err := t.fill(r); err != nil {
		return err
	}
	if err := renameNew(t.Name(), path); err != nil {
		return err
	}
	return syncDir(path)
}

// renameNew renames where nothing has the new name.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not every file system can
		err = unix.Link(from, to)
	}
	if errors.Is(err, unix.EEXIST) {
		return exists(to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func exists(path string) error {
	return fault.New(fault.Conflict, "%s is there already, and is not overwritten", path)
}

// free tells whether a file can be made.
func free(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return exists(path)
	}
	return nil // or it will be told when it is made
}

// replace puts r in the place of the file that was looked at before as was. Its
// mode and owner stay.
func replace(path string, was os.FileInfo, r io.Reader) error {
	t, err := newTemp(path, 0o600)
	if err != nil {
		return err
	}
	defer t.drop()
	if err := t.own(was); err != nil {
		return err
	}
	if err := t.Chmod(was.Mode()); err != nil {
		return err
	}
	if err := t.fill(r); err != nil {
		return err
	}
	now, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(now, was) || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) {
		return fault.New(fault.Conflict, "it was changed meanwhile, and is left as it is")
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return err
	}
	return syncDir(path)
}

// own gives the file to whom another belongs.
func (t temp) own(as os.FileInfo) error {
	info, err := t.Stat()
	if err != nil {
		return err
	}
	mine, ok := info.Sys().(*syscall.Stat_t)
	theirs, known := as.Sys().(*syscall.Stat_t)
	if !ok || !known || mine.Uid == theirs.Uid && mine.Gid == theirs.Gid {
		return nil
	}
	if err := t.Chown(int(theirs.Uid), int(theirs.Gid)); err != nil {
		return fault.Wrap(fault.Denied, err, "it belongs to another user or group, and would not any more")
	}
	return nil
}

// syncDir makes a new name durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // which some file systems say
		return err
	}
	return nil
}
