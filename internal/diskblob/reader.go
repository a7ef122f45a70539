package diskblob

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// reader is an open blob. Its file keeps its bytes when the name is replaced
// or removed.
type reader struct {
	file *os.File
	info blob.Info
}

var (
	_ blob.Reader = (*reader)(nil)
	_ blob.Filer  = (*reader)(nil)
)

// Open implements blob.Store.
func (s *Store) Open(_ context.Context, name string) (blob.Reader, error) {
	file, err := s.path(name)
	if err != nil {
		return nil, err
	}
	f, err := openPlain(file)
	if err != nil {
		return nil, s.missing(err, "opening a blob")
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close()
		return nil, classify(err, "opening a blob")
	}
	return &reader{f, info(name, fi)}, nil
}

// openPlain opens a file for reading, without following links: whoever else may
// write below the directory can't pass another file off as a blob. It does not
// wait for the other end of a pipe.
func openPlain(file string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(unix.AT_FDCWD, file, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), file), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ELOOP):
			err = fs.ErrNotExist
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // an old kernel, or a filter
			return os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		}
		return nil, &fs.PathError{Op: "open", Path: file, Err: err}
	}
}

func (r *reader) Read(p []byte) (int, error)                   { return r.file.Read(p) }
func (r *reader) ReadAt(p []byte, off int64) (int, error)      { return r.file.ReadAt(p, off) }
func (r *reader) Seek(offset int64, whence int) (int64, error) { return r.file.Seek(offset, whence) }
func (r *reader) Close() error                                 { return r.file.Close() }
func (r *reader) Info() blob.Info                              { return r.info }

// File implements blob.Filer.
func (r *reader) File() (*os.File, error) { return reopen(r.file) }

// reopen opens the file behind f for reading, with an offset of its own, also
// when it has no name any more.
func reopen(f *os.File) (*os.File, error) {
	again, err := blob.Reopen(f)
	if gone(err) { // the descriptor is open, so it is /proc that is missing
		return nil, fault.Wrap(fault.Internal, err, "the blob store needs /proc")
	}
	if err != nil {
		return nil, classify(err, "opening a blob's file again")
	}
	return again, nil
}
