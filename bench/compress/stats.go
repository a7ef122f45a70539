package main

import (
	"math"
	"slices"
)

// geometric is the geometric mean.
func geometric(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// quantile interpolates between the values next to q, 0 to 1; 0.5 is the median.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	at := q * float64(len(s)-1)
	i := min(int(at), len(s)-1)
	next := min(i+1, len(s)-1)
	return s[i] + (at-float64(i))*(s[next]-s[i])
}

// group is what some photographs came to in one row of a table.
type group struct {
	ratios      []float64 // of bytes to the baseline's, of those without a miss
	worst       float64
	misses, all int
	trials      []float64
	scores      []float64
	cpu, pixels float64 // seconds and megapixels of all
	deviates    float64
	encoder     string
	guetzliCPU  float64 // of all, were guetzli to do them
}

// gather collects a row: trials by their photographs, and what each is held against.
func gather(results []*result, heldBack bool, of func(*result) (t trial, base float64, ok bool)) group {
	var g group
	scale := guetzliScale(results)
	for _, r := range results {
		if r.heldBack != heldBack {
			continue
		}
		t, base, ok := of(r)
		if !ok {
			continue
		}
		g.all++
		g.cpu, g.pixels = g.cpu+t.cpu, g.pixels+r.megapixels()
		g.deviates, g.encoder = max(g.deviates, t.deviates), t.encoder
		g.trials, g.scores = append(g.trials, float64(t.trials)), append(g.scores, t.scores.SSIMULACRA2)
		g.guetzliCPU += r.guetzliSeconds(scale)
		if t.missed {
			g.misses++
			continue
		}
		ratio := t.bytes / base
		g.ratios, g.worst = append(g.ratios, ratio), max(g.worst, ratio)
	}
	return g
}

// guetzliScale is by how much guetzli is slower in this run than in the table.
func guetzliScale(results []*result) float64 {
	var now, then float64
	for _, r := range results {
		if r.guetzliCPU > 0 {
			now, then = now+r.guetzliCPU, then+r.guetzli.cpu
		}
	}
	return now / then
}

func (r *result) guetzliSeconds(scale float64) float64 {
	if r.guetzliCPU > 0 {
		return r.guetzliCPU
	}
	return r.guetzli.cpu * scale
}
