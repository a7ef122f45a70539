package pipeline

import (
	"encoding/json"
	"fmt"

	"safelight/internal/catalog"
	"safelight/internal/format"
	"safelight/internal/quality"
	"safelight/internal/render"
)

// note is what an optimisation has measured, as it is kept with the rendition.
type note struct {
	Before     int64           `json:"before"`             // bytes of the fast rendition
	Tried      int64           `json:"tried,omitempty"`    // bytes of a result that is not used: no smaller, or not good enough
	Encoder    string          `json:"encoder"`            // with its version
	Settings   string          `json:"settings,omitempty"` // of the encoder
	Scores     *quality.Scores `json:"scores,omitempty"`   // against the picture before it was encoded
	Target     string          `json:"target,omitempty"`   // what they had to reach
	Missed     bool            `json:"missed,omitempty"`   // and did not
	Trials     int             `json:"trials,omitempty"`   // encodes that were measured
	CPUSeconds float64         `json:"cpu_seconds,omitempty"`
	Formats    []string        `json:"formats,omitempty"` // in which alternatives were tried
}

// noteFor is what a search measured.
func noteFor(made *render.Optimized) note {
	n := note{CPUSeconds: made.CPU.Seconds()}
	if m := made.Measured; m != nil {
		n.Encoder, n.Settings, n.Scores, n.Trials = m.Encoder, m.Settings, &m.Scores, m.Trials
		n.Target, n.Missed = m.Targets.String(), !m.Met
	}
	return n
}

// noteOf reads a rendition's; without one it is empty.
func noteOf(r catalog.Rendition) note {
	var n note
	if r.Note == "" || json.Unmarshal([]byte(r.Note), &n) != nil {
		return note{}
	}
	return n
}

func (n note) encode() string {
	text, _ := json.Marshal(n) // numbers and strings can't fail
	return string(text)
}

// missed tells that the target was not reached.
func (n note) missed() bool { return n.Missed }

// why explains that what was tried is not used.
func (n note) why() string {
	if n.Missed && n.Scores != nil {
		return fmt.Sprintf("the encoder could not reach the target %s: its best scores %.1f", n.Target, n.Scores.SSIMULACRA2)
	}
	return "the encoder has tried, and its result was no smaller"
}

// tried tells whether an alternative was made, or found no smaller.
func (n note) tried(f format.Format) bool {
	for _, name := range n.Formats {
		if format.Parse(name) == f {
			return true
		}
	}
	return false
}
