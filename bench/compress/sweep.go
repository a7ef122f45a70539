package main

import (
	"math"

	"safelight/internal/format"
)

// encoder makes a JPEG file with a quality from 1 to 100.
type encoder func(quality int) (made, error)

// least is the lowest quality whose file passes, 0 where none does.
func least(encode encoder, passes func(made) (bool, error)) (int, made, error) {
	var best made
	low, high := 0, 101 // what does not pass, what does
	for high-low > 1 {
		at := (low + high) / 2
		if low == 0 && high == 101 {
			at = 90 // about what these photographs need
		}
		m, err := encode(at)
		if err != nil {
			return 0, best, err
		}
		ok, err := passes(m)
		if err != nil {
			return 0, best, err
		}
		if ok {
			high, best = at, m
		} else {
			low = at
		}
	}
	return high % 101, best, nil
}

// sweep is an encoder's way of trading bytes for score.
type sweep struct {
	encode encoder
	judge  *judge
	known  map[int]tried
}

type tried struct{ bytes, score float64 }

func (s *sweep) at(quality int) (tried, error) {
	if t, ok := s.known[quality]; ok {
		return t, nil
	}
	m, err := s.encode(quality)
	if err != nil {
		return tried{}, err
	}
	scores, err := s.judge.scores(m.data, format.JPEG, false)
	t := tried{float64(len(m.data)), scores.SSIMULACRA2}
	s.known[quality] = t
	return t, err
}

// bytesAt is the bytes at a score, interpolated between the two qualities about
// it in their logarithm; NaN where quality 100 does not reach it.
func (s *sweep) bytesAt(score float64) (float64, error) {
	low, high := 1, 100
	top, err := s.at(high)
	if err != nil || top.score < score {
		return math.NaN(), err
	}
	for high-low > 1 {
		at := (low + high) / 2
		t, err := s.at(at)
		if err != nil {
			return 0, err
		}
		if t.score >= score {
			high = at
		} else {
			low = at
		}
	}
	a, err := s.at(low)
	if err != nil {
		return 0, err
	}
	b := s.known[high]
	part := min(max((score-a.score)/(b.score-a.score), 0), 1)
	return a.bytes * math.Pow(b.bytes/a.bytes, part), nil
}
