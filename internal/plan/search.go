package plan

import "safelight/internal/quality"

// Search has an encoder's setting sought by measuring what comes out, instead
// of Save's Quality and Effort: the smallest file that reaches the targets. The
// fast tier predicts the setting and measures nothing. Without targets the
// result is to score no less than what a plain encoder makes of Save's Quality.
type Search struct {
	Tier    quality.Tier    `json:"tier"`
	Targets quality.Targets `json:"targets"`
}

// Measured is what a search found. Scores are zero where nothing was measured;
// those of an animation are its worst frame's, of some that were looked at.
type Measured struct {
	Encoder  string          `json:"encoder"`  // with its version, such as "libwebp 1.2.4"
	Settings string          `json:"settings"` // such as "Q 74, effort 6, sharp YUV"
	Scores   quality.Scores  `json:"scores"`
	Targets  quality.Targets `json:"targets"`
	Met      bool            `json:"met"`    // the targets are reached
	Trials   int             `json:"trials"` // encodes that were measured
}
