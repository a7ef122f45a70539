package sealblob

import (
	"context"
	"io"
	"os"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// writer seals what it is given.
type writer struct {
	*sealer
	store *Store
	below blob.Writer
}

var (
	_ blob.Writer = (*writer)(nil)
	_ blob.Filer  = (*writer)(nil)
)

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context) (blob.Writer, error) {
	w, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (s *Store) create(ctx context.Context) (*writer, error) {
	below, err := s.below.Create(ctx)
	if err != nil {
		return nil, err
	}
	seal, err := s.keys[0].newSealer(below)
	if err != nil {
		below.Abort()
		return nil, err
	}
	return &writer{seal, s, below}, nil
}

// ReadAt implements io.ReaderAt.
func (w *writer) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Internal, "a blob was read before its begin")
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= w.size() {
			return n, io.EOF
		}
		if at >= w.sealed*segmentBytes {
			n += copy(p[n:], w.open[at-w.sealed*segmentBytes:])
			continue
		}
		sealed := make([]byte, sealedBytes)
		segment := at / segmentBytes
		if _, err := w.below.ReadAt(sealed, int64(headerBytes)+segment*sealedBytes); err != nil && err != io.EOF {
			return n, err
		}
		plain, err := w.seg.open(sealed[:0], sealed, segment, false)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], plain[at%segmentBytes:])
	}
	return n, nil
}

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context, name string) error {
	names, err := w.store.names(name)
	if err != nil {
		return err
	}
	if err := w.finish(); err != nil {
		return err
	}
	return w.below.Commit(ctx, names[0])
}

// Abort implements blob.Writer.
func (w *writer) Abort() { w.below.Abort() }

// File implements blob.Filer; the file is in memory.
func (w *writer) File() (*os.File, error) { return inMemory(w, w.size()) }
