package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"safelight/internal/httpapi/taskapi"
)

// outcome is a finished task's result, on one line; "" is none.
func outcome(t taskapi.Task) string {
	if len(t.Result) == 0 || string(t.Result) == "null" {
		return ""
	}
	if line := backfilled(t); line != "" {
		return line
	}
	var line bytes.Buffer
	if json.Compact(&line, t.Result) != nil {
		return plain(string(t.Result))
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) { // in strings, where JSON allows some that a terminal would take for orders
			return -1
		}
		return r
	}, line.String())
}

// backfilled puts the result of a walk through all images into words; "" where it
// is none.
func backfilled(t taskapi.Task) string {
	if t.Function != "backfill" && t.Function != "recompress" {
		return ""
	}
	var counts struct{ Images, Submitted *int }
	if json.Unmarshal(t.Result, &counts) != nil || counts.Images == nil || counts.Submitted == nil {
		return ""
	}
	images := "images"
	if *counts.Images == 1 {
		images = "image"
	}
	return fmt.Sprintf("%d %s looked at, %d submitted", *counts.Images, images, *counts.Submitted)
}
