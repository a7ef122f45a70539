package jpeg

// plane holds one component's samples, about zero, in rows of stride; its
// sides are filled up to whole blocks with the samples at the edge.
type plane struct {
	stride, rows int
	samples      []float32
}

// split makes planes of pixels: luma, and of colour pictures the differences
// of blue and red, by JFIF 1.02 (BT.601, full range), all less 128.
func split(pix []uint8, w, h, bands int, s Subsampling) []plane {
	if bands == 1 {
		y := newPlane(w, h, 8)
		for row := range h {
			out := y.samples[row*y.stride:]
			for x, v := range pix[row*w : (row+1)*w] {
				out[x] = float32(v) - 128
			}
		}
		y.extend(w, h)
		return []plane{y}
	}
	side := 8
	if s == S420 {
		side = 16
	}
	y, cb, cr := newPlane(w, h, 8), newPlane(w, h, side), newPlane(w, h, side)
	for row := range h {
		convert(pix[3*row*w:3*(row+1)*w], y.samples[row*y.stride:], cb.samples[row*cb.stride:], cr.samples[row*cr.stride:])
	}
	y.extend(w, h)
	cb.extend(w, h)
	cr.extend(w, h)
	if s == S420 {
		cb, cr = cb.halve(), cr.halve()
	}
	return []plane{y, cb, cr}
}

// convert splits one row of pixels.
func convert(pix []uint8, y, cb, cr []float32) {
	n := len(pix) / 3
	y, cb, cr = y[:n], cb[:n], cr[:n]
	for x := range n {
		rgb := pix[3*x : 3*x+3 : 3*x+3]
		r, g, b := float32(rgb[0]), float32(rgb[1]), float32(rgb[2])
		l := 0.299*r + 0.587*g + 0.114*b
		y[x] = l - 128
		cb[x] = (b - l) * (0.5 / 0.886)
		cr[x] = (r - l) * (0.5 / 0.701)
	}
}

// newPlane makes room for w × h samples, filled up to multiples of side.
func newPlane(w, h, side int) plane {
	p := plane{stride: (w + side - 1) / side * side, rows: (h + side - 1) / side * side}
	p.samples = make([]float32, p.stride*p.rows)
	return p
}

// extend fills what is beyond w × h with the samples at the edge.
func (p *plane) extend(w, h int) {
	for y := range h {
		row := p.samples[y*p.stride : (y+1)*p.stride]
		for x := w; x < p.stride; x++ {
			row[x] = row[w-1]
		}
	}
	last := p.samples[(h-1)*p.stride : h*p.stride]
	for y := h; y < p.rows; y++ {
		copy(p.samples[y*p.stride:], last)
	}
}

// halve averages 2 × 2 samples to one, in place.
func (p *plane) halve() plane {
	half := plane{stride: p.stride / 2, rows: p.rows / 2, samples: p.samples}
	for y := range half.rows {
		top := p.samples[2*y*p.stride : (2*y+1)*p.stride]
		bottom := p.samples[(2*y+1)*p.stride : (2*y+2)*p.stride]
		out := half.samples[y*half.stride : (y+1)*half.stride]
		for x := range out {
			out[x] = (top[2*x] + top[2*x+1] + bottom[2*x] + bottom[2*x+1]) / 4
		}
	}
	half.samples = half.samples[:half.stride*half.rows]
	return half
}
