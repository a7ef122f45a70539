package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const (
	windowBytes = 64 << 10 // read ahead while a file is read in order
	jumpBytes   = 4 << 10  // read after a jump, so that hopping about stays cheap
	maxBuffer   = 1 << 20  // the most that one structure may occupy in memory
)

// window gives bytes of a file at offsets, through one small buffer. Offsets
// and lengths may be as wild as a file says they are: what is not in the file
// is refused, never allocated.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte // the bytes from at on
	at   int64
	err  error // the first failure of r that is not the end of the data
}

func newWindow(r io.ReaderAt, size int64) *window { return &window{r: r, size: max(size, 0)} }

// bytes gives exactly n bytes from off, valid until the next call; false where
// the file has not that many, or n is above maxBuffer.
func (w *window) bytes(off int64, n int) ([]byte, bool) {
	if off < 0 || n < 0 || n > maxBuffer || off > w.size-int64(n) {
		return nil, false
	}
	if off < w.at || off+int64(n) > w.at+int64(len(w.buf)) {
		w.fill(off, n)
	}
	i := off - w.at
	if i < 0 || i+int64(n) > int64(len(w.buf)) {
		return nil, false
	}
	return w.buf[i : i+int64(n)], true
}

// some gives at least one byte from off, as many as are at hand; nil at the end.
func (w *window) some(off int64) []byte {
	if _, ok := w.bytes(off, 1); !ok {
		return nil
	}
	return w.buf[off-w.at:]
}

func (w *window) fill(off int64, n int) {
	end := w.at + int64(len(w.buf))
	want := jumpBytes
	if off >= w.at && off <= end+windowBytes {
		want = windowBytes
	}
	want = int(min(int64(max(want, n)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, 0, want)
	}
	w.buf, w.at = w.buf[:want], off
	got, err := w.r.ReadAt(w.buf, off)
	w.buf = w.buf[:max(0, min(got, want))]
	if err != nil && !errors.Is(err, io.EOF) && w.err == nil {
		w.err = err
	}
}

// index finds the next c at or after off; -1 where there is none.
func (w *window) index(off int64, c byte) int64 {
	for {
		b := w.some(off)
		if b == nil {
			return -1
		}
		if i := bytes.IndexByte(b, c); i >= 0 {
			return off + int64(i)
		}
		off += int64(len(b))
	}
}

// ReadAt makes the window a source for the readers of nested structures,
// whose failures it remembers: they must not pass for broken metadata.
func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= w.size {
		return 0, io.EOF
	}
	n, err := w.r.ReadAt(p[:min(int64(len(p)), w.size-off)], off)
	if err != nil && !errors.Is(err, io.EOF) && w.err == nil {
		w.err = err
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// cursor reads numbers in order from a part of a file; after a read past its
// end every further one gives zero, and bad stays set.
type cursor struct {
	w        *window
	pos, end int64
	bad      bool
}

func (c *cursor) take(n int) []byte {
	if !c.bad && int64(n) <= c.end-c.pos {
		if b, ok := c.w.bytes(c.pos, n); ok {
			c.pos += int64(n)
			return b
		}
	}
	c.bad = true
	return nil
}

func (c *cursor) skip(n int64) {
	if n > c.left() {
		c.bad = true
		return
	}
	c.pos += n
}

// uint reads a big-endian number of 0 to 8 bytes.
func (c *cursor) uint(n int) (v uint64) {
	for _, b := range c.take(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (c *cursor) u8() int    { return int(c.uint(1)) }
func (c *cursor) u16() int   { return int(c.uint(2)) }
func (c *cursor) u32() int64 { return int64(c.uint(4)) }
func (c *cursor) left() int64 {
	if c.bad {
		return 0
	}
	return c.end - c.pos
}

// text reads up to a NUL, which is consumed, and keeps at most limit bytes of it.
func (c *cursor) text(limit int) string {
	var s []byte
	for c.left() > 0 {
		b := c.w.some(c.pos)
		if len(b) == 0 {
			c.bad = true
			break
		}
		b = b[:min(int64(len(b)), c.left())]
		i := bytes.IndexByte(b, 0)
		if i >= 0 {
			b = b[:i]
			c.pos++
		}
		c.pos += int64(len(b))
		s = append(s, b[:min(len(b), limit-len(s))]...)
		if i >= 0 {
			break
		}
	}
	return string(s)
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)
