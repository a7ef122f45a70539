package metric

// minSide is the least side that can be halved five times before it is under 8
// pixels, where the reference implementation stops; pictures are continued to it.
const minSide = 113

// side is a reference on one background, at every scale.
type side []scale

// scale is a reference at one of its sizes.
type scale struct {
	width, height int
	planes        [3]plane
}

// plane is what a comparison needs of a component, width × height each; nil
// where the weights leave it out.
type plane struct {
	weights  *norms
	values   []float32 // the component itself
	mean     []float32 // its blur
	variance []float32 // the blur of its square, less the square of its blur
}

func newScale(width, height, index int) scale {
	s := scale{width: width, height: height}
	for c := range s.planes {
		p := &s.planes[c]
		p.weights = weightsOf(c, index)
		if p.used() {
			p.values = make([]float32, width*height)
			p.mean = make([]float32, width*height)
		}
		if p.structural() {
			p.variance = make([]float32, width*height)
		}
	}
	return s
}

// used reports whether any map of the component counts.
func (p *plane) used() bool { return *p.weights != (norms{}) }

// structural reports whether the structural map counts; it is what takes the
// blurs of squares and products.
func (p *plane) structural() bool { return p.weights[ssimMean] != 0 || p.weights[ssimFourth] != 0 }

// sizes lists the widths and heights of all scales.
func sizes(w, h int) [maxScales][2]int {
	var all [maxScales][2]int
	w, h = max(w, minSide), max(h, minSide)
	for i := range all {
		all[i] = [2]int{w, h}
		w, h = (w+1)/2, (h+1)/2
	}
	return all
}

// halve averages squares of four pixels; where the width is odd, the last
// column counts twice. dst may be the beginning of above.
func halve(dst, above, below []float32) {
	below = below[:len(above)]
	for i := wideHalve(dst, above, below); i < len(dst); i++ {
		x := 2 * i
		next := min(x+1, len(above)-1)
		dst[i] = (above[x] + above[next] + below[x] + below[next]) / 4
	}
}
