package butteraugli

import "math"

// picture gives the linear light of 8-bit sRGB pixels, white being 255 cd/m²,
// at their size or at half of it.
type picture struct {
	pix    []uint8
	w, h   int // of pix
	halved bool
}

func (p picture) size() (w, h int) {
	if p.halved {
		return (p.w + 1) / 2, (p.h + 1) / 2
	}
	return p.w, p.h
}

// linear is the light of a sample.
var linear = func() (table [256]float32) {
	for i := range table {
		v := float64(i) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		table[i] = float32(v * 255)
	}
	return table
}()

// light writes row y in red, green and blue.
func (p picture) light(dst *[3]rows, y int) {
	red, green, blue := dst[0].row(y), dst[1].row(y), dst[2].row(y)
	w, _ := p.size()
	red, green, blue = red[:w], green[:w], blue[:w]
	if !p.halved {
		row := p.pix[3*p.w*y:][:3*p.w]
		for x := range red {
			pixel := row[3*x : 3*x+3 : 3*x+3]
			red[x], green[x], blue[x] = linear[pixel[0]], linear[pixel[1]], linear[pixel[2]]
		}
		return
	}
	above := p.pix[3*p.w*2*y:][:3*p.w]
	below := p.pix[3*p.w*min(2*y+1, p.h-1):][:3*p.w]
	for x := range red {
		left, right := 6*x, 3*min(2*x+1, p.w-1) // the last column or row counts twice
		a, b, c, d := above[left:left+3:left+3], above[right:right+3:right+3], below[left:left+3:left+3], below[right:right+3:right+3]
		red[x] = 0.25 * (linear[a[0]] + linear[b[0]] + linear[c[0]] + linear[d[0]])
		green[x] = 0.25 * (linear[a[1]] + linear[b[1]] + linear[c[1]] + linear[d[1]])
		blue[x] = 0.25 * (linear[a[2]] + linear[b[2]] + linear[c[2]] + linear[d[2]])
	}
}

// absorbance is how much of red, green and blue the photopigments for long,
// middle and short waves absorb, and what they do in the dark.
var absorbance = [3][4]float32{
	{0.29956550340058319, 0.63373087833825936, 0.077705617820981968, 1.7557483643287353},
	{0.22158691104574774, 0.69391388044116142, 0.0987313588422, 1.7557483643287353},
	{0.02, 0.02, 0.20480129041026129, 12.226454707163354},
}

func absorbed(by *[4]float32, red, green, blue float32) float32 {
	return by[0]*red + (by[1]*green + (by[2]*blue + by[3]))
}

// The response to light that stays is gammaMul·ln(light + gammaBias) + gammaAdd.
const (
	gammaMul  = 19.245013259874995 * math.Ln2 // for the logarithm to base 2
	gammaBias = 9.9710635769299145
	gammaAdd  = -23.16046239805755
	least     = 1e-4 // response to light
)

// respond turns a row of light into opponent colours: red against green, their
// sum, and blue. soft is the light around, to which the eye has adapted.
func respond(xyb, rgb, soft *[3][]float32) {
	x, y, b := xyb[0], xyb[1], xyb[2]
	red, green, blue := rgb[0], rgb[1], rgb[2]
	for i := wideRespond(xyb, rgb, soft); i < len(x); i++ {
		var v [3]float32
		for c := range v {
			by := &absorbance[c]
			around := absorbed(by, soft[0][i], soft[1][i], soft[2][i])
			adapted := max((gammaMul*log2(around+gammaBias)+gammaAdd)/around, least)
			v[c] = max(absorbed(by, red[i], green[i], blue[i])*adapted, by[3])
		}
		x[i], y[i], b[i] = v[0]-v[1], v[0]+v[1], v[2]
	}
}

// The logarithm is a quotient of polynomials for mantissas from 2/3 to 4/3,
// with an error of 4e-6, as in libjxl's fast_log-inl.h.
var (
	logAbove = [3]float32{-1.8503833400518310e-06, 1.4287160470083755, 7.4245873327820566e-01}
	logBelow = [3]float32{9.9032814277590719e-01, 1.0096718572241148, 1.7409343003366853e-01}
)

const twoThirds = 0x3f2aaaab // the bits of 2/3

func log2(v float32) float32 {
	bits := int32(math.Float32bits(v))
	exponent := (bits - twoThirds) >> 23
	m := math.Float32frombits(uint32(bits-exponent<<23)) - 1
	above := (logAbove[2]*m+logAbove[1])*m + logAbove[0]
	below := (logBelow[2]*m+logBelow[1])*m + logBelow[0]
	return above/below + float32(exponent)
}
