package jpeg

import (
	"math"
	"slices"
)

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
