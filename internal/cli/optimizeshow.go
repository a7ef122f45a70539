package cli

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"safelight/internal/optimize"
)

// show writes results: lines of JSON as they come, or a bar while there is work
// and a table at the end.
type show struct {
	json    bool
	total   int // files to work on
	done    int
	width   int // of the terminal for the bar; 0 shows none
	results []optimize.Result
}

func newShow(json bool, total int) *show {
	s := &show{json: json, total: total}
	if width, ok := terminal(os.Stderr); ok && !json {
		s.width = max(width, 1)
	}
	s.bar()
	return s
}

// one takes a result.
func (s *show) one(r optimize.Result) error {
	s.results = append(s.results, r)
	if s.json {
		return writeLine(r)
	}
	s.clear()
	if r.State == optimize.Failed {
		fmt.Fprintf(os.Stderr, "safelight: %s: %s\n", printable(r.File), printable(r.Error))
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(os.Stderr, "safelight: %s: %s\n", printable(r.File), printable(w))
	}
	s.done = min(s.done+1, s.total)
	s.bar()
	return nil
}

// bar shows how far the work is.
func (s *show) bar() {
	if s.width == 0 || s.total == 0 {
		return
	}
	text := fmt.Sprintf("%d of %d", s.done, s.total)
	if sum := optimize.Sum(s.results); sum.Saved > 0 {
		text += ", " + optimize.Size(sum.Saved) + " saved"
	}
	fmt.Fprint(os.Stderr, "\r\x1b[K", gauge(100*s.done/s.total, text, s.width))
}

func (s *show) clear() {
	if s.width > 0 {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// end writes the table, or the last line.
func (s *show) end(o optimize.Config) error {
	s.clear()
	slices.SortStableFunc(s.results, func(a, b optimize.Result) int { return cmp.Compare(a.File, b.File) })
	sum := optimize.Sum(s.results)
	written := o.Out != "" || o.InPlace
	if s.json {
		return writeLine(struct {
			Summary optimize.Summary `json:"summary"`
			Written bool             `json:"written"` // false where results were only measured
		}{sum, written})
	}
	if sum.Optimized+sum.Kept > 0 {
		width, _ := terminal(os.Stdout)
		if err := columns(os.Stdout, optimizedRows(s.results, width > 0), width); err != nil {
			return err
		}
		fmt.Println()
	}
	line := sum.String()
	if !written && sum.Optimized > 0 {
		line += "; nothing was written (-o DIR or --in-place does)"
	}
	_, err := fmt.Println(line)
	return err
}

// optimizedRows are the table's; failures have been told already.
func optimizedRows(results []optimize.Result, short bool) [][]string {
	rows := [][]string{{"FILE", "BEFORE", "AFTER", "RATIO", "FORMAT", "SSIMULACRA2", "BUTTERAUGLI", "CPU", "ENCODER"}}
	for _, r := range results {
		if r.State == optimize.Failed {
			continue
		}
		file := printable(r.File)
		if short {
			file = cutFront(file, maxName)
		}
		row := []string{file, optimize.Size(r.Before), optimize.Size(r.Bytes), fmt.Sprintf("%.1f %%", 100*r.Ratio),
			r.Format.String(), "", "", fmt.Sprintf("%.1f s", r.CPUSeconds), by(r)}
		if r.Scores != nil {
			row[5] = fmt.Sprintf("%.1f", r.Scores.SSIMULACRA2)
			if r.Scores.Butteraugli > 0 {
				row[6] = fmt.Sprintf("%.2f", r.Scores.Butteraugli)
			}
		}
		rows = append(rows, row)
	}
	if !slices.ContainsFunc(rows[1:], func(r []string) bool { return r[6] != "" }) {
		for i, r := range rows { // it was measured of none
			rows[i] = slices.Delete(r, 6, 7)
		}
	}
	return rows
}

// by is what made a result, or why there is none.
func by(r optimize.Result) string {
	switch {
	case r.State == optimize.Kept:
		return "kept: " + printable(r.Reason)
	case r.Settings == "":
		return r.Encoder
	}
	return r.Encoder + " (" + r.Settings + ")"
}

// printable is text with names of files for a terminal.
func printable(name string) string { return plain(strings.ToValidUTF8(name, "\ufffd")) }

// cutFront shortens a path to a number of characters, and keeps its end.
func cutFront(text string, most int) string {
	if n := utf8.RuneCountInString(text); n > most {
		return "…" + string([]rune(text)[n-most+1:])
	}
	return text
}
