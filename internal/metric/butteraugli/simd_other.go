//go:build !goexperiment.simd || !amd64

package butteraugli

// Without vector instructions the loops begin at the first pixel.

func wideConvolve(_, _ []float32, _ []splat) int              { return 0 }
func wideCombine(_, _ []float32, _ []pair, _ []splat) int     { return 0 }
func wideRespond(_, _, _ *[3][]float32) int                   { return 0 }
func wideSubtract(_, _, _ []float32) int                      { return 0 }
func wideWeigh(_ *[3][]float32) int                           { return 0 }
func wideSplitMiddle(_, _, _, _ []float32) int                { return 0 }
func wideSplitHigh(_, _ *[2][]float32, _, _, _ []float32) int { return 0 }
func wideDiffer(_ contrast, _, _, _ []float32) int            { return 0 }
func wideAddSparse(_ []float32, _ *nearby) int                { return 0 }
func wideAddDense(_ []float32, _ *nearby) int                 { return 0 }
func wideErode(_ []float32, _ *[3][]float32) int              { return 0 }
func wideTone(_, _ []float32) int                             { return 0 }
func wideAddSquares(_, _, _ []float32, _ float32) int         { return 0 }
func wideAddUneven(_, _, _ []float32, _ float32) int          { return 0 }
func wideTotal(_, _, _, _, _ []float32) int                   { return 0 }
func wideBlend(_, _ []float32) int                            { return 0 }
func wideNorms(_ *norms, _ []float32) int                     { return 0 }
