package main

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// table is one of Markdown, in columns; the first row is its head.
func table(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(row []string, fill string) {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(fill, width[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("|\n")
	}
	line(rows[0], " ")
	line(make([]string, len(rows[0])), "-")
	for _, row := range rows[1:] {
		line(row, " ")
	}
	return b.String()
}

const begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"

// replace puts text between the markers of a file.
func replace(path, text string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(raw), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s: the markers %s and %s are not both there", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+end+after), 0o644)
}
