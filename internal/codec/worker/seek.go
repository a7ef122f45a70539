package worker

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// candidate is an encoder in one way of using it, with one setting left open.
type candidate struct {
	name     string // with its version
	family   string // of candidates that come out alike with the same setting
	curve    quality.Curve
	settings func(x float64) string
	encode   func(x float64) ([]byte, error)
	feed     func(distances []float32) // refines it by what was measured of its last result; nil where it can't
}

// found is a result.
type found struct {
	data     []byte
	measured plan.Measured
	margin   float64
	by       *candidate
	setting  float64
}

// seek encodes the picture with the encoder and setting that come out smallest
// at the targets, and writes what they make to the output.
func (e *Engine) seek(p *picture, s plan.Save) (plan.Result, error) {
	if s.Search.Tier == quality.Fast {
		return e.predicted(p, s)
	}
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
	j, err := newJudge(p, s.Search.Targets)
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
	k := &seeker{judge: j, format: s.Format, features: features}
	if err := k.all(candidates); err != nil {
		return result, err
	}
	if s.Search.Tier == quality.Max {
		if err := k.closed(); err != nil {
			return result, err
		}
	}
	if err := k.complete(); err != nil {
		return result, err
	}
	k.best.measured.Targets, k.best.measured.Trials = j.targets, k.trials
	result.Measured = &k.best.measured
	return result, write(p.files.Output, k.best.data)
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
	floor := math.Floor(scores.SSIMULACRA2*100) / 100
	return quality.Targets{SSIMULACRA2: min(max(floor, quality.Least), quality.Most)}, err
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

// seeker looks for the best result of several candidates.
type seeker struct {
	judge    *judge
	format   format.Format
	features quality.Features
	best     *found
	trials   int
}

// all searches with each candidate.
func (k *seeker) all(candidates []candidate) error {
	for i := range candidates {
		c := &candidates[i]
		guess := c.curve.Guess(k.judge.targets, k.features)
		if k.best != nil && k.best.by.family == c.family {
			guess = k.best.setting // they hardly differ in it
		}
		if err := k.with(c, guess); err != nil {
			return err
		}
	}
	return nil
}

// with searches with one candidate, as long as it may become the best.
func (k *seeker) with(c *candidate, guess float64) error {
	rival, fed := k.best, c.feed == nil
	_, err := quality.Search(c.curve, k.judge.targets, guess, trials, func(x float64) (quality.Trial, error) {
		data, err := c.encode(x)
		if err != nil {
			return quality.Trial{}, err
		}
		scores, err := k.judge.score(data, k.format)
		if err != nil {
			return quality.Trial{}, err
		}
		k.trials++
		if d := k.judge.distances(); !fed && scores.Butteraugli > 0 && d != nil {
			c.feed(d)
			fed = true
		}
		margin := k.judge.targets.Margin(scores)
		mine := &found{data: data, margin: margin, by: c, setting: x,
			measured: plan.Measured{Encoder: c.name, Settings: c.settings(x), Scores: scores, Met: margin >= 0}}
		if k.best == nil || mine.better(k.best) {
			k.best = mine
		}
		if rival != nil && rival.measured.Met && float64(len(data))*math.Exp(-pointCost*margin) > chance*float64(len(rival.data)) {
			return quality.Trial{}, errBeaten
		}
		return quality.Trial{Bytes: int64(len(data)), Scores: scores}, nil
	})
	if errors.Is(err, errBeaten) {
		return nil
	}
	return err
}

// closed has the best encoder refined by the distance map of its result, and
// searches again from there.
func (k *seeker) closed() error {
	c := k.best.by
	if c.feed == nil || !k.best.measured.Met {
		return nil
	}
	data, err := c.encode(k.best.setting)
	if err != nil {
		return err
	}
	k.judge.whole = true
	_, err = k.judge.score(data, k.format)
	k.judge.whole = false
	if d := k.judge.distances(); err == nil && d != nil {
		c.feed(d)
	}
	if err != nil {
		return err
	}
	return k.with(c, k.best.setting)
}

// complete measures butteraugli of the best result, if nobody has yet.
func (k *seeker) complete() error {
	if k.best.measured.Scores.Butteraugli != 0 {
		return nil
	}
	k.judge.whole = true
	scores, err := k.judge.score(k.best.data, k.format)
	k.judge.whole = false
	k.best.measured.Scores = scores
	return err
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

// predictPixels is up to which size a picture is held in memory to be looked at
// before it is encoded; larger ones stream from the decoder to the encoder.
const predictPixels = 4_000_000

// predicted encodes once, with the setting that a picture like this one needs.
func (e *Engine) predicted(p *picture, s plan.Save) (plan.Result, error) {
	f, err := p.look()
	if err != nil {
		return plan.Result{}, err
	}
	curve, ok := fastCurves[s.Format]
	if !ok {
		return plan.Result{}, fault.New(fault.Invalid, "a target needs a format with a quality: JPEG, WebP, AVIF or JPEG XL")
	}
	search := s.Search
	s.Search, s.Quality = nil, int(curve.Guess(search.Targets, f))
	result, err := p.save(s, p.files.Output)
	result.Measured = &plan.Measured{Targets: search.Targets, Encoder: e.encoder(s.Format), Settings: fmt.Sprintf("Q %d, effort %d", s.Quality, s.Effort)}
	return result, err
}

// look measures what predictions go by.
func (p *picture) look() (quality.Features, error) {
	if size := p.size(); size.W*size.H > predictPixels || len(p.frames) > 1 {
		return quality.Typical, nil
	}
	if err := p.hold(); err != nil {
		return quality.Typical, err
	}
	m, err := raster(p.frames[0])
	if err == errDepth { // a colour profile that is kept
		return quality.Typical, nil
	}
	return quality.Look(m.Pix, m.W, m.H, m.Bands), err
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
