package metric

import "math"

// The blur is a Gaussian of sigma 1.5 in the form of D. Charalampidis,
// "Recursive Implementation of the Gaussian Filter Using Truncated Cosine
// Functions", 2016, which libjxl's FastGaussian runs as a recursion. Three
// cosines are fitted to the Gaussian; all are zero five pixels off, so that
// what is computed is nine taps, and here they are just that. Pixels outside
// of the picture count as zero.
const (
	sigma  = 1.5
	reach  = 4 // pixels to either side
	taps   = 2*reach + 1
	cosine = reach + 1 // the quarter period of the slowest cosine
)

// tap holds the weights of the pixel itself and of those 1 to reach away.
var tap = gaussianTaps()

// gaussianTaps solves for the share of each cosine, by equations 50 to 56 of
// the paper: the taps sum to 1, their second moment is the Gaussian's, and the
// shares follow its spectrum as closely as these two allow.
func gaussianTaps() [reach + 1]float32 {
	const n = float64(cosine)
	var omega, p, r, rho [3]float64
	for i := range omega {
		k := float64(2*i + 1)
		sign := float64(1 - 2*(i%2))
		omega[i] = k * math.Pi / (2 * n)
		p[i] = sign / math.Tan(omega[i]/2)
		r[i] = sign * p[i] * p[i] / math.Sin(omega[i])
		rho[i] = math.Exp(-sigma*sigma*omega[i]*omega[i]/2) / n
	}
	cross := func(i, j int) float64 { return p[i]*r[j] - r[i]*p[j] }
	z0, z1 := cross(1, 2)/cross(0, 1), cross(2, 0)/cross(0, 1)
	share := solve3([3][4]float64{
		{p[0], p[1], p[2], 1},
		{r[0], r[1], r[2], n*n - sigma*sigma},
		{z0, z1, 1, z0*rho[0] + z1*rho[1] + rho[2]},
	})
	var out [reach + 1]float32
	for at := range out {
		sum := 0.0
		for i := range share {
			sum += share[i] * math.Cos(omega[i]*float64(at))
		}
		out[at] = float32(sum)
	}
	return out
}

// solve3 solves three equations, each three factors and a right side.
func solve3(m [3][4]float64) [3]float64 {
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

// window holds the last nine rows of a quantity while a picture is swept from
// top to bottom. Row y lies in rows[y mod taps].
type window [taps][]float32

func (w *window) row(y, width int) []float32 { return w[y%taps][:width] }

// blurRow writes the blurred row y of height rows to dst. column is a buffer
// of reach more pixels at either end, whose ends are zero; zero a row of zeros.
func (w *window) blurRow(dst []float32, y, height int, column, zero []float32) {
	var rows [taps][]float32
	for i := range rows {
		rows[i] = zero[:len(dst)]
		if at := y + i - reach; at >= 0 && at < height {
			rows[i] = w.row(at, len(dst))
		}
	}
	blurDown(column[reach:reach+len(dst)], &rows)
	clear(column[reach+len(dst):][:reach])
	blurAcross(dst, column)
}

// blurDown weighs nine rows, each at least as long as dst.
func blurDown(dst []float32, rows *[taps][]float32) {
	n := len(dst)
	a, b, c, d, e := rows[0][:n], rows[1][:n], rows[2][:n], rows[3][:n], rows[4][:n]
	f, g, h, j := rows[5][:n], rows[6][:n], rows[7][:n], rows[8][:n]
	for i := range dst {
		dst[i] = tap[0]*e[i] + tap[1]*(d[i]+f[i]) + tap[2]*(c[i]+g[i]) + tap[3]*(b[i]+h[i]) + tap[4]*(a[i]+j[i])
	}
}

// blurAcross weighs nine neighbours in src, where dst[0] is centred on
// src[reach].
func blurAcross(dst, src []float32) {
	for i := range dst {
		s := src[i : i+taps : i+taps]
		dst[i] = tap[0]*s[4] + tap[1]*(s[3]+s[5]) + tap[2]*(s[2]+s[6]) + tap[3]*(s[1]+s[7]) + tap[4]*(s[0]+s[8])
	}
}
