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
