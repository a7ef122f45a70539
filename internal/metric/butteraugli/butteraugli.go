// Package butteraugli measures how far a compressed picture is from its
// original, as people see it at places: butteraugli as in libjxl 0.7, with the
// defaults of its API (white at 255 cd/m², added detail counting like lost
// detail, colour and brightness alike).
//
// A distance is 0 for identical pictures; about 1 can just be seen in a
// comparison side by side. The definition is that of
// lib/jxl/butteraugli/butteraugli.cc and lib/jxl/enc_butteraugli_pnorm.cc in
// github.com/libjxl/libjxl: a model of the eye's photopigments, adapted to the
// light around; four bands of frequencies; differences within a band, along
// lines where they are fine; masking of differences by fine texture in the
// original; the same again at half the size; and norms over all places.
//
// Distances agree with libjxl's to about a hundredth of a percent, which is far
// less than what a step of an encoder's quality changes.
package butteraugli

import (
	"safelight/internal/fault"
	"safelight/internal/metric"
)

// MinSide is the shortest side, in pixels, of pictures that can be compared.
const MinSide = 8

// Distance is how different two pictures look.
type Distance struct {
	Max float64 // at the worst place
	P3  float64 // over the picture: butteraugli's "3-norm", the mean of the norms of order 3, 6 and 12
}

// Reference is an original, prepared for being compared with many pictures.
// It holds about 70 bytes a pixel, and 2.5 kB a column. It uses its buffers
// anew for each Distance: one call at a time, not safe for concurrent use.
// Different References are independent.
type Reference struct {
	w, h   int
	whole  *scale
	half   *scale // nil where a side would be below MinSide
	places []float32
	known  bool // whether places are those of a Distance
}

// Prepare computes what depends on the reference alone. Pix may be changed
// afterwards. The error is of kind fault.Invalid: an image without three bands,
// with a side below MinSide, or with fields that do not fit together.
func Prepare(ref metric.Image) (*Reference, error) {
	if err := check(ref); err != nil {
		return nil, err
	}
	r := &Reference{w: ref.W, h: ref.H, places: make([]float32, ref.W*ref.H)}
	r.whole = newScale(picture{pix: ref.Pix, w: ref.W, h: ref.H})
	if small := (picture{pix: ref.Pix, w: ref.W, h: ref.H, halved: true}); min(small.size()) >= MinSide {
		r.half = newScale(small)
	}
	return r, nil
}

// Distance compares a picture with the reference. The errors are of kind
// fault.Invalid: an image that Prepare would refuse, or one of another size.
func (r *Reference) Distance(dist metric.Image) (Distance, error) {
	if err := check(dist); err != nil {
		return Distance{}, err
	}
	if dist.W != r.w || dist.H != r.h {
		return Distance{}, fault.New(fault.Invalid, "the distorted image is %d × %d pixels; expected %d × %d as the reference", dist.W, dist.H, r.w, r.h)
	}
	p := picture{pix: dist.Pix, w: dist.W, h: dist.H}
	if r.half != nil {
		small := p
		small.halved = true
		r.half.compare(small, nil)
	}
	var over norms
	r.whole.compare(p, func(y int, row []float32) {
		if r.half != nil {
			blend(row, r.half.found.row(y/2))
		}
		copy(r.places[y*r.w:(y+1)*r.w], row)
		over.add(row[:r.w])
	})
	r.known = true
	return over.distance(r.w * r.h), nil
}

// Map returns the distance at each pixel in the last Distance: width × height,
// rows from the top; nil before the first. The next Distance overwrites it.
func (r *Reference) Map() []float32 {
	if !r.known {
		return nil
	}
	return r.places
}

func check(m metric.Image) error {
	if m.W < MinSide || m.H < MinSide || m.Bands != 3 {
		return fault.New(fault.Invalid, "an image of %d × %d pixels and %d bands can't be measured; expected at least %d × %d and 3 bands", m.W, m.H, m.Bands, MinSide, MinSide)
	}
	if len(m.Pix)%(3*m.W) != 0 || len(m.Pix)/3/m.W != m.H {
		return fault.New(fault.Invalid, "an image of %d × %d pixels and %d bands has %d samples", m.W, m.H, m.Bands, len(m.Pix))
	}
	return nil
}
