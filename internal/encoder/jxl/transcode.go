package jxl

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"io"
	"math"
	"runtime"
	"unsafe"

	"safelight/internal/fault"
)

// chunkBytes is how much of a JPEG XL file is asked of the library at once.
const chunkBytes = 128 << 10

// Codes of Unprocessable errors.
const (
	CodeNotReversible = "not-reversible"    // a JPEG that can't be carried over bit for bit, or a file that holds none
	CodeDamaged       = "undecodable-image" // no JPEG XL file, or a damaged one
	CodePixels        = "too-many-pixels"   // more than Limits.Pixels; the kind is TooLarge
)

// TranscodeJPEG writes the JPEG XL file that holds a JPEG without loss, usually
// a fifth smaller. effort is libjxl's, 1 (fastest) to 9; more than 7 takes ten
// times as long for half a percent. It takes about 50 bytes of memory a pixel. What RestoreJPEG makes of the result is to be compared with the JPEG
// before that is given up. The error is Unprocessable with CodeNotReversible
// for what libjxl refuses: damaged files, and kinds of JPEG that it doesn't
// know; otherwise it is one of dst.
func (l *Library) TranscodeJPEG(dst io.Writer, jpeg []byte, effort int) error {
	if effort < 1 || effort > 9 {
		return fault.New(fault.Invalid, "the effort for JPEG XL is %d; it goes from 1 to 9", effort)
	}
	if len(jpeg) == 0 {
		return errRefused
	}
	var e *C.jx_encoder
	status := C.jx_encode(l.p, (*C.uint8_t)(&jpeg[0]), C.size_t(len(jpeg)), C.int(effort), &e)
	defer func() { C.jx_encode_end(e) }()
	if status != C.JX_DONE {
		return failed(status)
	}
	chunk, err := newBuffer(chunkBytes)
	if err != nil {
		return err
	}
	defer chunk.free()
	for {
		var n C.size_t
		status := C.jx_encode_next(e, chunk.c(), chunkBytes, &n)
		if status != C.JX_DONE && status != C.JX_MORE {
			return failed(status)
		}
		if _, err := dst.Write(chunk.bytes(n)); err != nil || status == C.JX_DONE {
			return err
		}
	}
}

// Limits bound what RestoreJPEG does; 0 is no limit.
type Limits struct {
	Pixels int64 // of the picture, as its header says: the memory follows from that
	Bytes  int64 // of the JPEG
}

// RestoreJPEG writes the JPEG that a JPEG XL file was made from. Errors are
// Unprocessable, with CodeDamaged for what is no whole JPEG XL file and
// CodeNotReversible for one that holds no JPEG; TooLarge over a limit; or of
// dst. What was written before an error is of no use.
func (l *Library) RestoreJPEG(dst io.Writer, file []byte, limits Limits) error {
	if len(file) == 0 {
		return errDamaged
	}
	var pinned runtime.Pinner // the decoder reads from it over several calls
	defer pinned.Unpin()
	pinned.Pin(&file[0])
	most := C.uint64_t(limits.Pixels)
	if limits.Pixels <= 0 {
		most = ^C.uint64_t(0)
	}
	var d *C.jx_decoder
	status := C.jx_decode(l.p, (*C.uint8_t)(&file[0]), C.size_t(len(file)), most, &d)
	defer func() { C.jx_decode_end(d) }()
	if status != C.JX_DONE {
		return failed(status)
	}
	if limits.Bytes <= 0 {
		limits.Bytes = math.MaxInt64
	}
	return fill(dst, d, 2*int64(len(file))+chunkBytes, limits.Bytes)
}

// fill asks the decoder for the JPEG. It comes in one piece or, in a buffer that
// is too small, not at all; then it is asked for again with a larger one.
func fill(dst io.Writer, d *C.jx_decoder, size, most int64) error {
	for {
		size = min(size, most)
		whole, err := newBuffer(size)
		if err != nil {
			return err
		}
		var n C.size_t
		status := C.jx_decode_next(d, whole.c(), C.size_t(size), &n)
		if status == C.JX_DONE || n > 0 {
			_, err = dst.Write(whole.bytes(n))
			most -= int64(n)
		}
		whole.free()
		switch {
		case err != nil || status == C.JX_DONE:
			return err
		case status != C.JX_MORE:
			return failed(status)
		case size >= most:
			return fault.New(fault.TooLarge, "the JPEG in the JPEG XL file is larger than the limit")
		}
		size *= 2
	}
}

// buffer is memory outside of Go's heap, which the library may keep between calls.
type buffer struct {
	p    unsafe.Pointer
	size int64
}

func newBuffer(size int64) (*buffer, error) {
	p := C.malloc(C.size_t(size))
	if p == nil {
		return nil, fault.New(fault.Unprocessable, "there is no memory for %d bytes of a picture", size)
	}
	return &buffer{p, size}, nil
}

func (b *buffer) free()                   { C.free(b.p) }
func (b *buffer) c() *C.uint8_t           { return (*C.uint8_t)(b.p) }
func (b *buffer) bytes(n C.size_t) []byte { return unsafe.Slice((*byte)(b.p), int(n)) }

var (
	errRefused = &fault.Error{Kind: fault.Unprocessable, Code: CodeNotReversible,
		Message: "this JPEG can't be turned into JPEG XL and back bit for bit"}
	errNoJPEG = &fault.Error{Kind: fault.Unprocessable, Code: CodeNotReversible,
		Message: "this JPEG XL file was not made from a JPEG"}
	errDamaged = &fault.Error{Kind: fault.Unprocessable, Code: CodeDamaged,
		Message: "the file is damaged, or no JPEG XL picture"}
)

func failed(status C.int) error {
	switch status {
	case C.JX_REFUSED:
		return errRefused
	case C.JX_NO_JPEG:
		return errNoJPEG
	case C.JX_TOO_LARGE:
		return &fault.Error{Kind: fault.TooLarge, Code: CodePixels, Message: "the JPEG XL picture has more pixels than the limit"}
	}
	return errDamaged
}
