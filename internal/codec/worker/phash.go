package worker

import (
	"image"
	"image/color"
	"math"
	"slices"
)

// reduced averages a picture down to no more than side pixels each way, laid on
// white where it is clear.
func reduced(m *image.NRGBA, side int) *image.NRGBA {
	w, h := min(m.Rect.Dx(), side), min(m.Rect.Dy(), side)
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			r, g, b := boxAverage(m, x, y, w, h)
			out.SetNRGBA(x, y, color.NRGBA{R: uint8(r + 0.5), G: uint8(g + 0.5), B: uint8(b + 0.5), A: 255})
		}
	}
	return out
}

// boxAverage is the mean colour of the part of m that pixel (x, y) of a w × h
// picture stands for, on white.
func boxAverage(m *image.NRGBA, x, y, w, h int) (r, g, b float64) {
	x0, x1 := part(x, w, m.Rect.Dx())
	y0, y1 := part(y, h, m.Rect.Dy())
	n := 0.0
	for v := y0; v < y1; v++ {
		row := m.Pix[v*m.Stride:]
		for u := x0; u < x1; u++ {
			px := row[4*u : 4*u+4]
			a := float64(px[3]) / 255
			r += float64(px[0])*a + 255*(1-a)
			g += float64(px[1])*a + 255*(1-a)
			b += float64(px[2])*a + 255*(1-a)
			n++
		}
	}
	return r / n, g / n, b / n
}

// part is the range of k's share when total is dealt to n, at least one.
func part(k, n, total int) (from, to int) {
	from = k * total / n
	return from, max(from+1, (k+1)*total/n)
}

const (
	hashSide = 32 // luma samples each way
	hashBand = 8  // lowest frequencies each way that become bits
)

// pHash is the 64-bit perceptual hash by the discrete cosine transform: the
// luma at 32 × 32, its DCT-II, and of the 8 × 8 lowest frequencies, row by row
// from the most significant bit, whether each is above their median (without
// the first, which is the mean). After C. Zauner, "Implementation and
// Benchmarking of Perceptual Image Hash Functions", 2010, §3.2.1.
func pHash(m *image.NRGBA) uint64 {
	var luma [hashSide][hashSide]float64
	for y := range hashSide {
		for x := range hashSide {
			r, g, b := boxAverage(m, x, y, hashSide, hashSide)
			luma[y][x] = 0.299*r + 0.587*g + 0.114*b
		}
	}
	var rows [hashSide][hashBand]float64
	for y := range hashSide {
		for u := range hashBand {
			for x := range hashSide {
				rows[y][u] += luma[y][x] * cosines[u][x]
			}
		}
	}
	var values []float64
	for v := range hashBand {
		for u := range hashBand {
			sum := 0.0
			for y := range hashSide {
				sum += rows[y][u] * cosines[v][y]
			}
			values = append(values, sum)
		}
	}
	sorted := slices.Sorted(slices.Values(values[1:]))
	median := sorted[len(sorted)/2]
	var hash uint64
	for _, v := range values {
		hash <<= 1
		if v > median {
			hash |= 1
		}
	}
	return hash
}

var cosines = func() (c [hashBand][hashSide]float64) {
	for u := range c {
		for x := range c[u] {
			c[u][x] = math.Cos(math.Pi * float64(u) * (2*float64(x) + 1) / (2 * hashSide))
		}
	}
	return c
}()
