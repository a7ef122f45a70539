package sealblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// reader opens what it reads, a segment at a time.
type reader struct {
	below blob.Reader
	seg   *segmenter
	info  blob.Info
	last  int64 // segment

	pos    int64  // of Read and Seek
	plain  []byte // the segment that Read is in
	loaded int64  // its number; -1 is none
	next   int64  // segment at which below stands; -1 is nowhere
}

var (
	_ blob.Reader = (*reader)(nil)
	_ blob.Copied = (*reader)(nil)
)

// Open implements blob.Store. Damage is found when it is read.
func (s *Store) Open(ctx context.Context, name string) (found blob.Reader, err error) {
	err = s.find(name, func(stored string) error {
		below, err := s.below.Open(ctx, stored)
		if err != nil {
			return err
		}
		if stored == name {
			found = below // from before there was a key
			return nil
		}
		r, err := open(s.keys, below)
		if err != nil {
			return errors.Join(err, below.Close())
		}
		found = r
		return nil
	})
	return found, err
}

// open reads what is sealed.
func open(keys []*key, below blob.Reader) (*reader, error) {
	info, err := plainInfo(below.Info())
	if err != nil {
		return nil, err
	}
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(below, header); err != nil {
		return nil, damaged(err)
	}
	if string(header[:len(magic)]) != magic {
		return nil, damaged(fmt.Errorf("the header begins with %q", header[:len(magic)]))
	}
	for _, k := range keys {
		if string(k.id[:]) == string(header[len(magic):len(magic)+idBytes]) {
			seg, err := k.segmenter(header)
			return &reader{below: below, seg: seg, info: info, last: segments(info.Bytes) - 1, loaded: -1}, err
		}
	}
	return nil, fault.New(fault.Internal, "the stored bytes are sealed with a key that is not configured (encryption.keys)")
}

// Info implements blob.Reader.
func (r *reader) Info() blob.Info { return r.info }

// Close implements io.Closer.
func (r *reader) Close() error { return r.below.Close() }

// sealedLen is how many bytes a segment has below.
func (r *reader) sealedLen(segment int64) int64 {
	if segment < r.last {
		return sealedBytes
	}
	return sealedSize(r.info.Bytes) - int64(headerBytes) - segment*sealedBytes
}

// Read implements io.Reader. What lies below is read as one stream.
func (r *reader) Read(p []byte) (int, error) {
	if r.pos >= r.info.Bytes {
		if r.info.Bytes == 0 {
			if err := r.load(0); err != nil { // the end of an empty blob is sealed too
				return 0, err
			}
		}
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.load(r.pos / segmentBytes); err != nil {
		return 0, err
	}
	n := copy(p, r.plain[r.pos%segmentBytes:])
	r.pos += int64(n)
	return n, nil
}

// load makes a segment the one that Read is in.
func (r *reader) load(segment int64) error {
	if segment == r.loaded {
		return nil
	}
	if segment != r.next {
		if _, err := r.below.Seek(int64(headerBytes)+segment*sealedBytes, io.SeekStart); err != nil {
			return err
		}
	}
	r.loaded, r.next = -1, -1
	if r.plain == nil {
		r.plain = make([]byte, 0, sealedBytes)
	}
	sealed := r.plain[:r.sealedLen(segment)]
	if _, err := io.ReadFull(r.below, sealed); err != nil {
		return broken(err)
	}
	plain, err := r.seg.open(sealed[:0], sealed, segment, segment == r.last)
	if err != nil {
		return err
	}
	r.plain, r.loaded, r.next = plain, segment, segment+1
	return nil
}

// broken is the error of reading less than there should be.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(err)
	}
	return err
}

// Seek implements io.Seeker.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.info.Bytes
	}
	if offset < 0 {
		return r.pos, fault.New(fault.Internal, "a blob was read before its begin")
	}
	r.pos = offset
	return offset, nil
}

// spans are buffers of ReadAt, for so many segments.
const spanSegments = 16

var spans = sync.Pool{New: func() any { b := make([]byte, spanSegments*sealedBytes); return &b }}

// ReadAt implements io.ReaderAt. It reads several segments below at once.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Internal, "a blob was read before its begin")
	}
	n := 0
	for n < len(p) && off+int64(n) < r.info.Bytes {
		read, err := r.span(p[n:], off+int64(n))
		n += read
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// span reads from as many segments as go into a buffer.
func (r *reader) span(p []byte, off int64) (int, error) {
	buf := spans.Get().(*[]byte)
	defer spans.Put(buf)
	first := off / segmentBytes
	last := min((off+int64(len(p))-1)/segmentBytes, r.last, first+spanSegments-1)
	sealed := (*buf)[:(last-first)*sealedBytes+r.sealedLen(last)]
	if got, err := r.below.ReadAt(sealed, int64(headerBytes)+first*sealedBytes); got < len(sealed) {
		return 0, broken(err)
	}
	n := 0
	for segment := first; segment <= last; segment++ {
		one := sealed[:r.sealedLen(segment)]
		sealed = sealed[len(one):]
		plain, err := r.seg.open(one[:0], one, segment, segment == r.last)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], plain[off+int64(n)-segment*segmentBytes:])
	}
	return n, nil
}

// File implements blob.Filer; the file is in memory.
func (r *reader) File() (*os.File, error) { return inMemory(r, r.info.Bytes) }

// Copied implements blob.Copied.
func (r *reader) Copied() {}

// inMemory makes a file of some bytes that lies in memory and can be read only.
func inMemory(from io.ReaderAt, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("unsealed", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "there is no memory to open a sealed blob in; try again")
	}
	f := os.NewFile(uintptr(fd), "unsealed")
	defer f.Close()
	if err := pour(f, from, size); err != nil {
		if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOSPC) {
			err = fault.Wrap(fault.Unavailable, err, "there is no memory to open a sealed blob in; try again")
		}
		return nil, err
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "a sealed blob could not be opened; try again")
	}
	return again, nil
}

// pour copies so many bytes, several segments at a time.
func pour(to io.Writer, from io.ReaderAt, size int64) error {
	buf := make([]byte, min(size, spanSegments*segmentBytes))
	for off := int64(0); off < size; off += int64(len(buf)) {
		part := buf[:min(int64(len(buf)), size-off)]
		if n, err := from.ReadAt(part, off); n < len(part) {
			return broken(err)
		}
		if _, err := to.Write(part); err != nil {
			return err
		}
	}
	return nil
}
