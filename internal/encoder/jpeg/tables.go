package jpeg

import "math"

// knots are the distances from the mean's place, in steps of frequency, at
// which a curve over frequencies is given; between them it is linear in the
// logarithm.
var knots = [...]float64{1, 2, 3.5, 5.5, 9.9}

// curve is a factor for each frequency.
type curve [len(knots)]float64

// parameters say how the one number of Settings becomes a file.
type parameters struct {
	// Quantisation steps, as multiples of the scale.
	Luma       curve
	LumaMean   float64 // of a block's mean
	Chroma     curve
	ChromaMean float64
	Blue, Red  float64 // what the steps of the two differences are multiplied by

	// The rate-distortion trellis: squared errors, in steps, that one bit may
	// cost in a block of weight 1.
	Bit       float64
	BitChroma float64 // the same of chroma, as a multiple
	BitMean   float64 // the same of a block's mean, as a multiple of either
	// How an error counts at the highest frequencies, against the lowest.
	High, HighChroma float64

	// The weight of a block is (1 + Busy·activity)^−Hide · (1 + Dark·(1 − light)).
	Busy, Hide, Dark float64
	HideChroma       float64 // Hide of chroma, whose errors luma's activity hides less or more
	DarkChroma       float64
}

// at gives the factor for the frequency (u, v).
func (c *curve) at(u, v int) float64 {
	r := math.Hypot(float64(u), float64(v))
	i := 1
	for i < len(knots)-1 && r > knots[i] {
		i++
	}
	t := (r - knots[i-1]) / (knots[i] - knots[i-1])
	return math.Exp(math.Log(c[i-1])*(1-t) + math.Log(c[i])*t)
}

// fit is parameters for two scales; between them they are mixed.
type fit struct {
	fine, coarse           parameters
	fineScale, coarseScale float64

	feedback float64 // how far one round of Feedback goes: 0 not at all, 1 as far as its rule has it
}

// at gives the parameters for a scale.
func (f *fit) at(scale float64) parameters {
	t := math.Log(scale/f.fineScale) / math.Log(f.coarseScale/f.fineScale)
	return f.fine.mixed(&f.coarse, min(max(t, 0), 1))
}

// fields are all numbers of p, for mixing and fitting.
func (p *parameters) fields() []*float64 {
	all := []*float64{
		&p.LumaMean, &p.ChromaMean, &p.Blue, &p.Red, &p.Bit, &p.BitChroma, &p.High, &p.HighChroma,
		&p.Busy, &p.Hide, &p.Dark, &p.HideChroma, &p.DarkChroma,
	}
	for i := range knots {
		all = append(all, &p.Luma[i], &p.Chroma[i])
	}
	all = append(all, &p.BitMean)
	return all
}

// mixed is p with the share t of q.
func (p *parameters) mixed(q *parameters, t float64) parameters {
	out := *p
	from, to := q.fields(), out.fields()
	for i := range to {
		*to[i] += (*from[i] - *to[i]) * t
	}
	return out
}

// table is how one component is quantised; all in zigzag order.
type table struct {
	step    [64]uint8
	inverse [64]float32 // 1/step
	least   [64]float32 // the least coefficient that may become other than 0
	matter  [64]float32 // how much a squared error in steps counts
}

// tables are those of luma, blue difference and red difference.
type tables [3]table

func (p *parameters) tables(scale float64) (t tables) {
	for c := range t {
		steps, mean, factor, high := &p.Luma, p.LumaMean, 1.0, p.High
		if c > 0 {
			steps, mean, factor, high = &p.Chroma, p.ChromaMean, []float64{p.Blue, p.Red}[c-1], p.HighChroma
		}
		for k, at := range zigzag {
			u, v := int(at%8), int(at/8)
			s := mean
			if k > 0 {
				s = steps.at(u, v)
			}
			ideal := s * scale * factor
			s = min(max(math.Round(ideal), 1), 255)
			if k == 0 {
				s = meanStep(c, ideal)
			}
			t[c].step[k] = uint8(s)
			t[c].inverse[k] = float32(1 / s)
			t[c].least[k] = float32(s / 2)
			// Errors count in steps as they would be if they weren't whole numbers,
			// so that the trellis makes up for the rounding and quality moves
			// evenly with the scale.
			matter := math.Pow(high, math.Hypot(float64(u), float64(v))/knots[len(knots)-1])
			t[c].matter[k] = float32(matter * min(max(s/ideal, 0.5), 2) * min(max(s/ideal, 0.5), 2))
		}
	}
	return t
}

// wholeFrom is the step of a block's mean, in luma and the two differences, from
// which on it is made a multiple of 8.
var wholeFrom = [3]float64{5.5, 4.2, 2.35}

// meanStep rounds the step of a block's mean. A coefficient is eight times the
// mean, and decoders round samples to whole levels: flat parts come out even,
// and as often right, with a step of 8 as with one of 5, which costs more. So
// steps that are neither small nor a multiple of 8 are no use.
func meanStep(component int, ideal float64) float64 {
	if ideal < wholeFrom[component] {
		return max(math.Round(ideal), 1)
	}
	return min(max(math.Floor((ideal+1)/8), 1)*8, 248)
}

// fitted are the parameters in use. They were found by an evolution strategy of
// one parent and one child that changes one to three numbers at a time, on seven
// photographs of about 500 pixels width, 4:4:4; others were kept for reporting.
// What was made least is the mean logarithm of the bytes at which the floors
// just hold, taken between two scales 7 % apart so that the luck of rounding one
// table does not count.
//
// fine holds at both of guetzli's scores at its default quality (SSIMULACRA2 of
// 84 to 90 and the 3-norm of butteraugli of 0.73 to 0.88) after one round of
// Feedback, coarse at SSIMULACRA2 of 80 without.
var fitted = fit{fine: fine, coarse: coarse, fineScale: 3, coarseScale: 7, feedback: 0.83}

var fine = parameters{
	Luma: curve{1.006, 1.49, 2.08, 2.06, 4.098}, LumaMean: 1.051,
	Chroma: curve{1.486, 3.714, 3.436, 4.004, 3.877}, ChromaMean: 1.038,
	Blue: 1.897, Red: 1.234,
	Bit: 0.03661, BitChroma: 0.9797, BitMean: 0.6,
	High: 1.03, HighChroma: 0.9535,
	Busy: 1.351, Hide: 0.6133, Dark: 0.7262,
	HideChroma: 0.5938, DarkChroma: 0.8011,
}

var coarse = parameters{
	Luma: curve{0.6971, 1.915, 1.936, 2.452, 3.528}, LumaMean: 0.5169,
	Chroma: curve{1.922, 2.974, 3.445, 3.213, 7.546}, ChromaMean: 0.7511,
	Blue: 1.796, Red: 1.325,
	Bit: 0.02039, BitChroma: 1.093, BitMean: 4.104,
	High: 0.5952, HighChroma: 0.6609,
	Busy: 0.9102, Hide: 0.437, Dark: 0.6664,
	HideChroma: 0.3808, DarkChroma: 1.46,
}
