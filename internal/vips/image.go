package vips

// #include <stdlib.h>
// #include "shim.h"
import "C"

import "unsafe"

// Image is a picture or the recipe of one: pixels are computed when a saver or
// a statistic asks for them. Width × height × bands, interleaved; the frames of
// an animation lie below each other, PageHeight rows each.
type Image struct {
	p unsafe.Pointer
	h C.vs_header
}

// Source is where a loader reads, Target where a saver writes.
type (
	Source struct{ p unsafe.Pointer }
	Target struct{ p unsafe.Pointer }
)

// Interpretations of pixels (VipsInterpretation), those that code asks for.
const (
	Multiband = 0
	BW        = 1
	CMYK      = 15
	SRGB      = 22
	RGB16     = 25
	Grey16    = 26
)

// Formats of one sample (VipsBandFormat), those that code asks for.
const (
	Uchar  = 0
	Ushort = 2
	Float  = 6
	double = 8
)

func (s *Scope) image(p unsafe.Pointer) *Image {
	i := &Image{p: s.own(p)}
	C.vs_image_header(p, &i.h)
	s.images = append(s.images, i)
	return i
}

// SourceFD reads from a descriptor, which is duplicated: the caller's stays
// open and its own, but the file position is shared.
func (s *Scope) SourceFD(fd int) (Source, error) {
	p := C.vs_source_fd(C.int(fd))
	if p == nil {
		return Source{}, failure("source")
	}
	return Source{s.own(p)}, nil
}

// SourceBytes reads from a copy of data, which must not be empty.
func (s *Scope) SourceBytes(data []byte) (Source, error) {
	if len(data) == 0 {
		return Source{}, &Error{"source", "there is nothing to read"}
	}
	copied := C.CBytes(data)
	p := C.vs_source_memory(copied, C.size_t(len(data)))
	if p == nil {
		C.free(copied)
		return Source{}, failure("source")
	}
	s.copies = append(s.copies, copied)
	return Source{s.own(p)}, nil
}

// TargetMemory writes to memory; Take reads it.
func (s *Scope) TargetMemory() (Target, error) {
	p := C.vs_target_memory()
	if p == nil {
		return Target{}, failure("target")
	}
	return Target{s.own(p)}, nil
}

// Take copies what a saver has written to a target of TargetMemory.
func (t Target) Take() ([]byte, error) {
	blob := C.vs_target_blob(t.p)
	if blob == nil {
		return nil, failure("target")
	}
	defer C.vs_blob_unref(blob)
	var size C.size_t
	p := C.vs_blob_data(blob, &size)
	return append([]byte(nil), unsafe.Slice((*byte)(p), int(size))...), nil
}

// TargetFD writes to a descriptor, which is duplicated.
func (s *Scope) TargetFD(fd int) (Target, error) {
	p := C.vs_target_fd(C.int(fd))
	if p == nil {
		return Target{}, failure("target")
	}
	return Target{s.own(p)}, nil
}

// FromMemory makes a picture of a copy of pixels: width × height × bands
// samples of one byte, interleaved, rows from the top.
func (s *Scope) FromMemory(pixels []byte, widthPx, heightPx, bands int) (*Image, error) {
	if len(pixels) == 0 || len(pixels) != widthPx*heightPx*bands {
		return nil, &Error{"image", "the pixels don't fit the size"}
	}
	p := C.vs_image_from_memory(unsafe.Pointer(&pixels[0]), C.size_t(len(pixels)),
		C.int(widthPx), C.int(heightPx), C.int(bands), Uchar)
	if p == nil {
		return nil, failure("image")
	}
	return s.image(p), nil
}

// Matrix makes a picture of one band of float64, rows from the top, as
// operations take it for a matrix.
func (s *Scope) Matrix(values []float64, columns, rows int) (*Image, error) {
	if len(values) == 0 || len(values) != columns*rows {
		return nil, &Error{"matrix", "the values don't fit the size"}
	}
	p := C.vs_image_from_memory(unsafe.Pointer(&values[0]), C.size_t(8*len(values)),
		C.int(columns), C.int(rows), 1, double)
	if p == nil {
		return nil, failure("matrix")
	}
	return s.image(p), nil
}

// CopyMemory computes the picture and holds it in memory, for access in any order.
func (s *Scope) CopyMemory(i *Image) (*Image, error) {
	if i.p == nil {
		return nil, errClosed
	}
	p := C.vs_image_copy_memory(i.p)
	if p == nil {
		return nil, failure("copy")
	}
	return s.image(p), nil
}

// Bytes computes the picture and returns its samples as they lie in memory.
func (i *Image) Bytes() ([]byte, error) {
	if i.p == nil {
		return nil, errClosed
	}
	var size C.size_t
	p := C.vs_image_to_memory(i.p, &size)
	if p == nil {
		return nil, failure("write")
	}
	defer C.vs_free(p)
	return append([]byte(nil), unsafe.Slice((*byte)(p), int(size))...), nil
}

// Width of the picture, pixels.
func (i *Image) Width() int { return int(i.h.width) }

// Height of the picture with all its frames, pixels.
func (i *Image) Height() int { return int(i.h.height) }

// Bands is the number of samples a pixel.
func (i *Image) Bands() int { return int(i.h.bands) }

// Format is the type of one sample: Uchar …
func (i *Image) Format() int { return int(i.h.format) }

// Interpretation says what the bands mean: SRGB …
func (i *Image) Interpretation() int { return int(i.h.interpretation) }

// HasAlpha tells whether the last band is transparency.
func (i *Image) HasAlpha() bool { return i.h.alpha != 0 }

// PageHeight is the height of one frame, or of the picture when it has one.
func (i *Image) PageHeight() int { return int(i.h.page_height) }

// Pages is the number of pages in the file that the picture was loaded from, at least 1.
func (i *Image) Pages() int { return int(i.h.n_pages) }

// Offset is where the origin lies in the picture; after a crop, minus the crop's corner.
func (i *Image) Offset() (x, y int) { return int(i.h.x_offset), int(i.h.y_offset) }

// Has tells whether the picture carries a metadata field.
func (i *Image) Has(field string) bool { return C.vs_image_has(i.p, intern(field)) != 0 }

// Int reads a metadata field; false when it is absent or no int.
func (i *Image) Int(field string) (int, bool) {
	var v C.int
	if !i.Has(field) {
		return 0, false
	}
	if C.vs_image_get_int(i.p, intern(field), &v) != 0 {
		_ = failure(field)
		return 0, false
	}
	return int(v), true
}

// Ints reads a metadata field; nil when it is absent or no list of ints.
func (i *Image) Ints(field string) []int {
	var p *C.int
	var n C.int
	if !i.Has(field) {
		return nil
	}
	if C.vs_image_get_ints(i.p, intern(field), &p, &n) != 0 {
		_ = failure(field)
		return nil
	}
	out := make([]int, n)
	for k, v := range unsafe.Slice(p, int(n)) {
		out[k] = int(v)
	}
	return out
}

// Blob copies a metadata field; nil when it is absent or no blob.
func (i *Image) Blob(field string) []byte {
	var p unsafe.Pointer
	var n C.size_t
	if !i.Has(field) {
		return nil
	}
	if C.vs_image_get_blob(i.p, intern(field), &p, &n) != 0 {
		_ = failure(field)
		return nil
	}
	return C.GoBytes(p, C.int(n))
}

// SetInt sets a metadata field. Only on a picture that nothing else refers to
// yet: the result of "copy".
func (i *Image) SetInt(field string, v int) { C.vs_image_set_int(i.p, intern(field), C.int(v)) }

// SetInts sets a metadata field, as SetInt.
func (i *Image) SetInts(field string, v []int) {
	list := make([]C.int, len(v)+1)
	for k := range v {
		list[k] = C.int(v[k])
	}
	C.vs_image_set_ints(i.p, intern(field), &list[0], C.int(len(v)))
}

// SetBlob sets a metadata field to a copy of v, as SetInt.
func (i *Image) SetBlob(field string, v []byte) {
	if len(v) > 0 {
		C.vs_image_set_blob(i.p, intern(field), unsafe.Pointer(&v[0]), C.size_t(len(v)))
	}
}

// Remove removes a metadata field, as SetInt. An absent one is no error.
func (i *Image) Remove(field string) {
	name := C.CString(field) // may be any name that a file made up
	defer C.free(unsafe.Pointer(name))
	C.vs_image_remove(i.p, name)
}

// Fields lists the names of all header and metadata fields.
func (i *Image) Fields() []string {
	list := C.vs_image_fields(i.p)
	defer C.vs_free_strings(list)
	var out []string
	for p := list; *p != nil; p = (**C.char)(unsafe.Add(unsafe.Pointer(p), unsafe.Sizeof(*p))) {
		out = append(out, C.GoString(*p))
	}
	return out
}
