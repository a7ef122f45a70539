// Package treeblob reads a directory of somebody else's as a store of blobs. It
// makes no files of its own in it, and nothing outside of the directory is
// reached, whatever symbolic links in it say.
package treeblob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// Store is a directory. It is safe for concurrent use.
type Store struct {
	root *os.Root
	fsys fs.FS
}

var _ blob.Store = (*Store)(nil)

// Open opens a directory, which must exist.
func Open(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the directory can't be used at the moment")
	}
	return &Store{root, root.FS()}, nil
}

// Close lets go of the directory.
func (s *Store) Close() error { return s.root.Close() }

// Create fails: the directory is only read.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	return blob.ReadOnly{Store: s}.Create(ctx)
}

// Delete fails: the directory is only read.
func (s *Store) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	return blob.ReadOnly{Store: s}.Delete(ctx, name, unless)
}

// reader is an open file.
type reader struct {
	*os.File
	info blob.Info
}

func (r *reader) Info() blob.Info { return r.info }

// Open implements blob.Store. A file that is written over in place, and not
// replaced by another, gives its new bytes: who reads holds them against a
// digest. What is no regular file is fault.NotFound.
func (s *Store) Open(_ context.Context, name string) (blob.Reader, error) {
	if !fs.ValidPath(name) {
		return nil, classify(fs.ErrNotExist)
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, classify(err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close()
		return nil, classify(err)
	}
	return &reader{f, blob.Info{Name: name, Bytes: fi.Size(), Modified: fi.ModTime()}}, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, name string) (blob.Info, error) {
	if !fs.ValidPath(name) {
		return blob.Info{}, classify(fs.ErrNotExist)
	}
	fi, err := s.root.Stat(name)
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return blob.Info{}, classify(err)
	}
	return blob.Info{Name: name, Bytes: fi.Size(), Modified: fi.ModTime()}, nil
}

// List implements blob.Store for the prefix "", and for those that are a directory
// and a slash: links to directories are not followed, and names that are not UTF-8
// are left out. A directory that can't be read is an error, as what is in it must
// not count as gone.
func (s *Store) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	top, whole := strings.CutSuffix(prefix, "/")
	switch {
	case prefix == "":
		top = "."
	case !whole || !fs.ValidPath(top):
		return fault.New(fault.Internal, "a directory is listed as a whole")
	}
	return fs.WalkDir(s.fsys, top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist) && name != ".":
			return nil
		case err != nil && !utf8.ValidString(name):
			return fs.SkipDir
		case err != nil:
			return classify(err)
		case d.IsDir() || !utf8.ValidString(name):
			return nil
		}
		info, err := s.Stat(ctx, name)
		if fault.Of(err) == fault.NotFound && err != nil {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(info)
	})
}

// classify turns an error of the file system into one of ours. What leads out of
// the directory counts as not there.
func classify(err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP),
		errors.As(err, &at) && at.Err.Error() == "path escapes from parent":
		return fault.Wrap(fault.NotFound, err, "there is no such file")
	}
	return fault.Wrap(fault.Unavailable, err, "the directory can't be read at the moment")
}
