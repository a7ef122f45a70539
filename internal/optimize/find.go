package optimize

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"safelight/internal/format"
)

// Source is a file to optimise.
type Source struct {
	Path   string        // to open it with
	Rel    string        // under the directory that was named; of a file that was named itself, its base name
	Format format.Format // by magic number

	walked bool // found in a directory, where symbolic links are passed over
}

// Find lists the files that are named, and in directories those which are
// pictures by their first bytes. Nothing is listed twice, and out, the directory
// of results, is passed over where it lies in one that is walked. What can't be
// read, and directories without a picture, come back as failures.
func Find(ctx context.Context, paths []string, out string) (sources []Source, failures []Result, err error) {
	f := finder{seen: make(map[string]bool)}
	if out != "" {
		f.out, _ = os.Stat(out) // what isn't there is not walked
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			f.fail(path, err)
		case info.IsDir():
			if err := f.walk(ctx, path); err != nil {
				return nil, nil, err
			}
		default:
			f.named(path)
		}
	}
	return f.sources, f.failures, nil
}

type finder struct {
	out      os.FileInfo // nil is none
	seen     map[string]bool
	sources  []Source
	failures []Result
}

func (f *finder) fail(path string, err error) {
	f.failures = append(f.failures, Result{File: path}.fail(err))
}

func (f *finder) add(s Source) {
	name, err := filepath.Abs(s.Path)
	if err != nil {
		name = s.Path
	}
	if !f.seen[name] {
		f.seen[name] = true
		f.sources = append(f.sources, s)
	}
}

// named adds a file, which must be a picture.
func (f *finder) named(path string) {
	is, err := sniff(path, 0)
	if err == nil && is == format.Unknown {
		err = errNoPicture
	}
	if err != nil {
		f.fail(path, err)
		return
	}
	f.add(Source{Path: path, Rel: filepath.Base(path), Format: is})
}

var errNoPicture = errors.New("it is not a picture of a format that is read (" + formats() + ")")

func formats() string {
	var names []string
	for _, f := range format.All() {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}

// errNoPictures is the failure of a directory.
var errNoPictures = errors.New("there are no pictures in this directory")

// walk adds the pictures in a directory and below it. An error is ctx's.
func (f *finder) walk(ctx context.Context, root string) error {
	found, failed := 0, len(f.failures)
	top := strings.TrimRight(root, "/") + "/" // so that one which is a link is followed
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			f.fail(path, err)
			return nil
		case d.IsDir() && path != top && f.isOut(d):
			return fs.SkipDir
		case !d.Type().IsRegular() || strings.HasPrefix(d.Name(), tempPrefix):
			return nil
		}
		is, err := sniff(path, unix.O_NOFOLLOW)
		switch {
		case err != nil:
			f.fail(path, err)
		case is != format.Unknown:
			found++
			rel, err := filepath.Rel(top, path)
			if err != nil {
				rel = d.Name()
			}
			f.add(Source{Path: path, Rel: rel, Format: is, walked: true})
		}
		return nil
	})
	if found == 0 && len(f.failures) == failed && err == nil {
		f.fail(root, errNoPictures)
	}
	return err
}

func (f *finder) isOut(d fs.DirEntry) bool {
	if f.out == nil {
		return false
	}
	info, err := d.Info()
	return err == nil && os.SameFile(info, f.out)
}

// sniff looks at the first bytes of a file.
func sniff(path string, flags int) (format.Format, error) {
	f, _, err := open(path, flags)
	if err != nil {
		return format.Unknown, err
	}
	defer f.Close()
	head := make([]byte, format.SniffLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return format.Unknown, err
	}
	return format.Sniff(head[:n]), nil
}

// errIrregular is for what has no bytes of its own.
var errIrregular = errors.New("it is not a regular file")

// open opens a regular file for reading; a pipe or a device is refused without
// waiting for it.
func open(path string, flags int) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errIrregular
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}
