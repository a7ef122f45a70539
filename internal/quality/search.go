package quality

import "math"

// Trial is one setting of an encoder and what it gave.
type Trial struct {
	Setting float64
	Bytes   int64
	Scores  Scores
	Margin  float64 // Targets.Margin of Scores; Search sets it
}

// Outcome is the end of a search.
type Outcome struct {
	Best   Trial // the smallest that reaches the targets; if none does, the best that was tried
	Met    bool  // Best reaches them
	Trials int
}

const (
	// tolerance is how far above its targets a result may be, in points: half a
	// percent of bytes, which another trial would cost more than it saves.
	tolerance = 0.25
	// bothTolerance is the same for two floors, where a trial costs three times as
	// much and butteraugli strays more.
	bothTolerance = 0.4
	// aim is where in that range a step is aimed at.
	aim = 0.09
	// more trials are made while nothing has reached the targets, or only what is
	// far above them.
	more = 5
	far  = 0.8 // points
	// maxStep bounds a step, in points of the score that the curve expects.
	maxStep = 12
)

// Search looks for the lowest setting whose result reaches the targets. try
// encodes with a setting and measures; an error of it ends the search. About
// most trials are made, beginning with guess; a few more where none reached the
// targets by then, or none came near.
func Search(c Curve, t Targets, guess float64, most int, try func(setting float64) (Trial, error)) (Outcome, error) {
	s := search{curve: c, targets: t}
	next := c.round(guess, math.Round)
	for s.trials < most || (s.good == nil || s.good.Margin > far) && s.trials < most+more {
		trial, err := try(next)
		if err != nil {
			return s.outcome(), err
		}
		trial.Setting, trial.Margin = next, t.Margin(trial.Scores)
		s.note(trial)
		if s.done(trial) {
			break
		}
		was := next
		if next = s.next(trial); next == was || s.tried(next) {
			break
		}
	}
	return s.outcome(), nil
}

type search struct {
	curve     Curve
	targets   Targets
	trials    int
	good, bad *Trial // the lowest that reaches the targets, the highest that does not
	last      *Trial // before the newest
	newest    *Trial
}

func (s *search) note(t Trial) {
	s.trials++
	s.last, s.newest = s.newest, &t
	if t.Margin >= 0 {
		// Scores are not quite monotone: what is smaller and good is better.
		if s.good == nil || t.Setting < s.good.Setting || t.Bytes < s.good.Bytes {
			s.good = &t
		}
		if s.bad != nil && s.bad.Setting >= s.good.Setting {
			s.bad = nil
		}
		return
	}
	if s.bad == nil || t.Setting > s.bad.Setting {
		s.bad = &t
	}
	if s.good != nil && s.bad.Setting >= s.good.Setting {
		s.bad = nil
	}
}

func (s *search) tried(setting float64) bool {
	for _, t := range []*Trial{s.good, s.bad, s.last, s.newest} {
		if t != nil && t.Setting == setting {
			return true
		}
	}
	return false
}

// done tells that no further trial would pay.
func (s *search) done(t Trial) bool {
	if t.Margin < 0 {
		return t.Setting >= s.curve.Max
	}
	if t.Setting <= s.curve.Min || t.Margin <= s.tolerance() {
		return true
	}
	return s.curve.Step > 0 && t.Margin < s.slope(t)*s.curve.Step*0.6 // one step less would miss
}

func (s *search) tolerance() float64 {
	if s.targets.SSIMULACRA2 != 0 && s.targets.Butteraugli != 0 {
		return bothTolerance
	}
	return tolerance
}

// slope is how many points a unit of the setting brings about t: between the
// last two trials where they tell, otherwise what the curve expects.
func (s *search) slope(t Trial) float64 {
	expected := s.curve.slope(s.targets.Score())
	a, b := s.good, s.bad
	if a == nil || b == nil {
		a, b = s.newest, s.last
	}
	if a == nil || b == nil || a.Setting == b.Setting {
		return expected
	}
	measured := (a.Margin - b.Margin) / (a.Setting - b.Setting)
	return min(max(measured, expected/2), expected*4) // scores of small pictures stray
}

// next is the setting to try after t.
func (s *search) next(t Trial) float64 {
	slope := s.slope(t)
	step := min(max(aim-t.Margin, -maxStep), maxStep) / slope
	x := t.Setting + step
	rounding := math.Ceil              // to the safe side of the aim
	if s.good != nil && s.bad != nil { // never leave the bracket, nor creep along one side of it
		from, width := s.bad.Setting, s.good.Setting-s.bad.Setting
		if s.curve.Step > 0 && width <= s.curve.Step*1.001 {
			return t.Setting
		}
		inset := max(0.1*width, s.curve.Step)
		x = min(max(x, from+inset), from+width-inset)
		rounding = math.Round
	}
	x = s.curve.round(x, rounding)
	if s.curve.Step > 0 && x == t.Setting { // the least step in the direction that is needed
		if t.Margin < 0 {
			x += s.curve.Step
		} else {
			x -= s.curve.Step
		}
	}
	return min(max(x, s.curve.Min), s.curve.Max)
}

func (s *search) outcome() Outcome {
	switch {
	case s.good != nil:
		return Outcome{*s.good, true, s.trials}
	case s.bad != nil:
		return Outcome{*s.bad, false, s.trials}
	}
	return Outcome{Trials: s.trials}
}
