package jxl

// #include "shim.h"
import "C"

import (
	"math"

	"safelight/internal/fault"
)

// Pixels is a picture: W × H × 3 samples of 8 bits, sRGB, interleaved, rows from
// the top without gaps. Bands must be 3: what transparency is laid on is the
// caller's choice.
type Pixels struct {
	W, H, Bands int
	Pix         []uint8
}

// Distance is how different two pictures look, 0 for equal ones; about 1 can
// just be seen in a comparison side by side.
type Distance struct {
	Max float64   // at the worst place
	P3  float64   // over the picture: butteraugli's "3-norm"
	Map []float32 // at each pixel, W × H, rows from the top; nil unless asked for
}

// MinSide is the shortest side, in pixels, that butteraugli sees anything in:
// the library finds smaller pictures equal whatever they show.
const MinSide = 8

// HasButteraugli tells whether this libjxl has the metric; those after 0.7 lack it.
func (l *Library) HasButteraugli() bool { return C.jx_has_butteraugli(l.p) != 0 }

// Butteraugli compares a picture with the one that it was made from, as shown
// with white at 255 cd/m², added detail counting like lost detail: the defaults
// of libjxl's API. It takes about 250 bytes of memory a pixel, and 0.4 to 0.7 s of
// processor time a megapixel. The error is
// Unavailable where HasButteraugli is false, Invalid for pictures that can't be
// compared: of sizes that differ, or with a side below MinSide.
func (l *Library) Butteraugli(ref, dist Pixels) (Distance, error) {
	return l.butteraugli(ref, dist, nil)
}

// ButteraugliMap is Butteraugli with the map.
func (l *Library) ButteraugliMap(ref, dist Pixels) (Distance, error) {
	if !ref.valid() {
		return Distance{}, errSize
	}
	return l.butteraugli(ref, dist, make([]float32, ref.W*ref.H))
}

var errSize = fault.New(fault.Invalid, "butteraugli compares two pictures of one size, at least %d pixels each way, with three bands of 8 bits", MinSide)

func (l *Library) butteraugli(ref, dist Pixels, into []float32) (Distance, error) {
	if !l.HasButteraugli() {
		return Distance{}, fault.New(fault.Unavailable, "libjxl %s has no butteraugli; 0.7 is the last that has", l.Version())
	}
	if !ref.valid() || !dist.valid() || ref.W != dist.W || ref.H != dist.H {
		return Distance{}, errSize
	}
	var first *C.float
	if into != nil {
		first = (*C.float)(&into[0])
	}
	var most, p3 C.double
	if C.jx_butteraugli(l.p, C.uint32_t(ref.W), C.uint32_t(ref.H), (*C.uint8_t)(&ref.Pix[0]), (*C.uint8_t)(&dist.Pix[0]),
		&most, &p3, first) != 0 {
		return Distance{}, fault.New(fault.Internal, "butteraugli failed on a picture of %d × %d pixels", ref.W, ref.H)
	}
	return Distance{Max: float64(most), P3: float64(p3), Map: into}, nil
}

func (p Pixels) valid() bool {
	return p.W >= MinSide && p.H >= MinSide && p.W <= math.MaxInt32/3/p.H && p.Bands == 3 && len(p.Pix) == p.W*p.H*3
}
