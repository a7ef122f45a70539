package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// report says what was measured.
type report struct {
	results []*result
	said    string // what was measured with
	quick   bool
}

// halves are reported apart; the first is the one that counts.
var halves = []struct {
	heldBack bool
	title    string
}{{true, "held back"}, {false, "fitted on"}}

// markdown is everything between the markers of docs/compression.md.
func (r *report) markdown() string {
	var b strings.Builder
	run := "`make bench-compress`"
	if r.quick {
		run = "A quick run"
	}
	fmt.Fprintf(&b, "%s of %s: %d photographs; %s. guetzli took %.2f of the processor time of its table.\n",
		run, time.Now().Format("2006-01-02"), len(r.results), r.said, guetzliScale(r.results))
	fmt.Fprintf(&b, "AVIF max runs on the photographs of 500 px alone, being slow.\n")
	for _, half := range halves {
		n := 0
		for _, one := range r.results {
			if one.heldBack == half.heldBack {
				n++
			}
		}
		fmt.Fprintf(&b, "\n### Photographs %s (%d)\n", half.title, n)
		fmt.Fprintf(&b, "\nAs good as guetzli by both metrics:\n\n%s", r.asGood(half.heldBack))
		fmt.Fprintf(&b, "\nSSIMULACRA2 of 80:\n\n%s", r.auto(half.heldBack))
		fmt.Fprintf(&b, "\nThe tier fast, which predicts the quality that scores 80:\n\n%s", r.fast(half.heldBack))
	}
	fmt.Fprintf(&b, "\n### What measuring costs\n\n%s", r.costs())
	return b.String()
}

func (r *report) asGood(heldBack bool) string {
	rows := [][]string{{"", "bytes / guetzli", "worst", "missed", "trials", "CPU s/MP", "CPU / guetzli", "mark"}}
	add := func(name string, mark *mark) {
		g := gather(r.results, heldBack, func(one *result) (trial, float64, bool) {
			t, ok := one.asGood[name]
			return t, float64(one.guetzli.bytes), ok
		})
		if g.all == 0 {
			return
		}
		trials := fmt.Sprintf("%.1f", mean(g.trials))
		if mark == nil && g.encoder == "" {
			trials = "one encode"
		}
		rows = append(rows, []string{name, ratio(g.ratios), ratio([]float64{g.worst}), missed(g), trials,
			fmt.Sprintf("%.3g", g.cpu/g.pixels), fmt.Sprintf("1/%.0f", g.guetzliCPU/g.cpu), mark.judge(g)})
	}
	for _, w := range asGoodWays {
		add(w.String(), asGoodMarks[w.format])
	}
	add(jpegliFull, nil)
	add(turboFull, nil)
	return table(rows)
}

func (r *report) auto(heldBack bool) string {
	rows := [][]string{{"", "bytes / libjpeg-turbo", "worst", "missed", "trials", "most", "CPU s/MP", "mark"}}
	for _, w := range autoWays {
		g := gather(r.results, heldBack, at80(w))
		if g.all > 0 {
			rows = append(rows, []string{w.String(), ratio(g.ratios), ratio([]float64{g.worst}), missed(g),
				fmt.Sprintf("%.3g", quantile(g.trials, 0.5)), fmt.Sprintf("%.0f", quantile(g.trials, 1)), fmt.Sprintf("%.3g", g.cpu/g.pixels), autoMarks[w.format].judge(g)})
		}
	}
	return table(rows)
}

func (r *report) fast(heldBack bool) string {
	rows := [][]string{{"", "score", "p10", "p90", "lowest", "bytes / libjpeg-turbo at 80", "CPU s/MP"}}
	for _, w := range fastWays {
		g := gather(r.results, heldBack, func(one *result) (trial, float64, bool) {
			t, base, ok := at80(w)(one)
			t.missed = false // it promises nothing
			return t, base, ok
		})
		if g.all > 0 {
			rows = append(rows, []string{w.String(), fmt.Sprintf("%.1f", mean(g.scores)), fmt.Sprintf("%.1f", quantile(g.scores, 0.1)), fmt.Sprintf("%.1f", quantile(g.scores, 0.9)),
				fmt.Sprintf("%.1f", quantile(g.scores, 0)), ratio(g.ratios), fmt.Sprintf("%.2g", g.cpu/g.pixels)})
		}
	}
	return table(rows)
}

// at80 is a way's result at a score of 80, against libjpeg-turbo's; photographs
// that libjpeg-turbo can't bring there do not count.
func at80(w way) func(*result) (trial, float64, bool) {
	return func(one *result) (trial, float64, bool) {
		t, ok := one.auto[w.String()]
		return t, one.turbo80, ok && !math.IsNaN(one.turbo80)
	}
}

func (r *report) costs() string {
	var c costs
	var pixels, scored, butteraugled, guetzliMP, guetzliCPU, deviates float64
	for _, one := range r.results {
		mp := one.megapixels()
		pixels, scored, butteraugled = pixels+mp, scored+mp*float64(one.costs.scored), butteraugled+mp*float64(one.costs.butteraugled)
		c.prepare, c.score, c.butteraugli = c.prepare+one.costs.prepare, c.score+one.costs.score, c.butteraugli+one.costs.butteraugli
		c.prepareOwn, c.own = c.prepareOwn+one.costs.prepareOwn, c.own+one.costs.own
		guetzliCPU, guetzliMP = guetzliCPU+one.guetzliSeconds(guetzliScale(r.results)), guetzliMP+mp
		for _, trials := range []map[string]trial{one.asGood, one.auto} {
			for _, t := range trials {
				deviates = max(deviates, t.deviates)
			}
		}
	}
	text := table([][]string{{"", "CPU s/MP"},
		{"SSIMULACRA2, the original prepared once", fmt.Sprintf("%.3g", c.prepare/pixels)},
		{"SSIMULACRA2, each comparison", fmt.Sprintf("%.3g", c.score/scored)},
		{"butteraugli, the original prepared once", fmt.Sprintf("%.3g", c.prepareOwn/pixels)},
		{"butteraugli, each comparison", fmt.Sprintf("%.3g", c.own/butteraugled)},
		{"butteraugli of libjxl, each comparison", fmt.Sprintf("%.3g", c.butteraugli/butteraugled)},
		{"guetzli", fmt.Sprintf("%.3g", guetzliCPU/guetzliMP)},
	})
	return text + fmt.Sprintf("\nScores that searches had measured and those of their files judged again differ by %.4f at most.\n", deviates)
}

func ratio(v []float64) string {
	if len(v) == 0 || v[0] == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f", geometric(v))
}

func missed(g group) string {
	if g.misses == 0 {
		return "none"
	}
	return fmt.Sprintf("%d of %d", g.misses, g.all)
}
