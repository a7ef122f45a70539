package quality

// Features are cheap measures of a picture by which settings are predicted.
type Features struct {
	Activity float64 // mean absolute difference of luma to the right and below, levels of 0 to 255
	Flat     float64 // fraction of pixels that equal their right neighbour in every band: high in drawings
	Chroma   float64 // mean absolute difference of chroma (G−R, G−B) to the right and below, levels
}

// Look measures a picture of w × h pixels with interleaved 8-bit samples, bands
// a pixel (1 grey, 2 with alpha, 3 sRGB, 4 with alpha). Of large ones it looks at
// some of the rows.
func Look(pix []uint8, w, h, bands int) Features {
	var luma, chroma, flat, pairs int
	stride := w * bands
	for y := 0; y+1 < h; y += max(1, h/looked) {
		row := pix[y*stride : (y+2)*stride]
		for x := 0; x+1 < w; x++ {
			p, right, below := row[x*bands:], row[(x+1)*bands:], row[stride+x*bands:]
			l, c := toneOf(p, bands)
			rl, rc := toneOf(right, bands)
			bl, bc := toneOf(below, bands)
			luma += distance(l, rl) + distance(l, bl)
			chroma += distance(c, rc) + distance(c, bc)
			if string(p[:bands]) == string(right[:bands]) {
				flat++
			}
		}
		pairs += w - 1
	}
	if pairs == 0 {
		return Typical
	}
	n := float64(pairs)
	return Features{Activity: float64(luma) / (2 * n * 256), Flat: float64(flat) / n, Chroma: float64(chroma) / (2 * n)}
}

// looked is how many rows are enough.
const looked = 100

// Typical are the features of a photograph that nobody has looked at.
var Typical = Features{Activity: typicalActivity}

// toneOf is the luma of a pixel (ITU-R BT.601, of 0 to 65280), and the
// difference of its colours.
func toneOf(p []uint8, bands int) (luma, colour int) {
	if bands < 3 {
		return int(p[0]) << 8, 0
	}
	r, g, b := int(p[0]), int(p[1]), int(p[2])
	return 77*r + 150*g + 29*b, 2*g - r - b
}

func distance(a, b int) int { return max(a-b, b-a) }
