package metric

// prepare computes the reference's side on a background.
func (s *scratch) prepare(p picture) *side {
	var out side
	for index, size := range s.sizes {
		out.scales = append(out.scales, newScale(size[0], size[1], index, len(s.sizes)))
		sc := &out.scales[index]
		s.sweep(&p, index,
			func(y int) {
				for c := range sc.planes {
					s.fillReference(c, sc, y)
				}
			},
			func(y int) {
				for c := range sc.planes {
					s.drainReference(c, sc, y)
				}
			})
	}
	return &out
}

func (s *scratch) fillReference(c int, sc *scale, y int) {
	p := &sc.planes[c]
	if !p.used() {
		return
	}
	a, aa := s.windows[c][0].row(y, sc.width), s.windows[c][1].row(y, sc.width)
	for i, v := range s.xyb[c] {
		a[i], aa[i] = v, v*v
	}
	copy(p.values[y*sc.width:], s.xyb[c])
}

func (s *scratch) drainReference(c int, sc *scale, y int) {
	p := &sc.planes[c]
	if !p.used() {
		return
	}
	mean := p.mean[y*sc.width:][:sc.width]
	s.windows[c][0].blurRow(mean, y, sc.height, s.column, s.zero)
	if !p.structural() {
		return
	}
	spread := p.spread[y*sc.width:][:sc.width]
	s.windows[c][1].blurRow(spread, y, sc.height, s.column, s.zero)
	for i, m := range mean {
		spread[i] = 2*(spread[i]-m*m) + contrast
	}
}

// compare computes the score of a picture against a reference's side.
func (s *scratch) compare(ref *side, p picture) float64 {
	sum := 0.0
	for index := range ref.scales {
		sc := &ref.scales[index]
		var found [3]norms
		s.sweep(&p, index,
			func(y int) {
				for c := range sc.planes {
					s.fillDistorted(c, sc, y)
				}
			},
			func(y int) {
				for c := range sc.planes {
					s.drainDistorted(c, sc, y, &found[c])
				}
			})
		for c := range found {
			found[c].finish(sc.width * sc.height)
			for i, w := range sc.planes[c].weights {
				sum += w * found[c][i]
			}
		}
	}
	return scoreOf(sum)
}

func (s *scratch) fillDistorted(c int, sc *scale, y int) {
	p := &sc.planes[c]
	if !p.used() {
		return
	}
	w := &s.windows[c]
	a := p.values[y*sc.width:][:sc.width]
	d, ad, dd := w[0].row(y, sc.width), w[1].row(y, sc.width), w[2].row(y, sc.width)
	for i, b := range s.xyb[c] {
		e := b - a[i]
		d[i], ad[i], dd[i] = e, a[i]*e, e*e
	}
}

func (s *scratch) drainDistorted(c int, sc *scale, y int, n *norms) {
	p := &sc.planes[c]
	if !p.used() {
		return
	}
	w := &s.windows[c]
	at, end := y*sc.width, (y+1)*sc.width
	d, ad, dd := s.blurred[0][:sc.width], s.blurred[1][:sc.width], s.blurred[2][:sc.width]
	w[0].blurRow(d, y, sc.height, s.column, s.zero)
	n.addEdges(p.values[at:end], p.mean[at:end], w[0].row(y, sc.width), d)
	if !p.structural() {
		return
	}
	w[1].blurRow(ad, y, sc.height, s.column, s.zero)
	w[2].blurRow(dd, y, sc.height, s.column, s.zero)
	n.addSSIM(d, ad, dd, p.mean[at:end], p.spread[at:end])
}
