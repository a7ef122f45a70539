package metric

// scratch holds the buffers for going through pictures of one size, row by
// row: about 4 bytes a pixel, and 800 bytes a column.
type scratch struct {
	sizes   [maxScales][2]int
	linear  [3][]float32             // the picture at the present scale below 1:1
	pair    [2][3][]float32          // two rows of it at 1:1
	xyb     [radius][3][]float32     // the last rows
	inputs  [3][quantities][]float32 // of a component: what is to be blurred
	blurred [3][quantities][]float32
	filters [3][quantities]*filter
	spare   [2][]float32 // keeps an odd row company
}

// The quantities of a component that are blurred.
const (
	value      = iota
	square     // its square
	product    // that with the reference's
	quantities = iota
)

func newScratch(w, h int) *scratch {
	s := &scratch{sizes: sizes(w, h)}
	width := s.sizes[0][0]
	row := func() []float32 { return make([]float32, width) }
	for c := range 3 {
		s.linear[c] = make([]float32, s.sizes[1][0]*s.sizes[1][1])
		s.pair[0][c], s.pair[1][c] = row(), row()
		for i := range s.xyb {
			s.xyb[i][c] = row()
		}
		for q := range quantities {
			s.inputs[c][q], s.blurred[c][q] = row(), row()
			s.filters[c][q] = newFilter(width)
		}
	}
	s.spare = [2][]float32{row(), row()}
	return s
}

// prepare computes the reference's side of a picture.
func (s *scratch) prepare(p picture) side {
	var out side
	for index, size := range s.sizes {
		out = append(out, newScale(size[0], size[1], index))
		sc := &out[index]
		s.sweep(&p, sc, index, product, func(c, y int) {
			at := y * sc.width
			pl := &sc.planes[c]
			copy(pl.values[at:], s.row(c, y, sc.width))
			copy(pl.mean[at:], s.blurred[c][value][:sc.width])
			if pl.structural() {
				variances(pl.variance[at:][:sc.width], s.blurred[c][value], s.blurred[c][square])
			}
		})
	}
	return out
}

func variances(dst, mean, squares []float32) {
	mean, squares = mean[:len(dst)], squares[:len(dst)]
	for i := range dst {
		dst[i] = squares[i] - float32(mean[i]*mean[i])
	}
}

// compare computes the score of a picture against a reference's side.
func (s *scratch) compare(ref side, p picture) float64 {
	sum := 0.0
	for index := range ref {
		sc := &ref[index]
		var found [3]norms
		s.sweep(&p, sc, index, quantities, func(c, y int) {
			at, end := y*sc.width, (y+1)*sc.width
			pl, b := &sc.planes[c], &s.blurred[c]
			found[c].addEdges(pl.values[at:end], pl.mean[at:end], s.row(c, y, sc.width), b[value])
			if pl.structural() {
				found[c].addSSIM(pl.mean[at:end], pl.variance[at:end], b[value], b[square], b[product])
			}
		})
		for c := range found {
			found[c].finish(sc.width * sc.height)
			for i, weight := range sc.planes[c].weights {
				sum += weight * found[c][i]
			}
		}
	}
	return scoreOf(sum)
}

// sweep goes through a picture at a scale from top to bottom. It blurs the
// first so many quantities of each component in use, and gives each of these
// and each row to done, when row gives the component and s.blurred its blurs.
// It leaves the scale below in s.linear.
func (s *scratch) sweep(p *picture, sc *scale, index, count int, done func(c, y int)) {
	wanted := [3]int{}
	for c := range sc.planes {
		switch pl := &sc.planes[c]; {
		case pl.structural():
			wanted[c] = count
		case pl.used():
			wanted[c] = 1
		}
		for _, f := range s.filters[c][:wanted[c]] {
			f.reset(sc.width)
		}
	}
	for y := range sc.height + ahead {
		if y < sc.height {
			s.read(p, index, y)
			s.across(sc, wanted, y)
		}
		for c, n := range wanted {
			for q, f := range s.filters[c][:n] {
				if y >= sc.height {
					clear(f.row(y))
				}
				f.down(s.blurred[c][q][:sc.width], y)
			}
			if n > 0 && y >= ahead {
				done(c, y-ahead)
			}
		}
	}
}

// row is a component's row y, one of the last few.
func (s *scratch) row(c, y, width int) []float32 { return s.xyb[y%radius][c][:width] }

// read converts row y, and hands every second row down to the scale below.
func (s *scratch) read(p *picture, index, y int) {
	width, height := s.sizes[index][0], s.sizes[index][1]
	if index == 0 {
		now := &s.pair[y%2]
		p.linearRow(now[0], now[1], now[2], y)
	}
	for c := range 3 {
		light, above := s.light(c, index, y), s.light(c, index, y&^1)
		copy(s.row(c, y, width), light)
		if index+1 < len(s.sizes) && (y%2 == 1 || y == height-1) {
			below := s.sizes[index+1][0]
			halve(s.linear[c][y/2*below:][:below], above, light)
		}
	}
	xybRow(s.row(0, y, width), s.row(1, y, width), s.row(2, y, width))
}

// light is row y in linear light, before the scale below has taken its place.
func (s *scratch) light(c, index, y int) []float32 {
	if index == 0 {
		return s.pair[y%2][c]
	}
	width := s.sizes[index][0]
	return s.linear[c][y*width:][:width]
}

// across blurs row y along itself, in all quantities, two at a time.
func (s *scratch) across(sc *scale, wanted [3]int, y int) {
	var dst, src [2][]float32
	waiting := 0
	for c, n := range wanted {
		row := s.row(c, y, sc.width)
		in := &s.inputs[c]
		if n > square {
			multiply(in[square][:sc.width], row, row)
		}
		if n > product {
			multiply(in[product][:sc.width], row, sc.planes[c].values[y*sc.width:])
		}
		for q := range n {
			src[waiting], dst[waiting] = in[q][:sc.width], s.filters[c][q].row(y)
			if q == value {
				src[waiting] = row
			}
			if waiting++; waiting == 2 {
				blurAcross(&dst, &src)
				waiting = 0
			}
		}
	}
	if waiting == 1 {
		src[1], dst[1] = s.spare[0][:sc.width], s.spare[1][:sc.width]
		blurAcross(&dst, &src)
	}
}

func multiply(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}
