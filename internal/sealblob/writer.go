package sealblob

import (
	"context"
	"io"
	"os"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// writer seals what it is given, a segment at a time. The last one is sealed by
// Commit, since only then is it known to be that.
type writer struct {
	store  *Store
	below  blob.Writer
	seg    *segmenter
	sealed int64  // segments that were passed on
	open   []byte // of the segment after those, at most segmentBytes
	ended  bool   // that one was passed on as the last
	buf    []byte
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
	w := &writer{store: s, below: below}
	if w.seg, err = s.keys[0].fresh(); err == nil {
		_, err = below.Write(w.seg.header)
	}
	if err != nil {
		below.Abort()
		return nil, err
	}
	return w, nil
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, fault.New(fault.Internal, "a blob was written to after its end")
	}
	n := 0
	for len(p) > 0 {
		if len(w.open) == segmentBytes {
			if err := w.flush(false); err != nil {
				return n, err
			}
			w.sealed++
			w.open = w.open[:0]
		}
		part := min(len(p), segmentBytes-len(w.open))
		if w.open == nil {
			w.open = make([]byte, 0, segmentBytes)
		}
		w.open = append(w.open, p[:part]...)
		p, n = p[part:], n+part
	}
	return n, nil
}

// flush passes the open segment on.
func (w *writer) flush(last bool) error {
	w.buf = w.seg.seal(w.buf[:0], w.open, w.sealed, last)
	_, err := w.below.Write(w.buf)
	return err
}

// size is how many bytes were written.
func (w *writer) size() int64 { return w.sealed*segmentBytes + int64(len(w.open)) }

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
	if !w.ended {
		if err := w.flush(true); err != nil {
			return err
		}
		w.ended = true
	}
	return w.below.Commit(ctx, names[0])
}

// Abort implements blob.Writer.
func (w *writer) Abort() { w.below.Abort() }

// File implements blob.Filer; the file is in memory.
func (w *writer) File() (*os.File, error) { return inMemory(w, w.size()) }
