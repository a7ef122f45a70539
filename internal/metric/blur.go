package metric

import "math"

// The blur is a Gaussian of sigma 1.5 in the form of D. Charalampidis,
// "Recursive Implementation of the Gaussian Filter Using Truncated Cosine
// Functions", 2016: three cosines fitted to the Gaussian, each a recursion
// over its own last two outputs and the sum of two inputs. Pixels outside of
// the picture count as zero.
//
// In exact arithmetic this is nine taps. In float32 it is not: the recursions
// don't forget, so that rounding adds up along rows and columns, and in flat
// areas the variances of the structural map consist of it. Above a score of 85
// or so it can be worth a point. The reference implementation is the
// definition, so its order of operations is followed step by step, with fused
// multiplication and addition where libjxl's gauss_blur.cc has it.
const (
	sigma  = 1.5
	radius = 5
	cycle  = 2*radius + 1 // rows that are kept
	ahead  = radius - 1   // how many pixels a recursion looks ahead
)

// gauss holds the factors of the three recursions.
var gauss = newGauss()

type factors struct {
	input, last [3]float32 // y[n] = input·(x[n−6] + x[n+4]) − last·y[n−1] − y[n−2]

	// The same for four outputs at once, from the four inputs and the two last
	// outputs: stepInput[k][j] is what the input j places back counts.
	stepInput, stepLast, stepBefore [3][4]float32
}

// newGauss solves for the share of each cosine, by equations 33 and 50 to 56
// of the paper: the taps sum to 1, their second moment is the Gaussian's, and
// the shares follow its spectrum as closely as these two allow.
func newGauss() (f factors) {
	const n = float64(radius)
	var omega, p, r, rho [3]float64
	for i := range omega {
		sign := float64(1 - 2*(i%2))
		omega[i] = float64(2*i+1) * math.Pi / (2 * n)
		p[i] = sign / math.Tan(omega[i]/2)
		r[i] = sign * p[i] * p[i] / math.Sin(omega[i])
		rho[i] = math.Exp(-sigma*sigma*omega[i]*omega[i]/2) / n
	}
	cross := func(i, j int) float64 { return p[i]*r[j] - r[i]*p[j] }
	z0, z1 := cross(1, 2)/cross(0, 1), cross(2, 0)/cross(0, 1)
	share := solve([3][4]float64{
		{p[0], p[1], p[2], 1},
		{r[0], r[1], r[2], n*n - sigma*sigma},
		{z0, z1, 1, z0*rho[0] + z1*rho[1] + rho[2]},
	})
	for k := range share {
		in := -share[k] * math.Cos(omega[k]*(n+1))
		d := -2 * math.Cos(omega[k])
		f.input[k], f.last[k] = float32(in), float32(d)
		// What a unit put in, or left by the step before, comes to in the steps
		// after it.
		impulse := [5]float64{0, 1, -d, d*d - 1, 2*d - d*d*d}
		next := d*d*d*d - 3*d*d + 1
		for j := range 4 {
			f.stepInput[k][j] = float32(in * impulse[j+1])
			f.stepBefore[k][j] = float32(-impulse[j+1])
			f.stepLast[k][j] = float32(append(impulse[2:], next)[j])
		}
	}
	return f
}

// solve solves three equations, each three factors and a right side.
func solve(m [3][4]float64) [3]float64 {
	for i := range m {
		for j := range m {
			if j == i {
				continue
			}
			f := m[j][i] / m[i][i]
			for k := range m[j] {
				m[j][k] -= f * m[i][k]
			}
		}
	}
	return [3]float64{m[0][3] / m[0][0], m[1][3] / m[1][1], m[2][3] / m[2][2]}
}

// filter blurs a picture down its columns while its rows come from the top:
// the last rows, and the last two outputs of the recursions.
type filter struct {
	rows         [cycle][]float32
	last, before [3][]float32
}

func newFilter(width int) *filter {
	f := new(filter)
	for i := range f.rows {
		f.rows[i] = make([]float32, width)
	}
	for k := range f.last {
		f.last[k], f.before[k] = make([]float32, width), make([]float32, width)
	}
	return f
}

// reset forgets a picture and sets the width of the next.
func (f *filter) reset(width int) {
	for i := range f.rows {
		f.rows[i] = f.rows[i][:width]
		clear(f.rows[i])
	}
	for k := range f.last {
		f.last[k], f.before[k] = f.last[k][:width], f.before[k][:width]
		clear(f.last[k])
		clear(f.before[k])
	}
}

// row is where row y belongs, blurred across. Rows below the picture are zero.
func (f *filter) row(y int) []float32 { return f.rows[y%cycle] }

// down goes one row further, to the blurred row y − ahead, once row y is there.
func (f *filter) down(dst []float32, y int) {
	blurDown(dst, f.rows[(y+1)%cycle], f.rows[y%cycle], &f.last, &f.before)
	f.last, f.before = f.before, f.last
}

// blurDown steps the recursions of every column; before receives the outputs.
func blurDown(dst, top, bottom []float32, last, before *[3][]float32) {
	n := len(dst)
	top, bottom = top[:n], bottom[:n]
	l0, l1, l2 := last[0][:n], last[1][:n], last[2][:n]
	b0, b1, b2 := before[0][:n], before[1][:n], before[2][:n]
	for i := wideDown(dst, top, bottom, last, before); i < n; i++ {
		x := top[i] + bottom[i]
		b0[i] = fma(gauss.input[0], x, -fma(gauss.last[0], l0[i], b0[i]))
		b1[i] = fma(gauss.input[1], x, -fma(gauss.last[1], l1[i], b1[i]))
		b2[i] = fma(gauss.input[2], x, -fma(gauss.last[2], l2[i], b2[i]))
		dst[i] = b0[i] + (b1[i] + b2[i])
	}
}

// recursion is the state of the three recursions along a row.
type recursion struct{ last, before [3]float32 }

// blurAcross blurs two rows of one length: the first eight pixels one by one,
// then four at a time as long as all inputs are inside, then the rest.
func blurAcross(dst, src *[2][]float32) {
	var state [2]recursion
	n := len(dst[0])
	first := min(8, n)
	for row := range state {
		state[row].single(dst[row], src[row], -ahead, first)
	}
	at := wideAcross(dst, src, first, &state)
	for row := range state {
		s := &state[row]
		at := at
		for ; at < n-7; at += 4 {
			s.four(dst[row][at:at+4], src[row][at-radius-1:at-radius+3], src[row][at+ahead:at+ahead+4])
		}
		s.single(dst[row], src[row], at, n)
	}
}

// single steps from an output to another, the first of which may be negative:
// they are outside of the picture and not written.
func (s *recursion) single(dst, src []float32, from, to int) {
	for at := from; at < to; at++ {
		x := float32(0)
		if i := at - radius - 1; i >= 0 {
			x = src[i]
		}
		if i := at + ahead; i < len(src) {
			x += src[i]
		}
		var y [3]float32
		for k := range y {
			y[k] = fma(-gauss.last[k], s.last[k], fma(-1, s.before[k], x*gauss.input[k]))
		}
		s.last, s.before = y, s.last
		if at >= 0 {
			dst[at] = y[0] + (y[1] + y[2])
		}
	}
}

// four makes four outputs from four inputs at either side.
func (s *recursion) four(dst, left, right []float32) {
	var x [4]float32
	for i := range x {
		x[i] = left[i] + right[i]
	}
	var y [3][4]float32
	for k := range y {
		in, last, before := &gauss.stepInput[k], &gauss.stepLast[k], &gauss.stepBefore[k]
		y[k][0] = x[0] * in[0]
		y[k][1] = fma(in[0], x[1], x[0]*in[1])
		y[k][2] = fma(in[0], x[2], fma(in[1], x[1], x[0]*in[2]))
		y[k][3] = fma(in[0], x[3], fma(in[1], x[2], fma(in[2], x[1], x[0]*in[3])))
		for i := range y[k] {
			y[k][i] = fma(last[i], s.last[k], fma(before[i], s.before[k], y[k][i]))
		}
		s.last[k], s.before[k] = y[k][3], y[k][2]
	}
	for i := range x {
		dst[i] = y[0][i] + (y[1][i] + y[2][i])
	}
}
