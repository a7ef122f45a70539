package objectblob

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what services check uploads with, not against malice
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"mime"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// Create implements blob.Store. What is written lies in a local file until Commit
// sends it.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	if ctx.Err() != nil {
		return nil, canceled(ctx)
	}
	f, err := nameless(s.spool)
	if err != nil {
		return nil, spoolFailed(err)
	}
	w := &writer{store: s, file: f, sha: sha256.New()}
	if s.md5 {
		w.md5 = md5.New()
	}
	return w, nil
}

// nameless makes a file that goes when it is closed.
func nameless(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil {
		return f, nil
	}
	if f, err = os.CreateTemp(dir, "object-"); err != nil { // a file system without such files
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func spoolFailed(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.Wrap(fault.OutOfSpace, err, "there is no room left to prepare an object")
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return fault.Wrap(fault.Unavailable, err, "the server has too many files open")
	}
	return fault.Wrap(fault.Internal, err, "an object can't be prepared in local space")
}

// writer is a local file on its way to become an object.
type writer struct {
	store     *Store
	file      *os.File
	sha       hash.Hash
	md5       hash.Hash // nil unless the driver wants it
	size      int64
	broken    error // what made the bytes unfit for Commit
	committed bool
}

var (
	_ blob.Writer   = (*writer)(nil)
	_ blob.Filer    = (*writer)(nil)
	_ blob.Digester = (*writer)(nil)
)

// Write implements io.Writer. After a failure the writer is only good for Abort.
func (w *writer) Write(p []byte) (int, error) {
	if w.broken == nil && w.committed {
		w.broken = fault.New(fault.Internal, "a blob is written after its end")
	}
	if w.broken != nil {
		return 0, w.broken
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	w.sha.Write(p[:n])
	if w.md5 != nil {
		w.md5.Write(p[:n])
	}
	if err != nil {
		w.broken = spoolFailed(err)
		return n, w.broken
	}
	return n, nil
}

// ReadAt implements io.ReaderAt.
func (w *writer) ReadAt(p []byte, off int64) (int, error) { return w.file.ReadAt(p, off) }

// File implements blob.Filer, until Abort.
func (w *writer) File() (*os.File, error) {
	f, err := blob.Reopen(w.file)
	if err != nil {
		return nil, spoolFailed(err)
	}
	return f, nil
}

// Digest implements blob.Digester.
func (w *writer) Digest() (sum [sha256.Size]byte, known bool) {
	return [sha256.Size]byte(w.sha.Sum(nil)), true
}

// Commit implements blob.Writer. When it fails it may be called again.
func (w *writer) Commit(ctx context.Context, name string) error {
	key, err := w.store.key(name)
	if err != nil {
		return err
	}
	switch {
	case w.broken != nil:
		return w.broken
	case w.committed:
		return fault.New(fault.Internal, "a blob is committed after its end")
	}
	c := Content{Bytes: w.size, Type: mediaType(name), SHA256: hex.EncodeToString(w.sha.Sum(nil))}
	if w.md5 != nil {
		c.MD5 = w.md5.Sum(nil)
	}
	err = w.store.call(ctx, func(ctx context.Context) error {
		return w.store.driver.Put(ctx, key, io.NewSectionReader(w.file, 0, w.size), c)
	})
	if err == nil {
		err = w.store.confirm(ctx, key, c)
	}
	switch kind := fault.Of(err); {
	case err == nil:
		w.committed = true
		return nil
	case kind == fault.NotFound: // of a bucket, as an upload's object need not be there
		return Gone(err, w.store.bucket)
	}
	return err
}

// confirm looks at what has the key after an upload. An object with another
// digest is that of somebody who has committed since.
func (s *Store) confirm(ctx context.Context, key string, c Content) error {
	o, err := s.head(ctx, key)
	if fault.Of(err) == fault.NotFound {
		return fault.Wrap(fault.Unavailable, err, "an object is not there after it was written")
	}
	if err != nil || o.SHA256 != "" && o.SHA256 != c.SHA256 {
		return err
	}
	if o.Bytes != c.Bytes || o.MD5 != nil && !bytes.Equal(o.MD5, c.MD5) {
		return fault.New(fault.Unavailable, "an object does not have the %d bytes that were written, but %d with the MD5 %x", c.Bytes, o.Bytes, o.MD5)
	}
	return nil
}

// Abort implements blob.Writer; after Commit it only frees the local file.
func (w *writer) Abort() {
	if w.broken == nil && !w.committed {
		w.broken = fault.New(fault.Internal, "a blob is written after its end")
	}
	_ = w.file.Close()
}

// mediaType is what an object's name tells of its content.
func mediaType(name string) string {
	ext := strings.TrimPrefix(path.Ext(name), ".")
	if f := format.Parse(ext); f != format.Unknown {
		return f.MIME()
	}
	if t := mime.TypeByExtension("." + ext); t != "" {
		return t
	}
	return "application/octet-stream"
}
