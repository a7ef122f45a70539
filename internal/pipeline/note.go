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
	Before     int64           `json:"before"`                 // bytes of the fast rendition
	Tried      int64           `json:"tried,omitempty"`        // bytes of a result that is not used: no smaller, or not good enough
	Encoder    string          `json:"encoder"`                // with its version
	Settings   string          `json:"settings,omitempty"`     // of the encoder
	Scores     *quality.Scores `json:"scores,omitempty"`       // of the rendition, against the picture before it was encoded
	Rejected   *quality.Scores `json:"tried_scores,omitempty"` // of what is not used
	Target     string          `json:"target,omitempty"`       // what they had to reach
	Missed     bool            `json:"missed,omitempty"`       // and did not
	Trials     int             `json:"trials,omitempty"`       // encodes that were measured
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

// unused notes a result of so many bytes that does not take a rendition's place.
// What is known of the rendition stays.
func (n note) unused(was note, bytes int64) note {
	n.Tried, n.Rejected, n.Scores = bytes, n.Scores, was.Scores
	if was.Encoder != "" && was.Tried == 0 {
		n.Encoder, n.Settings, n.Before = was.Encoder, was.Settings, was.Before
	}
	return n
}

// alone is a note without what stands beside the rendition.
func (n note) alone() note {
	n.Formats = nil
	return n
}

// why explains that what was tried is not used.
func (n note) why() string {
	switch {
	case n.Missed && n.Rejected != nil:
		return fmt.Sprintf("the encoder could not reach the target %s: its best scores %.1f", n.Target, n.Rejected.SSIMULACRA2)
	case n.Target != "":
		return fmt.Sprintf("reaching the target %s takes %d bytes, no fewer than the fast file has (which aims at render.target)", n.Target, n.Tried)
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
