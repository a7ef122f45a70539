package butteraugli

import "math"

// Differences in fine detail are seen along lines: the sums over short lines
// through a pixel, of all directions, are squared and added ("Malta", after
// the shape of its cross).

// contrast says how differences of a band become what is summed along lines.
type contrast struct {
	norm  float32 // the amplitude at which differences count half
	any   float32 // weight of a difference
	apart float32 // weight of what gets much smaller, of another sign, or larger
}

func newContrast(weight, norm, mul float64) contrast {
	const length = 2*3.75 + 1
	by := mul * norm / length
	return contrast{float32(norm), float32(by * math.Sqrt(0.5*weight)), float32(by * math.Sqrt(0.33*weight))}
}

const (
	dense  = 0.39905817637  // lines of nine pixels
	sparse = 0.611612573796 // lines of five pixels out of nine
)

// The contrasts of red against green, and of brightness.
var (
	ultraContrast  = [2]contrast{newContrast(173.5, 5, dense), newContrast(1.10039032555, 71.7800275169, dense)}
	highContrast   = [2]contrast{newContrast(6923.99476109, 8051.15833247, sparse), newContrast(18.7237414387, 4498534.45232, sparse)}
	middleContrast = [2]contrast{newContrast(8246.75321353, 1009002.70582, sparse), newContrast(37.0819870399, 130262059.556, sparse)}
)

// Below the first share of the reference's amplitude something is lost; above
// the second it is added.
const (
	lost  = 0.55
	added = 1.05
)

// differ writes the differences of a row.
func (c contrast) differ(dst, ref, dist []float32) {
	ref, dist = ref[:len(dst)], dist[:len(dst)]
	for i := wideDiffer(c, dst, ref, dist); i < len(dst); i++ {
		a, b := abs(ref[i]), dist[i]
		diff := ref[i] - b
		by := 1 / (c.norm + 0.5*(a+abs(b)))
		if ref[i] < 0 {
			b = -b
		}
		extra := max(lost*a-b, b-added*a, 0)
		dst[i] = by * (c.any*diff + c.apart*copysign(extra, diff))
	}
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

func copysign(v, sign float32) float32 {
	return math.Float32frombits(math.Float32bits(v) | math.Float32bits(sign)&(1<<31))
}

// nearby are the padded rows from four above to four below a row.
type nearby [9][]float32

// around returns nine columns of each row, the fifth being column i.
func (n *nearby) around(i int) (u4, u3, u2, u1, m, d1, d2, d3, d4 *[9]float32) {
	at := i + pad - 4
	w := func(row []float32) *[9]float32 { return (*[9]float32)(row[at:]) }
	return w(n[0]), w(n[1]), w(n[2]), w(n[3]), w(n[4]), w(n[5]), w(n[6]), w(n[7]), w(n[8])
}

func squared(v float32) float32 { return v * v }

// addSparse adds the sums along sixteen lines that skip every other pixel or
// so. Lines share their inner three pixels.
func addSparse(sum []float32, n *nearby) {
	for i := wideAddSparse(sum, n); i < len(sum); i++ {
		u4, u3, u2, u1, m, d1, d2, d3, d4 := n.around(i)
		middle := m[4]
		t := squared(middle + m[2] + m[6] + m[0] + m[8])
		t += squared(middle + u2[4] + d2[4] + u4[4] + d4[4])
		t += squared(middle + u2[2] + d2[6] + u3[1] + d3[7])
		t += squared(middle + u2[6] + d2[2] + u3[7] + d3[1])
		inner := middle + u2[3] + d2[5]
		t += squared(inner+u4[3]+d4[5]) + squared(inner+u3[2]+d3[6]) + squared(inner+u4[2]+d4[6])
		inner = middle + u2[5] + d2[3]
		t += squared(inner+u4[5]+d4[3]) + squared(inner+u3[6]+d3[2]) + squared(inner+u4[6]+d4[2])
		inner = middle + u1[2] + d1[6]
		t += squared(inner+u1[0]+d1[8]) + squared(inner+u2[1]+d2[7]) + squared(inner+u2[0]+d2[8])
		inner = middle + u1[6] + d1[2]
		t += squared(inner+u1[8]+d1[0]) + squared(inner+u2[7]+d2[1]) + squared(inner+u2[8]+d2[0])
		sum[i] += t
	}
}

// addDense adds the sums along sixteen lines of up to nine pixels. Four of the
// lines are there twice.
func addDense(sum []float32, n *nearby) {
	for i := wideAddDense(sum, n); i < len(sum); i++ {
		u4, u3, u2, u1, m, d1, d2, d3, d4 := n.around(i)
		middle := m[4]
		flat := middle + m[3] + m[5]
		steep := middle + u1[4] + d1[4]
		falling := middle + u1[3] + d1[5]
		rising := middle + u1[5] + d1[3]
		down21, up21 := u2[3]+d2[5], u2[5]+d2[3] // two rows and one column away
		down12, up12 := u1[2]+d1[6], u1[6]+d1[2]
		twice := squared(steep + up21 + u3[5] + d3[3] + u4[5] + d4[3])
		twice += squared(steep + down21 + u3[3] + d3[5] + u4[3] + d4[5])
		twice += squared(flat + down12 + u1[1] + d1[7] + u1[0] + d1[8])
		twice += squared(flat + up12 + u1[7] + d1[1] + u1[8] + d1[0])
		t := 2 * twice
		t += squared(flat + m[2] + m[6] + m[1] + m[7] + m[0] + m[8])
		t += squared(steep + u2[4] + d2[4] + u3[4] + d3[4] + u4[4] + d4[4])
		t += squared(falling + u2[2] + d2[6] + u3[1] + d3[7])
		t += squared(rising + u2[6] + d2[2] + u3[7] + d3[1])
		t += squared(falling + down21 + u3[2] + d3[6])
		t += squared(rising + up21 + u3[6] + d3[2])
		t += squared(falling + down12 + u2[1] + d2[7])
		t += squared(rising + up12 + u2[7] + d2[1])
		sum[i] += t
	}
}
