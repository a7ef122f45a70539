package diskblob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// writeBehind is after how many bytes the kernel is asked to begin writing
// them out, so that Commit's fsync of a long upload finds most of it done.
const writeBehind = 4 << 20

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.Canceled, err, "the request was cancelled")
	}
	var id [12]byte
	_, _ = rand.Read(id[:])
	name := hex.EncodeToString(id[:])
	s.hold(name)
	f, err := os.OpenFile(filepath.Join(s.temp, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		s.release(name)
		if gone(err) { // somebody removed our directory: not the caller's business
			return nil, fault.Wrap(fault.Internal, err, "the blob store's temporary directory is gone")
		}
		return nil, classify(err, "creating a temporary file")
	}
	return &writer{store: s, temp: name, file: f}, nil
}

func (s *Store) hold(temp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[temp] = struct{}{}
}

func (s *Store) release(temp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, temp)
}

func (s *Store) held(temp string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.live[temp]
	return ok
}

// writer is a temporary file on its way to become a blob.
type writer struct {
	store  *Store
	temp   string // name in the store's temporary directory
	file   *os.File
	size   int64
	behind int64  // how much of it the kernel was asked to write out
	broken error  // what made the bytes unfit for Commit
	ended  bool   // by Commit or Abort
	target string // the blob's file, after Commit
}

var (
	_ blob.Writer = (*writer)(nil)
	_ blob.Filer  = (*writer)(nil)
)

func (w *writer) path() string { return filepath.Join(w.store.temp, w.temp) }

// Write implements io.Writer. After a failure the writer is only good for Abort.
func (w *writer) Write(p []byte) (int, error) {
	if w.broken != nil {
		return 0, w.broken
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	if w.size-w.behind >= writeBehind {
		_ = unix.SyncFileRange(int(w.file.Fd()), w.behind, w.size-w.behind, unix.SYNC_FILE_RANGE_WRITE)
		w.behind = w.size
	}
	if err != nil {
		w.broken = classify(err, "writing a blob")
		return n, w.broken
	}
	return n, nil
}

// ReadAt implements io.ReaderAt. After Commit it reads what has the name then.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	if w.target == "" {
		return w.file.ReadAt(p, off)
	}
	f, err := w.File()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, off)
}

// File implements blob.Filer.
func (w *writer) File() (*os.File, error) {
	if w.target == "" {
		return reopen(w.file)
	}
	f, err := os.Open(w.target)
	if err != nil {
		return nil, classify(err, "opening a blob's file again")
	}
	return f, nil
}

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context, name string) error {
	target, err := w.store.path(name)
	if err != nil {
		return err
	}
	switch {
	case w.broken != nil:
		return w.broken
	case w.ended:
		return fault.New(fault.Internal, "a blob is committed after its end")
	}
	select {
	case w.store.syncing <- struct{}{}:
	case <-ctx.Done():
		return fault.Wrap(fault.Canceled, ctx.Err(), "the request was cancelled")
	}
	err = w.file.Sync()
	<-w.store.syncing
	if err != nil { // the kernel may have dropped the pages: another fsync would lie
		w.broken = classify(err, "making a blob durable")
		return w.broken
	}
	if err := w.store.commits.rename(&job{temp: w.path(), target: target, name: name}); err != nil {
		return err
	}
	w.target = target
	w.end()
	return nil
}

// Abort implements blob.Writer.
func (w *writer) Abort() {
	if w.ended {
		return
	}
	_ = os.Remove(w.path())
	w.end()
}

func (w *writer) end() {
	w.ended = true
	w.broken = errors.Join(w.broken, fault.New(fault.Internal, "a blob is written after its end"))
	_ = w.file.Close()
	w.store.release(w.temp)
}
