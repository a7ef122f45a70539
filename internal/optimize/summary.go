package optimize

import (
	"fmt"
	"strings"
)

// Summary adds results up. Bytes are of files that did not fail.
type Summary struct {
	Files      int     `json:"files"`
	Optimized  int     `json:"optimized"`
	Kept       int     `json:"kept"`
	Failed     int     `json:"failed"`
	Before     int64   `json:"bytes_before"`
	Bytes      int64   `json:"bytes"`
	Saved      int64   `json:"bytes_saved"` // below 0 where a change of format made files larger
	Ratio      float64 `json:"ratio,omitempty"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// Sum adds results up.
func Sum(results []Result) Summary {
	var s Summary
	for _, r := range results {
		s.Files++
		s.CPUSeconds += r.CPUSeconds
		switch r.State {
		case Optimized:
			s.Optimized++
		case Kept:
			s.Kept++
		default:
			s.Failed++
			continue
		}
		s.Before += r.Before
		s.Bytes += r.Bytes
	}
	s.Saved, s.Ratio = s.Before-s.Bytes, ratio(s.Bytes, s.Before)
	return s
}

// String is the summary on one line.
func (s Summary) String() string {
	files := "files"
	if s.Files == 1 {
		files = "file"
	}
	parts := []string{fmt.Sprintf("%d optimised", s.Optimized)}
	if s.Kept > 0 {
		parts = append(parts, fmt.Sprintf("%d kept", s.Kept))
	}
	if s.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", s.Failed))
	}
	text := fmt.Sprintf("%d %s: %s", s.Files, files, strings.Join(parts, ", "))
	if s.Before > 0 {
		text += fmt.Sprintf("; %s became %s (%.1f %%), in %.1f s of processor time", Size(s.Before), Size(s.Bytes), 100*s.Ratio, s.CPUSeconds)
	}
	return text
}

// Size is a number of bytes in its largest unit, of thousands.
func Size(bytes int64) string {
	value, unit := float64(bytes), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if value < 999.5 {
			break
		}
		value, unit = value/1000, next
	}
	if unit == "B" || value >= 99.5 {
		return fmt.Sprintf("%.0f %s", value, unit)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
