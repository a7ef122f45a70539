package metric

import "math"

// contrast keeps the structural term steady where both pictures are flat.
const contrast = 0.0009

// norms are the mean and the 4-norm of the three error maps of a component at
// a scale, in the order of the weights.
type norms [6]float64

const (
	ssimMean = iota
	artifactMean
	detailMean
	ssimFourth
	artifactFourth
	detailFourth
)

// finish turns the sums over pixels into norms.
func (n *norms) finish(pixels int) {
	for i := range n {
		n[i] /= float64(pixels)
		if i >= ssimFourth {
			n[i] = math.Sqrt(math.Sqrt(n[i]))
		}
	}
}

// addSSIM adds a row of the structural error
//
//	1 − (1 − (μa−μb)²) · (2·cov(a,b) + C) / (var a + var b + C), at least 0
//
// where meanA and varA are of the reference, and meanB, squares and products
// are the blurred b, b² and a·b.
func (n *norms) addSSIM(meanA, varA, meanB, squares, products []float32) {
	l := len(meanA)
	varA, meanB, squares, products = varA[:l], meanB[:l], squares[:l], products[:l]
	i, sum, fourth := wideSSIM(meanA, varA, meanB, squares, products)
	for ; i < l; i++ {
		a, b := meanA[i], meanB[i]
		apart := a - b
		close := 1 - float32(apart*apart)
		shared := 2*(products[i]-float32(a*b)) + contrast
		spread := varA[i] + (squares[i] - float32(b*b)) + contrast
		e := max(1-float32(close*shared)/spread, 0)
		sum += e
		e *= e
		fourth += float32(e * e)
	}
	n[ssimMean] += float64(sum)
	n[ssimFourth] += float64(fourth)
}

// addEdges adds a row of the two errors at edges: how far a pixel differs from
// the blur around it, in the distorted picture against the reference. More is
// an artifact (ringing, blocks), less is lost detail.
func (n *norms) addEdges(a, meanA, b, meanB []float32) {
	l := len(a)
	meanA, b, meanB = meanA[:l], b[:l], meanB[:l]
	i, sums := wideEdges(a, meanA, b, meanB)
	for ; i < l; i++ {
		edge := abs(a[i] - meanA[i])
		e := (abs(b[i]-meanB[i]) - edge) / (1 + edge)
		more, less := max(e, 0), max(-e, 0)
		sums[0] += more
		sums[1] += less
		more *= more
		less *= less
		sums[2] += float32(more * more)
		sums[3] += float32(less * less)
	}
	n[artifactMean] += float64(sums[0])
	n[detailMean] += float64(sums[1])
	n[artifactFourth] += float64(sums[2])
	n[detailFourth] += float64(sums[3])
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
