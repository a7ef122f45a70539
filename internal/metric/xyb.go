package metric

import "math"

// The grey levels behind transparent pictures, dark and light, in sRGB units
// of 0 to 1, as in the reference implementation's main program.
var backgrounds = [2]float32{0.1, 0.9}

// linearOf is the light, 0 to 1, of an 8-bit sRGB sample.
var linearOf [256]float32

func init() {
	for i := range linearOf {
		linearOf[i] = fromSRGB(float32(i) * (1.0 / 255))
	}
}

// fromSRGB turns a signal of 0 to 1 into light. Above the toe it is libjxl's
// quotient of two polynomials (transfer_functions-inl.h).
func fromSRGB(v float32) float32 {
	if v <= 0.04045 {
		return v * (1 / 12.92)
	}
	over := [...]float32{0.8210152774, 0.7961564959, 0.1624820318, 0.01043637593, 0.0002200248328}
	under := [...]float32{0.006521209011, -0.05512498495, 0.498752835, 1.076976492, 0.263184697}
	n, d := over[0], under[0]
	for i := 1; i < len(over); i++ {
		n, d = fma(n, v, over[i]), fma(d, v, under[i])
	}
	return n / d
}

// fma is x·y + z rounded once, as the processor's own instruction does it: in
// float64 the product of two float32 is exact. (The sum is rounded to float64
// before it is rounded to float32; that differs in one of 2²⁹ cases.)
func fma(x, y, z float32) float32 { return float32(float64(x)*float64(y) + float64(z)) }

// picture is an image on a background.
type picture struct {
	Image
	background float32
}

// linearRow writes row y in linear light to three rows that may be longer than
// the picture is wide. Beyond the picture is its mirror image.
func (p *picture) linearRow(r, g, b []float32, y int) {
	stride := p.W * p.Bands
	y = mirrored(y, p.H)
	pix := p.Pix[y*stride : (y+1)*stride]
	g, b = g[:len(r)], b[:len(r)]
	switch p.Bands {
	case 1:
		for x, v := range pix {
			r[x] = linearOf[v]
		}
	case 2:
		for x := range p.W {
			r[x] = p.composed(pix[2*x], pix[2*x+1])
		}
	case 3:
		for x := range p.W {
			q := pix[3*x : 3*x+3 : 3*x+3]
			r[x], g[x], b[x] = linearOf[q[0]], linearOf[q[1]], linearOf[q[2]]
		}
	case 4:
		for x := range p.W {
			q := pix[4*x : 4*x+4 : 4*x+4]
			r[x], g[x], b[x] = p.composed(q[0], q[3]), p.composed(q[1], q[3]), p.composed(q[2], q[3])
		}
	}
	if p.Bands < 3 {
		copy(g[:p.W], r)
		copy(b[:p.W], r)
	}
	for x := p.W; x < len(r); x++ {
		at := mirrored(x, p.W)
		r[x], g[x], b[x] = r[at], g[at], b[at]
	}
}

// mirrored is where in a picture of so many pixels lies what is at a place
// that may be beyond its end.
func mirrored(at, size int) int {
	if at %= 2 * size; at >= size {
		at = 2*size - 1 - at
	}
	return at
}

// composed is a sample with its alpha on the background, in linear light. The
// two are mixed in sRGB units, as browsers and the reference implementation do.
func (p *picture) composed(v, alpha uint8) float32 {
	if alpha == 255 {
		return linearOf[v]
	}
	a := float32(alpha) * (1.0 / 255)
	return fromSRGB(float32(a*float32(v)*(1.0/255)) + float32((1-a)*p.background))
}

// cones mixes linear red, green and blue into the responses of long, medium
// and short cones, as libjxl's opsin_params.h; the bias keeps away from black.
var cones = [3][3]float32{
	{0.30, float32(1) - float32(0.078) - float32(0.30), 0.078},
	{0.23, float32(1) - float32(0.078) - float32(0.23), 0.078},
	{0.24342268924547819, 0.20476744424496821, float32(1) - float32(0.24342268924547819) - float32(0.20476744424496821)},
}

const coneBias float32 = 0.0037930732552754493

var coneBlack = float32(-math.Cbrt(float64(coneBias))) // takes the bias off again

// The metric's own ranges of XYB: X spread, B less Y, and all about 0 to 1.
const (
	xSpread, xOffset = 14, 0.42
	yOffset          = 0.01
	bOffset          = 0.55
)

// xybRow turns a row of linear light into X, Y and B less Y, in place.
func xybRow(r, g, b []float32) {
	g, b = g[:len(r)], b[:len(r)]
	for i := wideXYB(r, g, b); i < len(r); i++ {
		l := cone(&cones[0], r[i], g[i], b[i])
		m := cone(&cones[1], r[i], g[i], b[i])
		s := cone(&cones[2], r[i], g[i], b[i])
		x, y := (l-m)/2, (l+m)/2
		r[i] = float32(x*xSpread) + xOffset
		g[i] = y + yOffset
		b[i] = s - y + bOffset
	}
}

func cone(mix *[3]float32, r, g, b float32) float32 {
	return cubeRoot(fma(mix[0], r, fma(mix[1], g, fma(mix[2], b, coneBias))), coneBlack)
}

// The first guess of an inverse cube root comes from the exponent e of x alone:
// rootBias − e·rootSlope are the bits of about 2^(−e/3).
const (
	rootBias  = 0x54800000
	rootSlope = 0x002aaaaa
)

// cubeRoot is the cube root of a positive number plus another, to 8e-7: four
// steps of Newton's for the inverse root, the last in a form that rounds less.
func cubeRoot(x, plus float32) float32 {
	const third, fourThirds = float32(1.0 / 3), float32(4.0 / 3)
	r := math.Float32frombits(rootBias - math.Float32bits(x)>>23*rootSlope)
	for range 3 {
		rr := r * r
		r = fma(-(third * x), rr*rr, fourThirds*r)
	}
	rr := r * r
	r = fma(third, fma(-x, rr*rr, r), r)
	return fma(r*r, x, plus)
}
