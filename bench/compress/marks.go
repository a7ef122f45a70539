package main

import (
	"strings"

	"safelight/internal/format"
)

// mark is what is to be reached.
type mark struct {
	bytes, worst float64 // ratios; worst 0 is any
	cpu          float64 // how many times less than guetzli; 0 is any
	goal         string
}

var (
	asGoodMarks = map[format.Format]*mark{
		format.JPEG: {bytes: 0.85, worst: 0.95, cpu: 50, goal: "≤ 0.85, none over 0.95, ≤ 1/50"},
		format.AVIF: {bytes: 0.65, cpu: 50, goal: "≤ 0.65, ≤ 1/50"},
	}
	autoMarks = map[format.Format]*mark{
		format.JPEG: {bytes: 0.88, goal: "≤ 0.88"},
		format.WebP: {bytes: 0.76, goal: "≤ 0.76"},
		format.AVIF: {bytes: 0.62, goal: "≤ 0.62"},
	}
)

// judge says whether a mark is reached, or what is not.
func (m *mark) judge(g group) string {
	if m == nil {
		return ""
	}
	var not []string
	for _, one := range []struct {
		name string
		bad  bool
	}{
		{"bytes", !(geometric(g.ratios) <= m.bytes)},
		{"worst", m.worst > 0 && g.worst > m.worst},
		{"misses", g.misses > 0},
		{"CPU", m.cpu > 0 && g.guetzliCPU/g.cpu < m.cpu},
	} {
		if one.bad {
			not = append(not, one.name)
		}
	}
	if len(not) == 0 {
		return m.goal + ": reached"
	}
	return m.goal + ": **not reached** (" + strings.Join(not, ", ") + ")"
}
