package jpeg

import (
	"math"
	"slices"
)

// observe finds how light and how busy each luma block is.
func (p *Picture) observe(y plane) {
	across, down := p.Blocks()
	raw := make([]float32, across*down)
	p.light = make([]float32, across*down)
	for by := range down {
		for bx := range across {
			b := by*across + bx
			raw[b] = busyness(y.samples[8*by*y.stride+8*bx:], y.stride)
			p.light[b] = min(max((p.components[0].coefficients[64*b]/8+128)/255, 0), 1)
		}
	}
	p.activity = smooth(raw, across, down, 4, 1)
}

// busyness is the mean difference between neighbouring samples of a block. The
// quietest quarter counts most: errors that an edge brings about show in the
// flat part beside it.
func busyness(samples []float32, stride int) float32 {
	var q [4]float32
	for y := range 8 {
		row := samples[y*stride : y*stride+8]
		if y < 7 {
			below := samples[(y+1)*stride : (y+1)*stride+8]
			for x := range 8 {
				q[y>>2*2+x>>2] += abs(below[x] - row[x])
			}
		}
		for x := range 7 {
			q[y>>2*2+x>>2] += abs(row[x+1] - row[x])
		}
	}
	slices.Sort(q[:])
	return (0.5*q[0] + 0.3*q[1] + 0.2*q[2]) / 32
}

func abs(v float32) float32 {
	return math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
}

// smooth is the mean of each of w × h numbers and the eight around it, which
// count middle and beside.
func smooth(in []float32, w, h int, middle, beside float32) []float32 {
	out := make([]float32, len(in))
	for y := range h {
		for x := range w {
			var sum, share float32
			for v := max(y-1, 0); v < min(y+2, h); v++ {
				for u := max(x-1, 0); u < min(x+2, w); u++ {
					s := beside
					if u == x && v == y {
						s = middle
					}
					sum += s * in[v*w+u]
					share += s
				}
			}
			out[y*w+x] = sum / share
		}
	}
	return out
}

// weigh sets how much errors in each luma block, and each chroma block, matter.
func (p *Picture) weigh(v *parameters, weights []float32) {
	n := len(p.activity)
	p.weight = slices.Grow(p.weight[:0], n)[:n]
	p.chroma = slices.Grow(p.chroma[:0], n)[:n]
	if len(weights) != n {
		weights = nil
	}
	for b, a := range p.activity {
		hidden, dark := math.Log1p(v.Busy*float64(a)), 1-float64(p.light[b])
		w := math.Exp(-v.Hide*hidden) * (1 + v.Dark*dark)
		c := math.Exp(-v.HideChroma*hidden) * (1 + v.DarkChroma*dark)
		if weights != nil {
			extra := float64(weights[b])
			if !(extra > 1e-3 && extra < 1e3) {
				extra = 1
			}
			w *= extra
			c *= extra
		}
		p.weight[b], p.chroma[b] = float32(w), float32(c)
	}
	if p.sampling == S420 {
		p.halveChroma()
	}
}

// halveChroma takes the mean weight of the luma blocks that each chroma block
// lies on.
func (p *Picture) halveChroma() {
	across, down := p.Blocks()
	i := 0
	for y := 0; y < down; y += 2 {
		for x := 0; x < across; x += 2 {
			right, below := min(x+1, across-1), min(y+1, down-1)
			p.chroma[i] = (p.chroma[y*across+x] + p.chroma[y*across+right] + p.chroma[below*across+x] + p.chroma[below*across+right]) / 4
			i++
		}
	}
	p.chroma = p.chroma[:i]
}
