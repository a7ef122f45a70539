// Package metric measures how far a compressed picture is from its original,
// as people see it: SSIMULACRA2, version 2.1.
//
// A score of 100 is identical, 90 can't be told apart at arm's length, 70 is
// high and 50 medium quality; there is no lower end. The definition is that of
// github.com/cloudinary/ssimulacra2 and of tools/ssimulacra2.cc in
// github.com/libjxl/libjxl: six scales, each half of the one before in linear
// light; at each, three error maps of the three components of XYB; of each map
// the mean and the 4-norm; and a weighted sum of these 108 numbers.
//
// Scores agree with the reference implementation's, whose order of operations
// is followed, to far less than 0.05 in pictures of at least 113 × 113 pixels.
// In smaller ones that has fewer than six scales, takes the weights of others
// for them, and so gives numbers that can't be compared; here a smaller picture
// is mirrored at its right and lower edge until it has six, and scores about
// what it would as part of a larger one. Identical pictures give exactly 100.
package metric

import "safelight/internal/fault"

// Image is a picture of 8-bit sRGB samples: width × height pixels, interleaved
// rows without gaps, 1 to 4 bands: grey, grey with alpha, RGB, RGB with alpha.
// Alpha is straight (not premultiplied). Pix is only read.
type Image struct {
	W, H, Bands int
	Pix         []uint8 // W·H·Bands samples
}

// Reference is an original, prepared for being compared with many pictures.
// It holds about 45 bytes a pixel, and as many again where its alpha is not
// opaque throughout. It uses its buffers anew for each Score: one call at a
// time, not safe for concurrent use. Different References are independent.
type Reference struct {
	w, h  int
	sides []side // one, or one for each background
	work  *scratch
}

// Prepare computes what depends on the reference alone. Pix may be changed
// afterwards. The error is of kind fault.Invalid: an image whose fields do not
// fit together.
func Prepare(ref Image) (*Reference, error) {
	if err := ref.check(); err != nil {
		return nil, err
	}
	r := &Reference{w: ref.W, h: ref.H, work: newScratch(ref.W, ref.H)}
	used := backgrounds[:1]
	if !ref.opaque() {
		used = backgrounds[:]
	}
	for _, background := range used {
		r.sides = append(r.sides, r.work.prepare(picture{ref, background}))
	}
	return r, nil
}

// Score compares a picture with the reference; at most 100, which is identical.
// The number of bands may differ from the reference's. Where either has alpha
// that is not opaque, both are composed on a dark and on a light background,
// and the lower score counts. The errors are of kind fault.Invalid: an image
// whose fields do not fit together, or one of another size.
func (r *Reference) Score(dist Image) (float64, error) {
	if err := dist.check(); err != nil {
		return 0, err
	}
	if dist.W != r.w || dist.H != r.h {
		return 0, fault.New(fault.Invalid, "the distorted image is %d × %d pixels; expected %d × %d as the reference", dist.W, dist.H, r.w, r.h)
	}
	if len(r.sides) == 1 && dist.opaque() {
		return r.work.compare(r.sides[0], picture{dist, backgrounds[0]}), nil
	}
	lowest := 100.0
	for i, background := range backgrounds {
		one := r.sides[min(i, len(r.sides)-1)]
		lowest = min(lowest, r.work.compare(one, picture{dist, background}))
	}
	return lowest, nil
}

func (m Image) check() error {
	if m.W < 1 || m.H < 1 || m.Bands < 1 || m.Bands > 4 {
		return fault.New(fault.Invalid, "an image of %d × %d pixels and %d bands can't be measured; expected at least 1 × 1 and 1 to 4 bands", m.W, m.H, m.Bands)
	}
	if len(m.Pix)/m.Bands/m.W != m.H || len(m.Pix)%(m.Bands*m.W) != 0 {
		return fault.New(fault.Invalid, "an image of %d × %d pixels and %d bands has %d samples", m.W, m.H, m.Bands, len(m.Pix))
	}
	return nil
}

// opaque reports whether no pixel lets a background through.
func (m Image) opaque() bool {
	if m.Bands%2 == 1 {
		return true
	}
	for i := m.Bands - 1; i < len(m.Pix); i += m.Bands {
		if m.Pix[i] != 255 {
			return false
		}
	}
	return true
}
