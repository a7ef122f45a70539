package worker

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"safelight/internal/encoder/jxl"
	"safelight/internal/fault"
	"safelight/internal/plan"
)

const (
	jxlEffort = 7
	// jxlBytesPerPixel is the least memory that a pixel of a JPEG XL file takes
	// while its JPEG is restored: one coefficient of 16 bits, of a grey one.
	jxlBytesPerPixel = 2
)

// transcode carries the source over into another file format without decoding
// it to pixels. Both files are mapped, so neither lies on Go's heap.
func (e *Engine) transcode(t plan.Transcode, files Files) error {
	if e.jxl == nil {
		return e.noJXL
	}
	source, err := mapped(files.Source)
	if err != nil {
		return err
	}
	defer unix.Munmap(source)
	switch t.To {
	case plan.ToJXL:
		return e.toJXL(source, t.Effort, files.Output)
	case plan.ToJPEG:
		return e.toJPEG(output(files.Output), source, e.outputBytes)
	}
	return fault.New(fault.Invalid, "a file can't be transcoded to %q; expected %q or %q", t.To, plan.ToJXL, plan.ToJPEG)
}

// toJXL answers only once the JPEG has come out of the written file bit for bit.
func (e *Engine) toJXL(source []byte, effort, fd int) error {
	if !bytes.HasPrefix(source, []byte{0xff, 0xd8, 0xff}) {
		return &fault.Error{Kind: fault.Unprocessable, Code: jxl.CodeDamaged, Message: "the file is no JPEG picture"}
	}
	if effort == 0 {
		effort = jxlEffort
	}
	if err := e.jxl.TranscodeJPEG(output(fd), source, effort); err != nil {
		return err
	}
	written, err := mapped(fd)
	if err != nil {
		return err
	}
	defer unix.Munmap(written)
	rest := comparison{source}
	err = e.toJPEG(&rest, written, int64(len(source)))
	f := fault.As(err)
	switch {
	case err == nil && len(rest.want) == 0:
		return nil
	case f != nil && f.Code == codeMemory:
		return err
	}
	return &fault.Error{Kind: fault.Unprocessable, Code: jxl.CodeNotReversible, Cause: err,
		Message: "this JPEG can't be turned into JPEG XL and back bit for bit"}
}

const codeMemory = "needs-memory" // which the pool completes with its limit

func (e *Engine) toJPEG(to io.Writer, file []byte, most int64) error {
	err := e.jxl.RestoreJPEG(to, file, jxl.Limits{Pixels: e.maxPixels, Bytes: most})
	if f := fault.As(err); f != nil && f.Kind == fault.TooLarge {
		if f.Code == jxl.CodePixels {
			return &fault.Error{Kind: fault.Unprocessable, Code: codeMemory, Cause: err,
				Message: "the picture needs more memory than one picture may take"}
		}
		return fault.Limit(fault.TooLarge, "codec.output_bytes", most, 0, "the result is larger than %d bytes", most)
	}
	return err
}

// mapped gives the bytes of a file, whatever its position.
func mapped(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "a file for the codec can't be read")
	}
	if st.Size == 0 {
		return nil, &fault.Error{Kind: fault.Unprocessable, Code: jxl.CodeDamaged, Message: "the file is empty"}
	}
	b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "a file for the codec can't be read")
	}
	return b, nil
}

// output writes to a descriptor that stays the caller's.
type output int

func (o output) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		k, err := unix.Write(int(o), p[n:])
		if err != nil && err != unix.EINTR {
			return n, err
		}
		n += max(k, 0)
	}
	return len(p), nil
}

// comparison takes bytes that must be those wanted, in order.
type comparison struct{ want []byte }

var errDiffers = errors.New("the restored bytes differ")

func (c *comparison) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(c.want, p) {
		return 0, errDiffers
	}
	c.want = c.want[len(p):]
	return len(p), nil
}
