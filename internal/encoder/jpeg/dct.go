package jpeg

import "math"

// zigzag is figure A.6: the place in raster order of each coefficient.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// unscale brings the transform's coefficients, in raster order, to those of
// A.3.3: the transform leaves out a factor for each row and column.
var unscale = func() (s [64]float32) {
	factor := func(u int) float64 {
		if u == 0 {
			return 1 / math.Sqrt(8)
		}
		return 1 / (4 * math.Cos(float64(u)*math.Pi/16))
	}
	for k := range s {
		s[k] = float32(factor(k/8) * factor(k%8))
	}
	return s
}()

// transform makes the coefficients of a component's blocks.
func (c *component) transform(p plane) {
	c.coefficients = make([]float32, 64*c.across*c.down)
	var block [64]float32
	for by := range c.down {
		for bx := range c.across {
			for y := range 8 {
				copy(block[8*y:8*y+8], p.samples[(8*by+y)*p.stride+8*bx:])
			}
			forward(&block)
			out := (*[64]float32)(c.coefficients[64*(by*c.across+bx):])
			for k, at := range &zigzag {
				out[k] = block[at&63] * unscale[at&63]
			}
		}
	}
}

// forward is the two-dimensional cosine transform of one block, scaled: five
// multiplications for eight numbers. After Y. Arai, T. Agui and M. Nakajima,
// "A fast DCT-SQ scheme for images", Trans. IEICE E-71, 1988.
func forward(b *[64]float32) {
	for y := 0; y < 64; y += 8 {
		b[y], b[y+1], b[y+2], b[y+3], b[y+4], b[y+5], b[y+6], b[y+7] = eight(
			b[y], b[y+1], b[y+2], b[y+3], b[y+4], b[y+5], b[y+6], b[y+7])
	}
	for x := range 8 {
		b[x], b[x+8], b[x+16], b[x+24], b[x+32], b[x+40], b[x+48], b[x+56] = eight(
			b[x], b[x+8], b[x+16], b[x+24], b[x+32], b[x+40], b[x+48], b[x+56])
	}
}

// eight is the scaled cosine transform of eight numbers.
func eight(a, b, c, d, e, f, g, h float32) (_, _, _, _, _, _, _, _ float32) {
	const (
		c4   = 0.707106781186547524 // cos(4π/16)
		c6   = 0.382683432365089772 // cos(6π/16)
		c2m6 = 0.541196100146196985 // cos(2π/16) − cos(6π/16)
		c2p6 = 1.306562964876376528 // cos(2π/16) + cos(6π/16)
	)
	s0, d0 := a+h, a-h
	s1, d1 := b+g, b-g
	s2, d2 := c+f, c-f
	s3, d3 := d+e, d-e

	even0, odd0 := s0+s3, s0-s3
	even1, odd1 := s1+s2, s1-s2
	turn := (odd1 + odd0) * c4

	t0, t1, t2 := d3+d2, d2+d1, d1+d0
	z5 := (t0 - t2) * c6
	z2 := c2m6*t0 + z5
	z4 := c2p6*t2 + z5
	z3 := t1 * c4
	z11, z13 := d0+z3, d0-z3

	return even0 + even1, z11 + z4, odd0 + turn, z13 - z2, even0 - even1, z13 + z2, odd0 - turn, z11 - z4
}
