// Package diskblob keeps blobs as files under a local directory (or a shared
// mount). A blob named a/b/c is the file <dir>/a/b/c; what is being written
// lies in <dir>/tmp/<node>/ on the same file system until Commit renames it.
//
// Commit returns after fsync of the file, of every directory that had to be
// made, and of the directory that took the name. Concurrent commits share the
// directories' part (see commit.go). The package works on Linux only.
package diskblob

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

const (
	tempDir  = "tmp"  // top-level directory that no blob may lie in
	lockName = "lock" // in a node's temporary directory; held while the store is open
	stripes  = 256    // locks over names
)

// Config says where the store lies.
type Config struct {
	// Dir is the root; it is made when it is missing.
	Dir string
	// Node names this server among those that share Dir; "" is "local". Two
	// open stores can't have the same Dir and Node.
	Node string
	// SyncParallel is how many files are made durable at the same time; 0 is 32.
	SyncParallel int
}

// Validate refuses a configuration that can't work.
func (c Config) Validate() error {
	if c.Dir == "" {
		return fault.New(fault.Invalid, "the blob directory is not set")
	}
	if c.Node != "" && (!fs.ValidPath(c.Node) || c.Node == "." || strings.ContainsAny(c.Node, "/\\\x00")) {
		return fault.New(fault.Invalid, "the node name %q can't be a directory's name", c.Node)
	}
	if c.SyncParallel < 0 {
		return fault.New(fault.Invalid, "the number of parallel syncs is %d; it can't be negative", c.SyncParallel)
	}
	return nil
}

// Store is a blob.Store, blob.Sweeper and more. It is safe for concurrent use.
type Store struct {
	dir, temp string // absolute; temp is this node's
	lock      *os.File
	seed      maphash.Seed
	names     [stripes]sync.Mutex // held while a name's file is replaced or removed
	syncing   chan struct{}       // one token for each file in fsync
	commits   committer

	mu   sync.Mutex
	live map[string]struct{} // temporary files that a Writer holds
}

var (
	_ blob.Store   = (*Store)(nil)
	_ blob.Sweeper = (*Store)(nil)
)

// Open makes the directories and takes the node's lock. It fails with
// fault.Conflict when another store, in this or another process on this
// machine, has the same directory and node open.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Node == "" {
		cfg.Node = "local"
	}
	if cfg.SyncParallel == 0 {
		cfg.SyncParallel = 32
	}
	dir, err := realDir(cfg.Dir)
	if err != nil {
		return nil, classify(err, "opening the blob store")
	}
	s := &Store{
		dir: dir, temp: filepath.Join(dir, tempDir, cfg.Node), seed: maphash.MakeSeed(),
		syncing: make(chan struct{}, cfg.SyncParallel), live: map[string]struct{}{},
	}
	s.commits.store = s
	s.commits.known = map[string]struct{}{}
	if err := os.MkdirAll(s.temp, 0o750); err != nil {
		return nil, classify(err, "opening the blob store")
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := syncDir(d); err != nil {
			return nil, classify(err, "opening the blob store")
		}
	}
	if s.lock, err = lockFile(filepath.Join(s.temp, lockName), cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// realDir makes a directory where there is none, and gives its absolute path
// without links, which readers do not follow.
func realDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(abs, 0o750); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func lockFile(name string, cfg Config) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, classify(err, "locking the blob store")
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fault.New(fault.Conflict, "the data directory %s is in use by another server with the node name %q; stop it, or give this one a name of its own (node), or another data directory", cfg.Dir, cfg.Node)
	}
	return nil, classify(err, "locking the blob store")
}

// Close lets another store have the directory and node. Writers and readers
// that are still open can be used to their end.
func (s *Store) Close() error { return s.lock.Close() }

// Stat implements blob.Store.
func (s *Store) Stat(_ context.Context, name string) (blob.Info, error) {
	file, err := s.path(name)
	if err != nil {
		return blob.Info{}, err
	}
	fi, err := os.Lstat(file)
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return blob.Info{}, s.missing(err, "looking for a blob")
	}
	return info(name, fi), nil
}

// Delete implements blob.Store. The deletion itself is not made durable: after
// a power loss the blob may be back.
func (s *Store) Delete(_ context.Context, name string, unless time.Time) (bool, error) {
	file, err := s.path(name)
	if err != nil {
		return false, err
	}
	lock := s.nameLock(name)
	lock.Lock()
	defer lock.Unlock()
	fi, err := os.Lstat(file)
	switch {
	case gone(err) && !s.present():
		return false, away(err)
	case gone(err) || err == nil && fi.IsDir():
		return true, nil
	case err != nil:
		return false, classify(err, "deleting a blob")
	case !fi.ModTime().Before(unless):
		return false, nil
	}
	if err := os.Remove(file); err != nil && !gone(err) {
		return false, classify(err, "deleting a blob")
	}
	return true, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(blob.Info) error) error {
	top := path.Dir(prefix) // "." for a prefix without a slash
	if top != "." && !fs.ValidPath(top) {
		return nil
	}
	var stop error // what fn or ctx said, which is passed on as it is
	err := filepath.WalkDir(filepath.Join(s.dir, filepath.FromSlash(top)), func(file string, d fs.DirEntry, err error) error {
		if err == nil {
			stop = ctx.Err()
		}
		if err != nil || stop != nil {
			if gone(err) {
				return nil
			}
			return errors.Join(err, stop)
		}
		rel, err := filepath.Rel(s.dir, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case d.IsDir() && name != "." && (name == tempDir || !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/")):
			return fs.SkipDir
		case !d.Type().IsRegular() || !strings.HasPrefix(name, prefix):
			return nil
		}
		fi, err := d.Info()
		if gone(err) {
			return nil
		} else if err != nil {
			return err
		}
		stop = fn(info(name, fi))
		return stop
	})
	if stop != nil {
		return stop
	}
	if err != nil {
		return classify(err, "listing blobs")
	}
	if !s.present() {
		return away(nil)
	}
	return nil
}

// present tells whether the directory is the one that was opened: a file system
// that was unmounted must not pass for one that has lost everything.
func (s *Store) present() bool {
	held, err := s.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(s.temp, lockName))
	return err == nil && os.SameFile(held, there)
}

func away(err error) error {
	return fault.Wrap(fault.Unavailable, err, "the blob store's directory is not there at the moment")
}

// missing classifies an error, and tells a blob that is not there from a store
// that is not.
func (s *Store) missing(err error, doing string) error {
	if gone(err) && !s.present() {
		return away(err)
	}
	return classify(err, doing)
}

// FreeBytes is the room that is left for this process on the file system.
func (s *Store) FreeBytes() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, classify(err, "asking for free space")
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// path checks a blob's name and gives its file.
func (s *Store) path(name string) (string, error) {
	first, _, _ := strings.Cut(name, "/")
	if !fs.ValidPath(name) || name == "." || first == tempDir || strings.ContainsRune(name, 0) {
		return "", fault.New(fault.Invalid, "%q is not a blob's name", name)
	}
	return s.dir + "/" + name, nil
}

func (s *Store) nameLock(name string) *sync.Mutex {
	return &s.names[maphash.String(s.seed, name)%stripes]
}

func info(name string, fi fs.FileInfo) blob.Info {
	return blob.Info{Name: name, Bytes: fi.Size(), Modified: fi.ModTime()}
}

// gone tells that there is nothing at a path, also because what should be a
// directory on the way is a file.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// classify turns the system's error into one of ours.
func classify(err error, doing string) error {
	kind, message := fault.Internal, "the blob store failed"
	switch {
	case gone(err):
		kind, message = fault.NotFound, "there is no such blob"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind, message = fault.OutOfSpace, "there is no room left to store blobs"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		kind, message = fault.Unavailable, "the server has too many files open"
	}
	return fault.Wrap(kind, fmt.Errorf("%s: %w", doing, err), "%s", message)
}
