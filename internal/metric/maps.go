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
// written with d = b − a: bd, badd and baddd are the blurred d, a·d and d²;
// mean is the blurred a, and spread is 2·var a + C.
func (n *norms) addSSIM(bd, bad, bdd, mean, spread []float32) {
	l := len(bd)
	bad, bdd, mean, spread = bad[:l], bdd[:l], mean[:l], spread[:l]
	var sum, fourth float32
	for i, m := range bd {
		both := spread[i] + 2*(bad[i]-mean[i]*m)
		apart := bdd[i] - m*m
		e := max((apart+m*m*both)/(both+apart), 0)
		sum += e
		e *= e
		fourth += e * e
	}
	n[ssimMean] += float64(sum)
	n[ssimFourth] += float64(fourth)
}

// addEdges adds a row of the two errors at edges: how far a pixel differs from
// the blur around it, in the distorted picture against the reference. More is
// an artifact (ringing, blocks), less is lost detail. a and mean are the
// reference and its blur, d and bd the difference and its blur.
func (n *norms) addEdges(a, mean, d, bd []float32) {
	l := len(bd)
	a, mean, d = a[:l], mean[:l], d[:l]
	var artifact, artifact4, detail, detail4 float32
	for i, m := range bd {
		edge := a[i] - mean[i]
		other := abs(edge + d[i] - m)
		edge = abs(edge)
		e := (other - edge) / (1 + edge)
		more, less := max(e, 0), max(-e, 0)
		artifact += more
		detail += less
		e *= e
		e *= e
		if more > 0 {
			artifact4 += e
		} else {
			detail4 += e
		}
	}
	n[artifactMean] += float64(artifact)
	n[artifactFourth] += float64(artifact4)
	n[detailMean] += float64(detail)
	n[detailFourth] += float64(detail4)
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
