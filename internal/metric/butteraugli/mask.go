package butteraugli

import "math"

// masks say how much differences count at each pixel, for the texture of the
// reference around it: fine ones, and those of low frequencies.
type masks struct{ fine, low rows }

// reach is how far the masks look for smooth parts, since a difference that
// spreads into one is seen.
const reach = 3

func newMasks(w, h int, texture *rows) masks {
	m := masks{newRows(w, h), newRows(w, h)}
	nothing := make([]float32, m.fine.n+2*pad)
	for i := range nothing {
		nothing[i] = float32(math.Inf(1))
	}
	var near [3][]float32
	for i := range near {
		near[i] = make([]float32, len(nothing))
	}
	for y := range h {
		for i := range near {
			copy(near[i], nothing)
			if from := y + (i-1)*reach; from >= 0 && from < h {
				copy(near[i][pad:], texture.row(from)[:w])
			}
		}
		erode(m.fine.row(y), &near)
		tone(m.fine.row(y), m.low.row(y))
	}
	return m
}

// erode takes little texture from the least of nine places: the three rows
// in near are a reach apart, and padded with what is more than any texture.
func erode(dst []float32, near *[3][]float32) {
	for i := wideErode(dst, near); i < len(dst); i++ {
		a := near[1][i+pad]
		b := 2 * a
		c := b
		for row := range near {
			for at := i + pad - reach; at <= i+pad+reach; at += reach {
				if row == 1 && at == i+pad {
					continue
				}
				v := near[row][at]
				a, b, c = min(a, v), min(b, max(a, v)), min(c, max(b, v))
			}
		}
		dst[i] = 0.45*a + 0.3*b + 0.25*c
	}
}

// unit makes a distance of 1 what can just be seen; the first factor is 17.83
// in later versions of libjxl.
const unit = 17.8 * 0.79079917404

// tone turns texture into masks.
func tone(fine, low []float32) {
	for i := wideTone(fine, low); i < len(fine); i++ {
		v := fine[i]
		fine[i] = squared((1 + fineMul/(fineSlope*v+fineStart)) / unit)
		low[i] = squared((1 + lowMul/(lowSlope*v+lowStart)) / unit)
	}
}

const (
	fineMul   = 2.5485944793
	fineSlope = 0.451936922203
	fineStart = 0.829591754942
	lowMul    = 0.505054525019
	lowSlope  = 3.87449418804
	lowStart  = 0.20025578522
)
