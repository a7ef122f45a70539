package metric

// minSide is the least side that has a scale below it; pictures are continued
// to it.
const minSide = 8

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

func newScale(width, height, index, scales int) scale {
	s := scale{width: width, height: height}
	for c := range s.planes {
		p := &s.planes[c]
		p.weights = weightsOf(c, index, scales)
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

// sizes lists the widths and heights of all scales. One has another below it
// when its sides are at least minSide.
func sizes(w, h int) [][2]int {
	w, h = max(w, minSide), max(h, minSide)
	all := [][2]int{{w, h}}
	for w >= minSide && h >= minSide && len(all) < maxScales {
		w, h = (w+1)/2, (h+1)/2
		all = append(all, [2]int{w, h})
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
