package metric

import "math"

// The grey levels behind transparent pictures, dark and light, in sRGB units
// of 0 to 1, as in the reference implementation's main program.
var backgrounds = [2]float32{0.1, 0.9}

// linearSteps is how finely composed samples are looked up; between two steps
// the table is read linearly, with an error below 1e-7.
const linearSteps = 255 * 16

var (
	linearOf   [256]float32             // a sample's share of full light
	linearFine [linearSteps + 2]float32 // the same of n/linearSteps
)

func init() {
	for i := range linearOf {
		linearOf[i] = float32(fromSRGB(float64(i) / 255))
	}
	for i := range linearFine {
		linearFine[i] = float32(fromSRGB(float64(i) / linearSteps))
	}
}

// fromSRGB is the transfer function of IEC 61966-2-1: signal to light.
func fromSRGB(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// picture is an image on a background.
type picture struct {
	Image
	background float32
}

// linearRow writes row y in linear light, 0 to 1, to three rows that may be
// longer than the picture is wide: the last pixel and the last row go on.
func (p *picture) linearRow(r, g, b []float32, y int) {
	stride := p.W * p.Bands
	y = min(y, p.H-1)
	pix := p.Pix[y*stride : (y+1)*stride]
	r, g, b = r[:len(r):len(r)], g[:len(r)], b[:len(r)]
	switch p.Bands {
	case 1:
		for x, v := range pix {
			r[x] = linearOf[v]
		}
		copy(g, r)
		copy(b, r)
	case 2:
		for x := 0; x < p.W; x++ {
			r[x] = p.composed(pix[2*x], pix[2*x+1])
		}
		copy(g, r)
		copy(b, r)
	case 3:
		for x := 0; x < p.W; x++ {
			q := pix[3*x : 3*x+3 : 3*x+3]
			r[x], g[x], b[x] = linearOf[q[0]], linearOf[q[1]], linearOf[q[2]]
		}
	case 4:
		for x := 0; x < p.W; x++ {
			q := pix[4*x : 4*x+4 : 4*x+4]
			r[x], g[x], b[x] = p.composed(q[0], q[3]), p.composed(q[1], q[3]), p.composed(q[2], q[3])
		}
	}
	for x := p.W; x < len(r); x++ {
		r[x], g[x], b[x] = r[p.W-1], g[p.W-1], b[p.W-1]
	}
}

// composed is a sample with its alpha on the background, in linear light. The
// two are mixed in sRGB units, as browsers and the reference implementation do.
func (p *picture) composed(v, alpha uint8) float32 {
	if alpha == 255 {
		return linearOf[v]
	}
	a := float32(alpha) / 255
	at := (a*float32(v)/255 + (1-a)*p.background) * linearSteps
	n := int(at)
	t := at - float32(n)
	return linearFine[n]*(1-t) + linearFine[n+1]*t
}

// The cone responses of XYB as in libjxl's opsin_params.h: each row mixes
// linear red, green and blue, and sums to 1; the bias keeps away from black.
const (
	lR, lG, lB = 0.30, 1 - 0.30 - 0.078, 0.078
	mR, mG, mB = 0.23, 1 - 0.23 - 0.078, 0.078
	sR, sG, sB = 0.24342268924547819, 0.20476744424496821, 1 - 0.24342268924547819 - 0.20476744424496821

	coneBias = 0.0037930732552754493
)

// The metric's own ranges of XYB: X spread, blue less luma, and all about 0 to 1.
const (
	xSpread, xOffset = 14, 0.42
	yOffset          = 0.01
	bOffset          = 0.55
)

var lumaOffset = float32(yOffset - math.Cbrt(coneBias)) // the bias taken off again

// xybRow turns linear light into X, Y and B less Y, in place.
func xybRow(r, g, b []float32) {
	r, g, b = r[:len(r):len(r)], g[:len(r)], b[:len(r)]
	for i := range r {
		l := cubeRoot(lR*r[i] + lG*g[i] + lB*b[i] + coneBias)
		m := cubeRoot(mR*r[i] + mG*g[i] + mB*b[i] + coneBias)
		s := cubeRoot(sR*r[i] + sG*g[i] + sB*b[i] + coneBias)
		luma := (l + m) / 2
		r[i] = (l-m)*(xSpread/2) + xOffset
		g[i] = luma + lumaOffset
		b[i] = s - luma + bOffset
	}
}

// cubeRoot is exact to 2e-7 of the root for positive normal numbers: a third
// of the exponent as the first guess, within 4 %, then two steps of Halley,
// each of which cubes the error.
func cubeRoot(x float32) float32 {
	y := math.Float32frombits(math.Float32bits(x)/3 + 0x2a5119f2)
	cube := y * y * y
	y *= (cube + 2*x) / (2*cube + x)
	cube = y * y * y
	return y * (cube + 2*x) / (2*cube + x)
}
