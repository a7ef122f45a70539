package quality

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var photo = Curve{Min: 1, Max: 100, Step: 1, Points: [][2]float64{{30, 20}, {60, 50}, {80, 80}, {95, 100}}}

// an encoder whose score grows along an offset and bent curve, with noise.
type encoder struct {
	offset, bend, noise float64
	tried               []float64
}

func (e *encoder) try(x float64) (Trial, error) {
	e.tried = append(e.tried, x)
	s := 100 - 100*math.Exp(-(x+e.offset)/50*e.bend)
	s += e.noise * math.Sin(x*7)
	return Trial{Bytes: int64(1000 * math.Exp(x/30)), Scores: Scores{SSIMULACRA2: s}}, nil
}

func TestSearchFindsTheLowestSetting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var counts []int
	for range 500 {
		for _, step := range []float64{0, 1} {
			e := &encoder{offset: rng.Float64()*14 - 7, bend: 0.8 + rng.Float64()*0.4}
			c := photo
			c.Step = step
			target := Targets{SSIMULACRA2: 60 + 25*rng.Float64()}
			out, err := Search(c, target, c.Guess(target, Features{Activity: typicalActivity}), 6, e.try)
			if err != nil {
				t.Fatal(err)
			}
			if top, _ := (&encoder{offset: e.offset, bend: e.bend}).try(c.Max); top.Scores.SSIMULACRA2 < target.SSIMULACRA2 {
				if out.Met || out.Best.Setting != c.Max {
					t.Errorf("a target out of reach ended with %+v", out)
				}
				continue
			}
			if !out.Met || out.Best.Margin < 0 {
				t.Fatalf("target %v of %+v: %+v after %v", target, e, out, e.tried)
			}
			below := Trial{}
			if out.Best.Setting > c.Min {
				below, _ = e.try(out.Best.Setting - max(step, 0.5))
			}
			if step == 1 && target.Margin(below.Scores) >= 0 && out.Best.Margin > tolerance+0.6 {
				t.Errorf("target %v: %v is enough, but %+v was taken after %v", target, below, out, e.tried)
			}
			if step == 0 && out.Best.Margin > 1.5 {
				t.Errorf("target %v: %+v after %v", target, out, e.tried)
			}
			counts = append(counts, out.Trials)
		}
	}
	slices.Sort(counts)
	if median := counts[len(counts)/2]; median > 3 {
		t.Errorf("the median search takes %d trials", median)
	}
}

// Scores that jump up and down a little never lead to a result below the target.
func TestSearchWithNoise(t *testing.T) {
	for i := range 200 {
		e := &encoder{offset: float64(i%30) - 10, bend: 1, noise: 0.4}
		target := Targets{SSIMULACRA2: 75}
		out, _ := Search(photo, target, 70, 6, e.try)
		if !out.Met || out.Best.Margin < 0 || out.Best.Scores.SSIMULACRA2 < 75 {
			t.Fatalf("%+v after %v", out, e.tried)
		}
		if len(e.tried) != out.Trials || out.Trials > 6+more {
			t.Errorf("%d trials, counted %d", len(e.tried), out.Trials)
		}
	}
}

func TestSearchOfOneSetting(t *testing.T) {
	e := &encoder{bend: 1}
	c := Curve{Min: 50, Max: 50, Step: 1, Points: photo.Points}
	out, err := Search(c, Web, 10, 4, e.try)
	if err != nil || out.Trials != 1 || out.Met {
		t.Errorf("%+v %v", out, err)
	}
}

func TestSearchStopsAtAnError(t *testing.T) {
	want := errors.New("no")
	out, err := Search(photo, Web, 70, 4, func(float64) (Trial, error) { return Trial{}, want })
	if err != want || out.Met {
		t.Errorf("%+v %v", out, err)
	}
}

func TestGuess(t *testing.T) {
	flat, busy := Features{Activity: 1}, Features{Activity: 30}
	c := photo
	c.Activity = -3
	for _, want := range []struct {
		score, setting float64
	}{{80, 80}, {70, 65}, {60, 50}, {45, 35}, {99, 100}, {10, 1}} {
		if got := c.Guess(Targets{SSIMULACRA2: want.score}, Features{Activity: typicalActivity}); math.Abs(got-want.setting) > 0.51 {
			t.Errorf("a score of %g: setting %g instead of %g", want.score, got, want.setting)
		}
	}
	if c.Guess(Web, busy) >= c.Guess(Web, flat) {
		t.Error("what hides errors needs no lower setting")
	}
}

func TestMargin(t *testing.T) {
	both := Targets{SSIMULACRA2: 80, Butteraugli: 1}
	for _, c := range []struct {
		targets Targets
		scores  Scores
		want    float64
	}{
		{Web, Scores{SSIMULACRA2: 82}, 2},
		{Web, Scores{SSIMULACRA2: 79}, -1},
		{both, Scores{82, 0.5}, 2},
		{both, Scores{82, 1.5}, -6},
		{Targets{Butteraugli: 2}, Scores{50, 1}, 6},
	} {
		if got := c.targets.Margin(c.scores); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v of %v: %g instead of %g", c.scores, c.targets, got, c.want)
		}
	}
}
