package jpeg

// fitted are the parameters in use. They were found by an evolution strategy of
// one parent and one child that changes one to three numbers at a time, on seven
// photographs of about 500 pixels width, 4:4:4; others were kept for reporting.
// What was made least is the mean logarithm of the bytes at which the floors
// just hold, taken between two scales 7 % apart so that the luck of rounding one
// table does not count.
//
// fine holds at both of guetzli's scores at its default quality (SSIMULACRA2 of
// 84 to 90 and the 3-norm of butteraugli of 0.73 to 0.88), coarse at SSIMULACRA2
// of 80. At those, coarse takes 8 % more bytes for the former and fine 6 % more
// for the latter.
var fitted = fit{fine: fine, coarse: coarse, fineScale: 3, coarseScale: 7, feedback: 0.5}

var fine = parameters{
	Luma: curve{1.309, 1.49, 2.08, 2.39, 3.842}, LumaMean: 0.906,
	Chroma: curve{1.623, 3.929, 3.436, 3.399, 3.877}, ChromaMean: 1.038,
	Blue: 2.19, Red: 1.234,
	Bit: 0.03291, BitChroma: 1.322, BitMean: 0.6,
	High: 1.03, HighChroma: 0.9535,
	Busy: 0.8723, Hide: 0.6133, Dark: 0.9508,
	HideChroma: 0.5938, DarkChroma: 0.8011,
}

var coarse = parameters{
	Luma: curve{0.7417, 1.594, 2.614, 2.997, 4.301}, LumaMean: 0.547,
	Chroma: curve{1.623, 4.235, 3.414, 3.477, 3.866}, ChromaMean: 0.6136,
	Blue: 2.064, Red: 1.391,
	Bit: 0.02121, BitChroma: 1.284, BitMean: 2,
	High: 1.171, HighChroma: 1.215,
	Busy: 0.7872, Hide: 0.6263, Dark: 0.6441,
	HideChroma: 0.5938, DarkChroma: 1.372,
}
