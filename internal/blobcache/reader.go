package blobcache

import (
	"crypto/sha256"
	"os"
	"time"

	"safelight/internal/blob"
)

// reader is an open file whose bytes were held against their digest. It keeps
// them when the entry goes.
type reader struct {
	file *os.File
	info blob.Info
	sum  [sha256.Size]byte
}

var (
	_ blob.Reader   = (*reader)(nil)
	_ blob.Filer    = (*reader)(nil)
	_ blob.Digester = (*reader)(nil)
)

func newReader(file *os.File, name string, sum [sha256.Size]byte, at time.Time) (*reader, error) {
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, classify(err, "opening a blob")
	}
	return &reader{file, blob.Info{Name: name, Bytes: info.Size(), Modified: at}, sum}, nil
}

func (r *reader) Read(p []byte) (int, error)                   { return r.file.Read(p) }
func (r *reader) ReadAt(p []byte, off int64) (int, error)      { return r.file.ReadAt(p, off) }
func (r *reader) Seek(offset int64, whence int) (int64, error) { return r.file.Seek(offset, whence) }
func (r *reader) Close() error                                 { return r.file.Close() }

// Info implements blob.Reader. Modified is when the file came here, or about when
// it was last used.
func (r *reader) Info() blob.Info { return r.info }

// Digest implements blob.Digester.
func (r *reader) Digest() (sum [sha256.Size]byte, known bool) { return r.sum, true }

// File implements blob.Filer.
func (r *reader) File() (*os.File, error) {
	f, err := blob.Reopen(r.file)
	if err != nil {
		return nil, classify(err, "opening a blob's file again")
	}
	return f, nil
}
