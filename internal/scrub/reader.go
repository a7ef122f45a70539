package scrub

import (
	"errors"
	"io"
	"sort"
)

// Reader reads a file with patches laid over it. ReadAt may be called by
// several goroutines at once; Read and Seek share one position, and may not.
type Reader struct {
	r       io.ReaderAt
	size    int64
	patches []Patch
	pos     int64
}

// NewReader reads the first size bytes of r through patches, which have to be
// as Plan makes them: sorted, and not overlapping. It keeps them, and changes
// nothing.
func NewReader(r io.ReaderAt, size int64, patches []Patch) *Reader {
	return &Reader{r: r, size: size, patches: patches}
}

// ReadAt implements io.ReaderAt.
func (x *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errOffset
	}
	if off >= x.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), x.size-off)]
	n, err := x.r.ReadAt(p, off)
	x.lay(p[:n], off)
	switch {
	case n < len(p):
		return n, err
	case len(p) < want:
		return n, io.EOF
	}
	return n, nil
}

// lay puts the patches over what was read from off on.
func (x *Reader) lay(p []byte, off int64) {
	i := sort.Search(len(x.patches), func(i int) bool {
		return x.patches[i].Offset+int64(len(x.patches[i].Bytes)) > off
	})
	for ; i < len(x.patches) && x.patches[i].Offset < off+int64(len(p)); i++ {
		if at := x.patches[i].Offset - off; at >= 0 {
			copy(p[at:], x.patches[i].Bytes)
		} else {
			copy(p, x.patches[i].Bytes[-at:])
		}
	}
}

// Read implements io.Reader.
func (x *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := x.ReadAt(p, x.pos)
	x.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

var errOffset = errors.New("scrub: offset before the start of the file")

// Seek implements io.Seeker.
func (x *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += x.pos
	case io.SeekEnd:
		offset += x.size
	case io.SeekStart:
	default:
		return 0, errors.New("scrub: unknown kind of seek")
	}
	if offset < 0 {
		return 0, errOffset
	}
	x.pos = offset
	return offset, nil
}
