package butteraugli

// scale compares at one size.
type scale struct {
	w, h      int
	ref       *bands
	masks     masks
	separator *separator
	dist      *bands // one row of each

	// What of the differences is not yet complete.
	lines  [3][2]rows // of middle, high and ultra-high frequencies: to be summed along lines
	fine   rows       // the sum of all other fine ones
	coarse rows       // those of low frequencies
	zero   []float32  // a padded row

	found rows                         // the distances: all, or one row
	done  func(y int, found []float32) // may be nil
}

// The rows between a band and the texture, and those that lines need before.
var (
	lateLow    = middle.radius + lateMiddle
	lateMiddle = high.radius + lateHigh
	lateHigh   = masking.radius
)

const halfLine = 4

// newScale prepares the reference.
func newScale(ref picture) *scale {
	w, h := ref.size()
	s := &scale{w: w, h: h, ref: newBands(w, h), separator: newSeparator(w, h), dist: newBands(w, 1)}
	s.separator.run(ref, s.ref, idle{})
	s.masks = newMasks(w, h, &s.ref.texture)
	for i := range s.lines {
		s.lines[i] = twoRows(w, lateMiddle+halfLine+1)
	}
	s.fine, s.coarse = newRows(w, lateMiddle+1), newRows(w, lateLow+1)
	s.zero = make([]float32, s.fine.n+2*pad)
	kept := 1
	if ref.halved {
		kept = h
	}
	s.found = newRows(w, kept)
	return s
}

// idle watches the reference.
type idle struct{}

func (idle) lowRow(int)     {}
func (idle) middleRow(int)  {}
func (idle) highRow(int)    {}
func (idle) textureRow(int) {}

// compare finds the distances of a picture. done is told of each row of them,
// and may change it; it may be nil.
func (s *scale) compare(dist picture, done func(y int, found []float32)) {
	s.done = done
	s.separator.run(dist, s.dist, s)
}

// Weights of squared differences.
var (
	lowWeights    = [3]float32{29.2353797994, 0.844626970982, 0.703646627719}
	middleWeights = [3]float32{2150, 10.6195433239, 16.2176043152}
	highWeights   = [2]float32{0.8 * 400, 0.8 * 1.50815703118}
)

const textureWeight = 10

func (s *scale) lowRow(y int) {
	sum := s.coarse.row(y)
	clear(sum)
	for c := range 3 {
		addSquares(sum, s.ref.low[c].row(y), s.dist.low[c].row(y), lowWeights[c])
	}
}

func (s *scale) middleRow(y int) {
	sum := s.fine.row(y)
	clear(sum)
	for c := range 3 {
		ref, dist := s.ref.middle[c].row(y), s.dist.middle[c].row(y)
		addSquares(sum, ref, dist, middleWeights[c])
		if c < 2 {
			s.differ(&s.lines[0][c], middleContrast[c], y, ref, dist)
		}
	}
}

func (s *scale) highRow(y int) {
	sum := s.fine.row(y)
	for c := range 2 {
		ref, dist := s.ref.high[c].row(y), s.dist.high[c].row(y)
		addUneven(sum, ref, dist, highWeights[c])
		s.differ(&s.lines[1][c], highContrast[c], y, ref, dist)
		s.differ(&s.lines[2][c], ultraContrast[c], y, s.ref.ultra[c].row(y), s.dist.ultra[c].row(y))
	}
}

func (s *scale) differ(dst *rows, by contrast, y int, ref, dist []float32) {
	row := dst.row(y)
	by.differ(row, ref, dist)
	clear(row[s.w:])
}

func (s *scale) textureRow(y int) {
	sum := s.fine.row(y)
	addSquares(sum, s.ref.texture.row(y), s.dist.texture.row(y), textureWeight)
	for c := range 2 {
		addSparse(sum, s.nearby(&s.lines[0][c], y))
		addSparse(sum, s.nearby(&s.lines[1][c], y))
		addDense(sum, s.nearby(&s.lines[2][c], y))
	}
	found := s.found.row(y)
	total(found, sum, s.coarse.row(y), s.masks.fine.row(y), s.masks.low.row(y))
	if s.done != nil {
		s.done(y, found)
	}
}

func (s *scale) nearby(from *rows, y int) *nearby {
	var n nearby
	for i := range n {
		n[i] = s.zero
		if at := y + i - halfLine; at >= 0 && at < s.h {
			n[i] = from.padded(at)
		}
	}
	return &n
}

func addSquares(sum, ref, dist []float32, weight float32) {
	ref, dist = ref[:len(sum)], dist[:len(sum)]
	for i := wideAddSquares(sum, ref, dist, weight); i < len(sum); i++ {
		sum[i] += weight * squared(ref[i]-dist[i])
	}
}

// Of high frequencies, more than there was and less than a share of it count
// extra.
const highLost = 0.4

func addUneven(sum, ref, dist []float32, weight float32) {
	ref, dist = ref[:len(sum)], dist[:len(sum)]
	for i := wideAddUneven(sum, ref, dist, weight); i < len(sum); i++ {
		a, b := abs(ref[i]), dist[i]
		t := squared(ref[i] - b)
		if ref[i] < 0 {
			b = -b
		}
		sum[i] += weight * (t + squared(max(highLost*a-b, b-a, 0)))
	}
}

// total makes distances.
func total(dst, fine, coarse, fineMask, lowMask []float32) {
	n := len(dst)
	fine, coarse, fineMask, lowMask = fine[:n], coarse[:n], fineMask[:n], lowMask[:n]
	for i := wideTotal(dst, fine, coarse, fineMask, lowMask); i < n; i++ {
		dst[i] = sqrt(fine[i]*fineMask[i] + coarse[i]*lowMask[i])
	}
}
