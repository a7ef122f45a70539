//go:build !goexperiment.simd || !amd64

package metric

// Without vector instructions the loops begin at the first pixel.

func wideXYB(_, _, _ []float32) int                                    { return 0 }
func wideHalve(_, _, _ []float32) int                                  { return 0 }
func wideDown(_, _, _ []float32, _, _ *[3][]float32) int               { return 0 }
func wideAcross(_, _ *[2][]float32, from int, _ *[2]recursion) int     { return from }
func wideSSIM(_, _, _, _, _ []float32) (done int, sum, fourth float32) { return 0, 0, 0 }
func wideEdges(_, _, _, _ []float32) (done int, sums [4]float32)       { return 0, sums }
