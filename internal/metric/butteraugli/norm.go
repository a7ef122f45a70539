package butteraugli

import "math"

// The distances at half the size count by halfWeight, and lessen the others.
const (
	halfWeight  = 0.5
	wholeWeight = 1 - 0.3*halfWeight
)

// blend mixes the distances at half the size into a row.
func blend(row, half []float32) {
	for i := wideBlend(row, half); i < len(row); i++ {
		row[i] = row[i]*wholeWeight + half[i/2]*halfWeight
	}
}

// norms sums powers of distances.
type norms struct {
	cubes, sixths, twelfths float64
	most                    float32
}

func (n *norms) add(row []float32) {
	for i := wideNorms(n, row); i < len(row); i++ {
		d := float64(row[i])
		p := d * d * d
		n.cubes += p
		n.sixths += p * p
		n.twelfths += p * p * p * p
		n.most = max(n.most, row[i])
	}
}

func (n *norms) distance(pixels int) Distance {
	share := 1 / float64(pixels)
	p3 := math.Cbrt(share*n.cubes) + math.Pow(share*n.sixths, 1.0/6) + math.Pow(share*n.twelfths, 1.0/12)
	return Distance{Max: float64(n.most), P3: p3 / 3}
}
