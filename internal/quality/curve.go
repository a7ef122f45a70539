package quality

import (
	"math"
	"sort"
)

// Curve is what is known of an encoder before it has seen a picture: which
// setting gives a photograph which score. Settings grow with quality.
type Curve struct {
	Min, Max float64      // range of the setting
	Step     float64      // settings are multiples of it; 0 is continuous
	Points   [][2]float64 // a score of SSIMULACRA2 and the setting that gives it to a typical photograph: ascending, at least two
	Activity float64      // added to the setting for each doubling of the picture's Activity over typicalActivity
}

// typicalActivity is Features.Activity of a typical photograph.
const typicalActivity = 8

// Guess is the setting that is likely to reach the targets for a picture.
func (c Curve) Guess(t Targets, f Features) float64 {
	a, b := c.about(t.Score())
	x := a[1] + (t.Score()-a[0])*(b[1]-a[1])/(b[0]-a[0])
	x += c.Activity * math.Log2((f.Activity+0.5)/(typicalActivity+0.5))
	return c.round(x, math.Round)
}

// about are the two points next to a score, or at the end where it is outside.
func (c Curve) about(score float64) (a, b [2]float64) {
	at := sort.Search(len(c.Points), func(i int) bool { return c.Points[i][0] > score })
	at = min(max(at, 1), len(c.Points)-1)
	return c.Points[at-1], c.Points[at]
}

// slope is how many points a unit of the setting brings at a score.
func (c Curve) slope(score float64) float64 {
	a, b := c.about(score)
	return (b[0] - a[0]) / (b[1] - a[1])
}

// round brings a setting to a step inside the range.
func (c Curve) round(x float64, how func(float64) float64) float64 {
	if c.Step > 0 {
		x = how(x/c.Step-1e-9) * c.Step
	}
	return min(max(x, c.Min), c.Max)
}
