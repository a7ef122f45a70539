// Package quality says what a compressed picture must look like, and finds the
// encoder setting that just reaches it: a first guess from what is known of the
// encoder and seen of the picture, then secant steps on measured scores. It
// knows neither pictures nor encoders; a caller tries settings for it.
package quality

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"safelight/internal/fault"
)

// Targets are floors that a result must all reach; 0 sets none.
type Targets struct {
	SSIMULACRA2 float64 `json:"ssimulacra2,omitempty" koanf:"ssimulacra2"` // at least; 30 is poor, 80 good for the web, 90 visually lossless, 100 identical
	Butteraugli float64 `json:"butteraugli,omitempty" koanf:"butteraugli"` // 3-norm of the distance, at most; 0.8 is about guetzli's, 2 is visible
}

// Web is the target where nothing else is asked for.
var Web = Targets{SSIMULACRA2: 80}

// Least and Most bound the SSIMULACRA2 that can be asked for: below, pictures
// can hardly be recognised; above, only the same pixels are sure to pass.
const Least, Most = 10, 99

// ParseTargets reads "80", which is SSIMULACRA2, or a list of floors such as
// "ssimulacra2=86.9,butteraugli=0.80". Errors are fault.Invalid.
func ParseTargets(text string) (Targets, error) {
	var t Targets
	for part := range strings.SplitSeq(text, ",") {
		name, value, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			name, value = "ssimulacra2", name
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return t, fault.New(fault.Invalid, "target: expected a number such as 80, or floors such as ssimulacra2=86.9,butteraugli=0.8, but received %.40q", part)
		}
		switch strings.TrimSpace(name) {
		case "ssimulacra2":
			t.SSIMULACRA2 = v
		case "butteraugli":
			t.Butteraugli = v
		default:
			return t, fault.New(fault.Invalid, "target: expected ssimulacra2 or butteraugli but received %.40q", name)
		}
	}
	return t, t.Validate()
}

// Validate tells what is wrong with targets; fault.Invalid.
func (t Targets) Validate() error {
	switch {
	case t.SSIMULACRA2 == 0 && t.Butteraugli == 0:
		return fault.New(fault.Invalid, "target: expected a floor for ssimulacra2, butteraugli or both")
	case !(t.SSIMULACRA2 >= 0 && t.SSIMULACRA2 <= Most), t.SSIMULACRA2 > 0 && t.SSIMULACRA2 < Least:
		return fault.New(fault.Invalid, "target: ssimulacra2 is a score from %d to %d; received %g", Least, Most, t.SSIMULACRA2)
	case !(t.Butteraugli >= 0 && t.Butteraugli <= 20), t.Butteraugli > 0 && t.Butteraugli < 0.1:
		return fault.New(fault.Invalid, "target: butteraugli is a distance from 0.1 to 20; received %g", t.Butteraugli)
	}
	return nil
}

// String is the form that ParseTargets reads.
func (t Targets) String() string {
	switch {
	case t.Butteraugli == 0:
		return fmt.Sprintf("%g", t.SSIMULACRA2)
	case t.SSIMULACRA2 == 0:
		return fmt.Sprintf("butteraugli=%g", t.Butteraugli)
	}
	return fmt.Sprintf("ssimulacra2=%g,butteraugli=%g", t.SSIMULACRA2, t.Butteraugli)
}

// Scores are what was measured of a result. Butteraugli is 0 where it was not
// measured (that of an identical picture is 0 as well).
type Scores struct {
	SSIMULACRA2 float64 `json:"ssimulacra2"`
	Butteraugli float64 `json:"butteraugli,omitempty"`
}

// butteraugliPoints converts a relative excess of butteraugli into points of
// SSIMULACRA2: both then change about as much with the setting of an encoder.
const butteraugliPoints = 12

// Margin is by how much scores reach their targets, in points of SSIMULACRA2:
// that of the floor which is nearest to being missed. Below 0 one is missed.
func (t Targets) Margin(s Scores) float64 {
	m := math.Inf(1)
	if t.SSIMULACRA2 != 0 {
		m = s.SSIMULACRA2 - t.SSIMULACRA2
	}
	if t.Butteraugli != 0 {
		m = min(m, (t.Butteraugli-s.Butteraugli)/t.Butteraugli*butteraugliPoints)
	}
	return m
}

// bothFloors is by how much the score that reaches two floors is mostly above the
// one asked for.
const bothFloors = 0.7

// Score is the SSIMULACRA2 that the targets come to, for first guesses.
func (t Targets) Score() float64 {
	alone := max(Least, 96-9*t.Butteraugli) // about what photographs show
	switch {
	case t.Butteraugli == 0:
		return t.SSIMULACRA2
	case t.SSIMULACRA2 == 0:
		return alone
	}
	return min(max(t.SSIMULACRA2, alone), t.SSIMULACRA2+bothFloors)
}

// Tier is how much is spent on a result.
type Tier string

// Fast predicts the setting and searches nothing; Balanced searches; Max
// searches with the slowest sensible effort of each encoder, and feeds the
// distance map back into the encoder that can use one.
const (
	Fast     Tier = "fast"
	Balanced Tier = "balanced"
	Max      Tier = "max"
)

// ParseTier reads a tier; errors are fault.Invalid.
func ParseTier(text string) (Tier, error) {
	switch t := Tier(text); t {
	case Fast, Balanced, Max:
		return t, nil
	}
	return "", fault.New(fault.Invalid, "tier: expected fast, balanced or max but received %.40q", text)
}
