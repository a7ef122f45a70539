package jpeg

// fitted are the parameters in use.
var fitted = fit{fine: fine, coarse: fine, fineScale: 3, coarseScale: 15, feedback: 0.35}

var fine = parameters{
	Luma:       curve{1.24, 1.49, 1.87, 2.39, 3.54},
	LumaMean:   0.906,
	Chroma:     curve{1.934, 2.35, 2.82, 3.32, 4.17},
	ChromaMean: 1.005,
	Blue:       2.2656, Red: 1.234,
	Bit: 0.0399, BitChroma: 1.519, BitMean: 0.2,
	High: 1, HighChroma: 1,
	Busy: 0.6016, Hide: 0.5456, Dark: 0.899,
	HideChroma: 0.5456, DarkChroma: 0.899,
}
