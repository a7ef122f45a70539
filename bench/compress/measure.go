package main

import (
	"fmt"
	"math"

	"safelight/internal/format"
	"safelight/internal/quality"
)

// way is a format in a tier.
type way struct {
	format format.Format
	tier   quality.Tier
}

// tooSlow leaves out what would take most of the run's time: the slowest way on
// the large photographs.
func (w way) tooSlow(p *photo) bool {
	return w == way{format.AVIF, quality.Max} && p.large
}

func (w way) String() string { return names[w.format] + " " + string(w.tier) }

var names = map[format.Format]string{format.JPEG: "JPEG", format.WebP: "WebP", format.AVIF: "AVIF"}

var (
	asGoodWays = []way{
		{format.JPEG, quality.Balanced}, {format.JPEG, quality.Max},
		{format.AVIF, quality.Balanced}, {format.AVIF, quality.Max},
		{format.WebP, quality.Balanced},
	}
	autoWays = []way{
		{format.JPEG, quality.Balanced}, {format.JPEG, quality.Max},
		{format.WebP, quality.Balanced}, {format.WebP, quality.Max},
		{format.AVIF, quality.Balanced}, {format.AVIF, quality.Max},
	}
	fastWays = []way{{format.JPEG, quality.Fast}, {format.WebP, quality.Fast}, {format.AVIF, quality.Fast}}
	// series are the plot's lines, beside libjpeg-turbo's.
	series = []way{{format.JPEG, quality.Balanced}, {format.WebP, quality.Balanced}, {format.AVIF, quality.Balanced}}
)

// The comparison rows of the first table.
const (
	turboFull  = "libjpeg-turbo 4:4:4"
	jpegliFull = "jpegli 4:4:4"
	turboHalf  = "libjpeg-turbo 4:2:0"
)

// trial is a file that was made, and judged here.
type trial struct {
	bytes    float64
	scores   quality.Scores
	cpu      float64 // seconds
	trials   int
	encoder  string
	missed   bool    // a target
	deviates float64 // points of SSIMULACRA2 between the search's measure and ours
}

// result is what was measured of one photograph.
type result struct {
	*photo
	guetzliCPU float64 // seconds in this run; 0 where it was not run
	asGood     map[string]trial
	auto       map[string]trial
	turbo80    float64                        // bytes of libjpeg-turbo 4:2:0 at a score of 80; NaN where it can't
	curves     map[string]map[float64]float64 // bytes by target, of the plot's lines; NaN where it can't
	costs      costs
}

// scoresPlotted are the scores that the plot's lines go through.
var scoresPlotted = []float64{50, 60, 70, 75, 80, 85, 90}

func (l *lane) measure(p *photo) (*result, error) {
	j, err := l.judge(p)
	if err != nil {
		return nil, err
	}
	r := &result{photo: p, asGood: make(map[string]trial), auto: make(map[string]trial), curves: make(map[string]map[float64]float64)}
	for _, part := range []func(*result) error{j.timeGuetzli, j.measureAsGood, j.measurePeers, j.measureAuto, j.measureCurves} {
		if err := part(r); err != nil {
			return nil, err
		}
	}
	r.costs = j.costs
	return r, nil
}

// timeGuetzli runs guetzli again and holds what it makes against the table.
func (j *judge) timeGuetzli(r *result) error {
	if !r.timed {
		return nil
	}
	m, err := j.guetzliOf(r.photo)
	if err != nil {
		return err
	}
	r.guetzliCPU = m.cpu
	s, err := j.scores(m.data, format.JPEG, true)
	want := r.guetzli
	if err == nil && (int64(len(m.data)) != want.bytes || math.Abs(s.SSIMULACRA2-want.scores.SSIMULACRA2) > 0.05 || math.Abs(s.Butteraugli-want.scores.Butteraugli) > 0.002) {
		err = fmt.Errorf("guetzli made %d bytes that score %.4f and %.5f; the table has %d bytes, %+v", len(m.data), s.SSIMULACRA2, s.Butteraugli, want.bytes, want.scores)
	}
	return err
}

// sought is what a search comes to, judged again.
func (j *judge) sought(w way, targets quality.Targets) (trial, error) {
	m, err := j.search(j.photo, w.format, w.tier, targets)
	if err != nil {
		return trial{}, fmt.Errorf("%s at %s: %w", w, targets, err)
	}
	s, err := j.scores(m.data, w.format, targets.Butteraugli > 0)
	t := trial{bytes: float64(len(m.data)), scores: s, cpu: m.cpu, trials: m.Measured.Trials, encoder: m.Measured.Encoder, missed: targets.Margin(s) < 0}
	if w.tier != quality.Fast {
		t.deviates = math.Abs(s.SSIMULACRA2 - m.Measured.Scores.SSIMULACRA2)
	}
	return t, err
}

// measureAsGood searches for what is at least as good as guetzli's by both metrics.
func (j *judge) measureAsGood(r *result) (err error) {
	for _, w := range asGoodWays {
		if w.tooSlow(r.photo) {
			continue
		}
		if r.asGood[w.String()], err = j.sought(w, r.guetzli.floors()); err != nil {
			return err
		}
	}
	return nil
}

// measurePeers does so with encoders that have nothing but a quality. The
// processor time is that of the last encode alone.
func (j *judge) measurePeers(r *result) error {
	peers := map[string]encoder{turboFull: j.turbo(r.photo, "1x1")}
	if j.jpegli != nil {
		peers[jpegliFull] = j.jpegliOf(r.photo)
	}
	for name, encode := range peers {
		var last quality.Scores
		q, m, err := least(encode, func(m made) (bool, error) {
			s, err := j.scores(m.data, format.JPEG, true)
			ok := r.guetzli.floors().Margin(s) >= 0
			if ok {
				last = s
			}
			return ok, err
		})
		if err != nil {
			return err
		}
		r.asGood[name] = trial{bytes: float64(len(m.data)), scores: last, cpu: m.cpu, trials: 1, missed: q == 0}
	}
	return nil
}

// measureAuto searches for a score of 80, and predicts it.
func (j *judge) measureAuto(r *result) (err error) {
	for _, w := range append(autoWays, fastWays...) {
		if w.tooSlow(r.photo) {
			continue
		}
		if r.auto[w.String()], err = j.sought(w, quality.Web); err != nil {
			return err
		}
	}
	return nil
}

// measureCurves finds the bytes at scores, of libjpeg-turbo 4:2:0 and of ours.
func (j *judge) measureCurves(r *result) (err error) {
	turbo := sweep{encode: j.turbo(r.photo, "2x2"), judge: j, known: make(map[int]tried)}
	if r.turbo80, err = turbo.bytesAt(quality.Web.SSIMULACRA2); err != nil || !r.photo.plotted {
		return err
	}
	line := make(map[float64]float64)
	r.curves[turboHalf] = line
	for _, score := range scoresPlotted {
		if line[score], err = turbo.bytesAt(score); err != nil {
			return err
		}
	}
	for _, w := range series {
		line := make(map[float64]float64)
		r.curves[w.String()] = line
		for _, score := range scoresPlotted {
			t, err := j.sought(w, quality.Targets{SSIMULACRA2: score})
			if err != nil {
				return err
			}
			if line[score] = t.bytes; t.missed {
				line[score] = math.NaN()
			}
		}
	}
	return nil
}
