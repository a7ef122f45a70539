package adopt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/cdkblob"
	"safelight/internal/format"
	"safelight/internal/objectblob"
	"safelight/internal/ossblob"
)

// entry is a file of a place.
type entry struct {
	name     string // path below the root, with slashes
	bytes    int64
	modified time.Time
	state    State // of what is not even opened, with the reason
	reason   string
}

// content is a file's bytes.
type content interface {
	io.ReadSeekCloser
}

// place is where files are. It is safe for concurrent use.
type place interface {
	// list calls fn for every file, and for what can't be read, until fn fails.
	list(ctx context.Context, fn func(entry) error) error
	open(ctx context.Context, name string) (content, error)
	close() error
}

// openPlace opens a directory, or a bucket by its URL.
func openPlace(ctx context.Context, root string) (place, error) {
	if scheme, _, ok := strings.Cut(root, "://"); ok && scheme != "file" {
		return openBucket(ctx, root)
	}
	return openTree(strings.TrimPrefix(root, "file://"))
}

// tree is a directory. Nothing outside of it is reached, whatever symbolic links
// in it say.
type tree struct {
	root *os.Root
	fsys fs.FS
	path string
}

func openTree(dir string) (*tree, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &tree{root, root.FS(), dir}, nil
}

func (t *tree) close() error { return t.root.Close() }

func (t *tree) list(ctx context.Context, fn func(entry) error) error { return t.below(ctx, ".", fn) }

// below lists what is under a directory.
func (t *tree) below(ctx context.Context, dir string, fn func(entry) error) error {
	return fs.WalkDir(t.fsys, dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil: // of a directory's content, which is passed over
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return fn(entry{name: name, state: Failed, reason: reasonOf(err)})
		case d.IsDir() && utf8.ValidString(name):
			return nil
		case !utf8.ValidString(name):
			if failed := fn(entry{name: name, state: Failed, reason: "the name is not UTF-8"}); failed != nil || !d.IsDir() {
				return failed
			}
			return fs.SkipDir
		}
		e, ok := t.look(name, d.Type())
		if !ok {
			return nil
		}
		return fn(e)
	})
}

// look tells what is at a path; false where there is nothing (any more), or a
// directory.
func (t *tree) look(name string, kind fs.FileMode) (entry, bool) {
	e := entry{name: name}
	if kind&fs.ModeSymlink == 0 && kind != 0 {
		e.state, e.reason = Skipped, "no file, but "+kindOf(kind)
		return e, true
	}
	info, err := t.root.Stat(name)
	link := kind&fs.ModeSymlink != 0
	switch {
	case err != nil && link:
		e.state, e.reason = Skipped, "a link that leads nowhere, or out of the tree"
	case errors.Is(err, fs.ErrNotExist):
		return e, false
	case err != nil:
		e.state, e.reason = Failed, reasonOf(err)
	case info.IsDir() && !link:
		return e, false
	case info.IsDir():
		e.state, e.reason = Skipped, "a link to a directory"
	case !info.Mode().IsRegular():
		e.state, e.reason = Skipped, "no file, but "+kindOf(info.Mode())
	default:
		e.bytes, e.modified = info.Size(), info.ModTime()
	}
	return e, true
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// reasonOf is an error without the path that it repeats.
func reasonOf(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// open opens a file; what has become a pipe since it was listed is refused and
// not waited for.
func (t *tree) open(_ context.Context, name string) (content, error) {
	f, err := t.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file any more")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// bucket is a bucket, or what in it has a prefix.
type bucket struct {
	store *objectblob.Store
}

// openTime bounds how long credentials are looked for.
const openTime = 20 * time.Second

func openBucket(ctx context.Context, url string) (*bucket, error) {
	if strings.HasPrefix(url, "oss:") {
		store, err := ossblob.Open(ossblob.Options{URL: url, Config: objectblob.DefaultConfig(), Spool: os.TempDir()})
		return &bucket{store}, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	store, err := cdkblob.Open(ctx, cdkblob.Options{URL: url, Config: objectblob.DefaultConfig(), Spool: os.TempDir()})
	return &bucket{store}, err
}

func (b *bucket) close() error { return b.store.Close() }

func (b *bucket) list(ctx context.Context, fn func(entry) error) error {
	return b.store.List(ctx, "", func(info blob.Info) error {
		if strings.HasSuffix(info.Name, "/") { // what tools leave for an empty directory
			return nil
		}
		return fn(entry{name: info.Name, bytes: info.Bytes, modified: info.Modified})
	})
}

// open fetches an object into a temporary file, unless its first bytes say that
// it is no picture.
func (b *bucket) open(ctx context.Context, name string) (content, error) {
	r, err := b.store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	head := make([]byte, headBytes)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	head = head[:n]
	if !format.Sniff(head).Source() {
		return &small{bytes.NewReader(head)}, nil
	}
	f, err := os.CreateTemp("", "safelight-import-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name()) // it goes with its last descriptor
	if err == nil {
		_, err = io.Copy(f, io.MultiReader(bytes.NewReader(head), r))
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// small is content in memory.
type small struct{ *bytes.Reader }

func (*small) Close() error { return nil }
