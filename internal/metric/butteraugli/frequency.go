package butteraugli

import "math"

// The blurs between the bands of frequencies, around the adapting eye, and of
// the masking texture.
var (
	adapting = func() kernel { k := newKernel(1.2); k.mirrored = true; return k }()
	low      = newKernel(7.15593339443)
	middle   = newKernel(3.22489901262)
	high     = newKernel(1.56416327805)
	masking  = newKernel(2.7)
)

// bands are a picture taken apart into frequencies.
type bands struct {
	low, middle [3]rows // red against green, brightness, blue
	high, ultra [2]rows // without blue
	texture     rows    // how much fine texture there is around, as it masks differences
}

func newBands(w, kept int) *bands {
	return &bands{threeRows(w, kept), threeRows(w, kept), twoRows(w, kept), twoRows(w, kept), newRows(w, kept)}
}

// separator takes pictures of one size apart, in one sweep from the top. Each
// step is as many rows behind the one before as its blur looks ahead.
type separator struct {
	w, h int

	rgb      [3]rows
	around   [3]*blur
	soft     [3][]float32
	xyb      [3]rows
	lows     [3]*blur
	rest     [3]rows // without the low frequencies
	middles  [3]*blur
	fine     [2]rows // without the middle ones, too
	highs    [2]*blur
	textured rows
	textures *blur
}

func newSeparator(w, h int) *separator {
	s := &separator{w: w, h: h}
	s.rgb = threeRows(w, adapting.radius+1)
	s.xyb = threeRows(w, low.radius+1)
	s.rest = threeRows(w, middle.radius+1)
	s.fine = twoRows(w, high.radius+1)
	s.textured = newRows(w, 1)
	s.textures = newBlur(masking, w, h)
	for c := range 3 {
		s.around[c] = newBlur(adapting, w, h)
		s.lows[c] = newBlur(low, w, h)
		s.middles[c] = newBlur(middle, w, h)
		s.soft[c] = make([]float32, s.rgb[c].n)
	}
	for c := range 2 {
		s.highs[c] = newBlur(high, w, h)
	}
	return s
}

// watcher is told of rows of bands once they are there. The last are kept
// until the next ones of the same band come.
type watcher interface {
	lowRow(y int)
	middleRow(y int)
	highRow(y int) // high and ultra
	textureRow(y int)
}

// run takes a picture apart.
func (s *separator) run(p picture, out *bands, w watcher) {
	steps := []struct {
		behind int
		row    func(y int)
	}{
		{0, func(y int) { s.light(p, y) }},
		{adapting.radius, s.respond},
		{low.radius, func(y int) { s.low(out, y); w.lowRow(y) }},
		{middle.radius, func(y int) { s.middle(out, y); w.middleRow(y) }},
		{high.radius, func(y int) { s.high(out, y); w.highRow(y) }},
		{masking.radius, func(y int) { s.textures.down(out.texture.row(y), y); w.textureRow(y) }},
	}
	total := 0
	for _, step := range steps {
		total += step.behind
	}
	for at := range s.h + total {
		y := at
		for _, step := range steps {
			if y -= step.behind; y < 0 {
				break
			}
			if y < s.h {
				step.row(y)
			}
		}
	}
}

func (s *separator) light(p picture, y int) {
	p.light(&s.rgb, y)
	for c := range 3 {
		s.around[c].add(&s.rgb[c], y)
	}
}

func (s *separator) respond(y int) {
	var rgb, xyb [3][]float32
	for c := range 3 {
		s.around[c].down(s.soft[c], y)
		rgb[c], xyb[c] = s.rgb[c].row(y), s.xyb[c].row(y)
	}
	respond(&xyb, &rgb, &s.soft)
	for c := range 3 {
		s.lows[c].add(&s.xyb[c], y)
	}
}

func (s *separator) low(out *bands, y int) {
	var l [3][]float32
	for c := range 3 {
		l[c] = out.low[c].row(y)
		s.lows[c].down(l[c], y)
		subtract(s.rest[c].row(y), s.xyb[c].row(y), l[c])
		s.middles[c].add(&s.rest[c], y)
	}
	weigh(&l)
}

func (s *separator) middle(out *bands, y int) {
	for c := range 3 {
		s.middles[c].down(out.middle[c].row(y), y)
	}
	mx, my := out.middle[0].row(y), out.middle[1].row(y)
	fx, fy := s.fine[0].row(y), s.fine[1].row(y)
	subtract(fx, s.rest[0].row(y), mx)
	subtract(fy, s.rest[1].row(y), my)
	splitMiddle(mx, my, fx, fy)
	for c := range 2 {
		s.highs[c].add(&s.fine[c], y)
	}
}

func (s *separator) high(out *bands, y int) {
	var h, u [2][]float32
	for c := range 2 {
		h[c], u[c] = out.high[c].row(y), out.ultra[c].row(y)
		s.highs[c].down(h[c], y)
	}
	fx, fy := s.fine[0].row(y), s.fine[1].row(y)
	splitHigh(&h, &u, fx, fy, s.textured.row(y))
	s.textures.add(&s.textured, y)
}

func subtract(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := wideSubtract(dst, a, b); i < len(dst); i++ {
		dst[i] = a[i] - b[i]
	}
}

// The weights of low frequencies, which later versions of libjxl raise by 5 %, and how the
// middle ones are divided from what is finer.
const (
	lowX        = 32.2217497012
	lowY        = 13.7697791434
	lowB        = 47.504615728
	lowYOutOfB  = -0.362267051518
	middleDead  = 0.29 // of red against green: what is less counts nothing
	middleMore  = 0.1  // of brightness: what is less counts twice
	suppression = 46.0 // of fine red against green by brightness
	unsuppress  = 0.653020556257
)

// weigh scales low frequencies so that their differences count alike.
func weigh(l *[3][]float32) {
	x, y, b := l[0], l[1], l[2]
	for i := wideWeigh(l); i < len(x); i++ {
		b[i] = (b[i] + lowYOutOfB*y[i]) * lowB
		x[i] *= lowX
		y[i] *= lowY
	}
}

// within limits to a range around zero.
func within(limit, v float32) float32 { return max(-limit, min(limit, v)) }

// splitMiddle finishes middle frequencies and prepares what is finer.
func splitMiddle(mx, my, fx, fy []float32) {
	n := len(mx)
	my, fx, fy = my[:n], fx[:n], fy[:n]
	for i := wideSplitMiddle(mx, my, fx, fy); i < n; i++ {
		mx[i] -= within(middleDead, mx[i])
		my[i] += within(middleMore, my[i])
		fx[i] *= suppression/(fy[i]*fy[i]+suppression)*(1-unsuppress) + unsuppress
	}
}

// The ranges and weights of high and ultra-high frequencies, and of the
// texture that both make.
const (
	highDead  = 1.5
	highMore  = 0.132
	ultraDead = 0.04
	highMost  = 28.4691806922 // what is more counts beyondMost
	ultraMost = 5.19175294647
	beyond    = 0.724216145665
	highY     = 2.155
	ultraY    = 2.69313763794

	textureX     = 2.5
	textureY     = 0.4
	textureMul   = 6.19424080439
	textureStart = textureMul * 12.61050594197
)

var textureZero = float32(math.Sqrt(textureStart))

// compress counts what is beyond a limit less.
func compress(limit, v float32) float32 {
	inside := within(limit, v)
	return (v-inside)*beyond + inside
}

// splitHigh finishes high (h, blurred) and ultra-high frequencies (u), of what
// is finer than the middle ones (fx, fy), and makes the texture that masks.
func splitHigh(h, u *[2][]float32, fx, fy, textured []float32) {
	hx, hy, ux, uy := h[0], h[1], u[0], u[1]
	for i := wideSplitHigh(h, u, fx, fy, textured); i < len(hx); i++ {
		v := fx[i] - hx[i]
		ux[i] = v - within(ultraDead, v)
		hx[i] -= within(highDead, hx[i])
		v = compress(highMost, hy[i])
		uy[i] = compress(ultraMost, fy[i]-v) * ultraY
		v *= highY
		hy[i] = v + within(highMore, v)
		x, y := (ux[i]+hx[i])*textureX, (uy[i]+hy[i])*textureY
		textured[i] = sqrt(textureMul*sqrt(x*x+y*y)+textureStart) - textureZero
	}
}

func sqrt(v float32) float32 { return float32(math.Sqrt(float64(v))) }
