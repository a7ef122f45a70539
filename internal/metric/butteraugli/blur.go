package butteraugli

import "math"

// kernel is a Gaussian, cut off at 2.25 sigma.
type kernel struct {
	radius   int
	taps     []splat   // from the middle outwards; those of both sides sum to 1
	sums     []float32 // sums[i] is that of i taps of one side
	mirrored bool      // whether the picture goes on as a mirror image, or has nothing beyond its edges
}

func newKernel(sigma float64) kernel {
	k := kernel{radius: int(2.25 * sigma)}
	height := func(i int) float64 { return math.Exp(-float64(i*i) / (2 * sigma * sigma)) }
	total := 1.0
	for i := range k.radius {
		total += 2 * height(i+1)
	}
	sum := 0.0
	for i := range k.radius + 1 {
		tap := height(i) / total
		k.taps = append(k.taps, newSplat(float32(tap)))
		if i > 0 {
			sum += tap
		}
		k.sums = append(k.sums, float32(sum))
	}
	return k
}

// edge is what a blurred value at one of n places has to be multiplied by, for
// the taps that fall beyond the ends.
func (k *kernel) edge(at, n int) float32 {
	if k.mirrored || at >= k.radius && at+k.radius < n {
		return 1
	}
	return 1 / (k.taps[0][0] + k.sums[min(at, k.radius)] + k.sums[min(n-1-at, k.radius)])
}

// blur blurs a plane whose rows come from the top.
type blur struct {
	kernel
	w, h   int
	across rows // the last rows, blurred across
	zero   []float32
	pairs  []pair
}

// pair is two rows that are equally far from a third.
type pair struct{ above, below []float32 }

func newBlur(k kernel, w, h int) *blur {
	b := &blur{kernel: k, w: w, h: h, across: newRows(w, 2*k.radius+1)}
	b.zero = make([]float32, b.across.n)
	b.pairs = make([]pair, k.radius)
	return b
}

// add takes in row y of src, whose padding must be zero, and blurs it across.
func (b *blur) add(src *rows, y int) {
	from := src.padded(y)
	b.prepareEnds(from)
	dst := b.across.row(y)
	convolve(dst, from, b.taps)
	if b.mirrored {
		return
	}
	for x := range min(b.radius, b.w) {
		dst[x] *= b.edge(x, b.w)
	}
	for x := max(b.radius, b.w-b.radius); x < b.w; x++ {
		dst[x] *= b.edge(x, b.w)
	}
}

func (b *blur) prepareEnds(from []float32) {
	clear(from[pad+b.w : len(from)-pad])
	if !b.mirrored {
		return
	}
	for i := range b.radius {
		from[pad-1-i] = from[pad+i]
		from[pad+b.w+i] = from[pad+b.w-1-i]
	}
}

// down makes the blurred row y, once the rows up to y + radius are there.
func (b *blur) down(dst []float32, y int) {
	for i := range b.pairs {
		b.pairs[i] = pair{b.at(y - 1 - i), b.at(y + 1 + i)}
	}
	combine(dst, b.across.row(y), b.pairs, b.taps)
	if by := b.edge(y, b.h); by != 1 {
		for i := range dst {
			dst[i] *= by
		}
	}
}

// at is row y, which may be outside of the picture.
func (b *blur) at(y int) []float32 {
	switch {
	case y >= 0 && y < b.h:
		return b.across.row(y)
	case !b.mirrored:
		return b.zero
	case y < 0:
		return b.across.row(-1 - y)
	}
	return b.across.row(2*b.h - 1 - y)
}

// convolve filters a padded row.
func convolve(dst, src []float32, taps []splat) {
	for i := wideConvolve(dst, src, taps); i < len(dst); i++ {
		near := src[i+pad-len(taps)+1 : i+pad+len(taps)]
		first, last := 0, len(near)-1
		sum := float32(0)
		for t := len(taps) - 1; t > 0; t-- {
			sum += taps[t][0] * (near[first] + near[last])
			first, last = first+1, last-1
		}
		dst[i] = sum + taps[0][0]*near[first]
	}
}

// combine filters columns.
func combine(dst, middle []float32, pairs []pair, taps []splat) {
	from := wideCombine(dst, middle, pairs, taps)
	if from == len(dst) {
		return
	}
	for i := from; i < len(dst); i++ {
		dst[i] = taps[0][0] * middle[i]
	}
	for p, pair := range pairs {
		above, below, tap := pair.above[:len(dst)], pair.below[:len(dst)], taps[p+1][0]
		for i := from; i < len(dst); i++ {
			dst[i] += tap * (above[i] + below[i])
		}
	}
}
