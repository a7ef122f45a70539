package metric

// minSide is the least side that has a scale below it; pictures are continued
// to it.
const minSide = 8

// side is a reference on one background, at every scale.
type side struct {
	scales []scale
}

// scale is a reference at one of its sizes. The rows are width floats each.
type scale struct {
	width, height int
	planes        [3]plane
}

// plane is what the comparison needs of a component; nil where its weights
// are zero.
type plane struct {
	weights *norms
	values  []float32 // the component itself
	mean    []float32 // its blur
	spread  []float32 // twice its variance around a pixel, and contrast
}

// sizes lists the sizes of all scales: a scale has one below it when its sides
// are at least minSide, up to maxScales.
func sizes(w, h int) [][2]int {
	w, h = max(w, minSide), max(h, minSide)
	all := [][2]int{{w, h}}
	for w >= minSide && h >= minSide && len(all) < maxScales {
		w, h = (w+1)/2, (h+1)/2
		all = append(all, [2]int{w, h})
	}
	return all
}

func newScale(width, height, index, scales int) scale {
	s := scale{width: width, height: height}
	for c := range s.planes {
		p := &s.planes[c]
		p.weights = weightsOf(c, index, scales)
		if *p.weights == (norms{}) {
			continue
		}
		p.values = make([]float32, width*height)
		p.mean = make([]float32, width*height)
		if p.structural() {
			p.spread = make([]float32, width*height)
		}
	}
	return s
}

func (p *plane) used() bool { return *p.weights != (norms{}) }

func (p *plane) structural() bool { return p.weights[ssimMean] != 0 || p.weights[ssimFourth] != 0 }

// scratch holds the buffers of a sweep, for pictures of one size.
type scratch struct {
	sizes   [][2]int
	linear  [3][]float32    // the picture at the present scale below 1:1
	pair    [2][3][]float32 // two rows of it at 1:1
	xyb     [3][]float32    // the present row
	windows [3][3]window    // of a component: d, a·d, d²
	column  []float32
	zero    []float32
	blurred [3][]float32
}

func newScratch(ref Image) *scratch {
	s := &scratch{sizes: sizes(ref.W, ref.H)}
	width := s.sizes[0][0]
	row := func() []float32 { return make([]float32, width) }
	for c := range 3 {
		s.linear[c] = make([]float32, s.sizes[1][0]*s.sizes[1][1])
		s.pair[0][c], s.pair[1][c] = row(), row()
		s.xyb[c], s.blurred[c] = row(), row()
		for q := range 3 {
			for i := range taps {
				s.windows[c][q][i] = row()
			}
		}
	}
	s.column, s.zero = make([]float32, width+2*reach), row()
	return s
}

// sweep goes through a picture at a scale from top to bottom: fill gets each
// row's XYB in s.xyb, and drain follows reach rows behind, when the windows
// hold all that the blur of its row takes. It leaves the next scale in
// s.linear.
func (s *scratch) sweep(p *picture, index int, fill, drain func(y int)) {
	width, height := s.sizes[index][0], s.sizes[index][1]
	for y := range height + reach {
		if y < height {
			s.read(p, index, y)
			fill(y)
		}
		if y >= reach {
			drain(y - reach)
		}
	}
	_ = width
}

// read converts row y to s.xyb and hands every second row down to the next
// scale.
func (s *scratch) read(p *picture, index, y int) {
	width, height := s.sizes[index][0], s.sizes[index][1]
	last := index+1 == len(s.sizes)
	for c := range 3 {
		s.xyb[c] = s.xyb[c][:width]
	}
	if index == 0 {
		now := &s.pair[y%2]
		p.linearRow(now[0], now[1], now[2], y)
	}
	for c := range 3 {
		row, above := s.linearRow(c, index, y), s.linearRow(c, index, y&^1)
		copy(s.xyb[c], row)
		if !last && (y%2 == 1 || y == height-1) {
			below := s.sizes[index+1][0]
			halve(s.linear[c][y/2*below:][:below], above, row)
		}
	}
	xybRow(s.xyb[0], s.xyb[1], s.xyb[2])
}

func (s *scratch) linearRow(c, index, y int) []float32 {
	if index == 0 {
		return s.pair[y%2][c]
	}
	width := s.sizes[index][0]
	return s.linear[c][y*width:][:width]
}

// halve averages squares of four pixels; where the width is odd, the last
// column counts twice. dst may be the beginning of above.
func halve(dst, above, below []float32) {
	for i := range len(above) / 2 {
		dst[i] = (above[2*i] + above[2*i+1] + below[2*i] + below[2*i+1]) / 4
	}
	if n := len(above); n%2 == 1 {
		dst[n/2] = (above[n-1] + below[n-1]) / 2
	}
}
