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

// Errors gives for each luma block, in raster order, the squared error of the
// last Encode in steps: the sum over its coefficients, and half of that of the
// chroma in its place. It is nil before the first Encode.
func (p *Picture) Errors() []float32 {
	if !p.encoded {
		return nil
	}
	across, down := p.Blocks()
	out := make([]float32, across*down)
	for i := range p.components {
		c, share := &p.components[i], float32(1)
		if i > 0 {
			share = 0.5
		}
		for b := range out {
			at := b/across>>c.step*c.across + b%across>>c.step
			out[b] += share * c.squaredError(at, &p.table[i])
		}
	}
	return out
}

// squaredError is that of one block in steps.
func (c *component) squaredError(b int, t *table) float32 {
	x := (*[64]float32)(c.coefficients[64*b:])
	var sum float32
	for k, v := range x {
		v *= t.inverse[k]
		sum += v * v
	}
	change := func(k int, level int16) {
		v := float32(level)
		sum += v*v - 2*v*x[k]*t.inverse[k]
	}
	change(0, c.levels.mean[b])
	for _, e := range c.levels.block(b) {
		change(int(e.at), e.value)
	}
	return max(sum, 0)
}

// feedbackLimit is what one round may change a block's weight by at most, as a
// logarithm.
const feedbackLimit = 1.2

// Feedback gives new weights for Settings from distance, a map of how far each
// pixel (w × h) of the last Encode looks from the original, as butteraugli has
// it. weights are those of the last Encode; nil is all 1. Where an error shows
// more than its size in steps tells, the weight grows. A map of another size,
// or no Encode before, gives the weights as they are.
func (p *Picture) Feedback(distance []float32, weights []float32) []float32 {
	across, down := p.Blocks()
	n := across * down
	out := make([]float32, n)
	for i := range out {
		out[i] = 1
	}
	if len(weights) == n {
		copy(out, weights)
	}
	if !p.encoded || len(distance) != p.w*p.h {
		return out
	}
	errors := p.Errors()
	for i := range errors {
		errors[i] += 2
	}
	seen := smooth(p.cubes(distance), across, down, 2, 0.5)
	errors = smooth(errors, across, down, 2, 0.5)
	change, mean := make([]float64, n), 0.0
	for b := range change {
		change[b] = math.Log(float64(seen[b]) / float64(errors[b]) / float64(p.weight[b]))
		mean += change[b] / float64(n)
	}
	for b, c := range change {
		out[b] *= float32(math.Exp(min(max(fitted.feedback*(c-mean), -feedbackLimit), feedbackLimit)))
	}
	return out
}

// cubes is the mean of the cubed distance in each luma block.
func (p *Picture) cubes(distance []float32) []float32 {
	across, down := p.Blocks()
	out := slices.Repeat([]float32{0}, across*down)
	for y := range p.h {
		for x, d := range distance[y*p.w : (y+1)*p.w] {
			if d = min(max(d, 0), 1e6); d == d {
				out[y/8*across+x/8] += d * d * d
			}
		}
	}
	for b := range out {
		x, y := b%across*8, b/across*8
		out[b] = out[b]/float32(min(8, p.w-x)*min(8, p.h-y)) + 1e-3
	}
	return out
}
