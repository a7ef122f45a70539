package worker

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"safelight/internal/fault"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// candidate is an encoder in one way of using it, with one setting left open.
type candidate struct {
	name     string // with its version
	curve    quality.Curve
	settings func(x float64) string
	encode   func(x float64) ([]byte, error)
	refine   func(j *judge, best quality.Trial) error // closes the loop with a distance map; nil where it can't
}

// found is the best result so far.
type found struct {
	data     []byte
	measured plan.Measured
	margin   float64
}

// seek encodes the picture with the encoder and setting that come out smallest
// at the targets, and writes what they make to the output.
func (e *Engine) seek(p *picture, s plan.Save) (plan.Result, error) {
	defer roomy()()
	result, err := p.writable(s.Format)
	if err == nil {
		err = p.hold()
	}
	if err != nil {
		return result, err
	}
	first, err := raster(p.frames[0])
	if err != nil {
		return result, err
	}
	features := quality.Look(first.Pix, first.W, first.H, first.Bands)
	if s.Search.Tier == quality.Fast {
		return e.predicted(p, s, features)
	}
	j, err := newJudge(p, s.Search.Targets, e.jxl)
	if err != nil {
		return result, err
	}
	if j.targets == (quality.Targets{}) {
		if j.targets, err = e.asGood(p, j, s); err != nil {
			return result, err
		}
		s.Search = &plan.Search{Tier: s.Search.Tier, Targets: j.targets}
	}
	candidates, err := e.candidates(p, s, features, first)
	if err != nil {
		return result, err
	}
	var best *found
	for _, c := range candidates {
		if best, err = seekWith(c, j, s, features, best); err != nil {
			return result, err
		}
	}
	best.measured.Targets = j.targets
	result.Measured = &best.measured
	return result, write(p.files.Output, best.data)
}

// asGood is the target that a plain encoder's result with Save's quality gives.
func (e *Engine) asGood(p *picture, j *judge, s plan.Save) (quality.Targets, error) {
	v, err := e.viaVips(p, s)
	if err != nil {
		return quality.Targets{}, err
	}
	data, err := v.save(settings(s)...)
	if err != nil {
		return quality.Targets{}, err
	}
	scores, err := j.score(data, s.Format)
	return quality.Targets{SSIMULACRA2: min(max(scores.SSIMULACRA2, quality.Least), quality.Most)}, err
}

// roomy lets the Go side take what the process has, for pixels are on it now,
// and gives it back when the returned function is called.
func roomy() func() {
	was := debug.SetMemoryLimit(math.MaxInt64)
	return func() {
		debug.SetMemoryLimit(was)
		debug.FreeOSMemory()
	}
}

// errBeaten ends the search with a candidate that has no chance any more.
var errBeaten = errors.New("beaten")

const (
	// pointCost is how much of its bytes a file changes by for a point of
	// SSIMULACRA2, about, and chance how far behind by that count a candidate
	// may be and still be tried on.
	pointCost = 0.03
	chance    = 1.04
	// trials is how many a search is meant to take at most.
	trials = 5
)

// seekWith searches with one candidate; the result is the better of its and best.
func seekWith(c candidate, j *judge, s plan.Save, f quality.Features, best *found) (*found, error) {
	mine := &found{margin: math.Inf(-1)}
	try := func(x float64) (quality.Trial, error) {
		data, err := c.encode(x)
		if err != nil {
			return quality.Trial{}, err
		}
		scores, err := j.score(data, s.Format)
		if err != nil {
			return quality.Trial{}, err
		}
		t := quality.Trial{Bytes: int64(len(data)), Scores: scores}
		mine.consider(c, x, data, scores, j.targets.Margin(scores))
		mine.measured.Trials++
		if best != nil && best.measured.Met && float64(len(data))*math.Exp(-pointCost*j.targets.Margin(scores)) > chance*float64(len(best.data)) {
			return t, errBeaten
		}
		return t, nil
	}
	guess := c.curve.Guess(j.targets, f)
	outcome, err := quality.Search(c.curve, j.targets, guess, trials, try)
	if err == nil && s.Search.Tier == quality.Max && c.refine != nil && j.maps() && outcome.Met {
		err = c.closed(j, outcome.Best, try)
	}
	if err != nil && !errors.Is(err, errBeaten) {
		return best, err
	}
	mine.measured.Encoder = c.name
	if best == nil {
		return mine, nil
	}
	total := best.measured.Trials + mine.measured.Trials
	if mine.better(best) {
		best = mine
	}
	best.measured.Trials = total
	return best, nil
}

// closed has the encoder refined by the distance map of its best result, and
// searches again from there.
func (c *candidate) closed(j *judge, best quality.Trial, try func(float64) (quality.Trial, error)) error {
	if err := c.refine(j, best); err != nil {
		return err
	}
	_, err := quality.Search(c.curve, j.targets, best.Setting, trials, try)
	return err
}

// consider takes a trial over if it is better than what was found before.
func (f *found) consider(c candidate, x float64, data []byte, s quality.Scores, margin float64) {
	trial := &found{data: data, margin: margin, measured: plan.Measured{Settings: c.settings(x), Scores: s, Met: margin >= 0}}
	if f.data == nil || trial.better(f) {
		f.data, f.margin = trial.data, trial.margin
		f.measured.Settings, f.measured.Scores, f.measured.Met = trial.measured.Settings, s, margin >= 0
	}
}

// better prefers what reaches the targets, then what is smaller; of what misses
// them, what comes nearest.
func (f *found) better(than *found) bool {
	switch {
	case f.measured.Met != than.measured.Met:
		return f.measured.Met
	case f.measured.Met:
		return len(f.data) < len(than.data)
	}
	return f.margin > than.margin
}

// predicted encodes once, with the setting that a picture like this one needs.
func (e *Engine) predicted(p *picture, s plan.Save, f quality.Features) (plan.Result, error) {
	curve, ok := fastCurves[s.Format]
	if !ok {
		return plan.Result{}, fault.New(fault.Invalid, "a target needs a format with a quality: JPEG, WebP or AVIF")
	}
	search := s.Search
	s.Search, s.Quality = nil, int(curve.Guess(search.Targets, f))
	result, err := p.save(s, p.files.Output)
	result.Measured = &plan.Measured{Targets: search.Targets, Encoder: e.encoder(s.Format), Settings: fmt.Sprintf("Q %d, effort %d", s.Quality, s.Effort)}
	return result, err
}

// write fills an empty file.
func write(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		data = data[n:]
	}
	return nil
}
