package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"safelight/internal/httpapi/taskapi"
)

// terminal tells how many columns a terminal has; 0 and false where the file is
// none.
func terminal(f *os.File) (width int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Col), true
}

// The last column gets what the terminal leaves, at least minError, and
// plainError where there is none.
const (
	minError   = 20
	plainError = 60
	gap        = 2 // blanks between columns
)

// table writes tasks for people, cut to a terminal of width columns (0 is no
// terminal).
func table(w io.Writer, tasks []taskapi.Task, now time.Time, width int) error {
	rows := [][]string{{"ID", "FUNCTION", "NAME", "STATE", "ATTEMPT", "AGE", "ERROR"}}
	for _, t := range tasks {
		state := t.State
		if t.WaitingFor != "" {
			state += " (no " + t.WaitingFor + ")"
		}
		attempt := fmt.Sprint(t.Attempt)
		if t.MaxAttempts > 0 {
			attempt += fmt.Sprint("/", t.MaxAttempts)
		}
		rows = append(rows, []string{t.ID, t.Function, cut(plain(t.Name), 30), state, attempt, age(now.Sub(t.Created)), plain(t.Error)})
	}
	widths := make([]int, len(rows[0])-1)
	used := 0
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
		used += widths[i] + gap
	}
	room := plainError
	if width > 0 {
		room = max(width-used, minError)
	}
	var b strings.Builder
	for _, r := range rows {
		for i, wide := range widths {
			b.WriteString(r[i])
			b.WriteString(strings.Repeat(" ", wide-utf8.RuneCountInString(r[i])+gap))
		}
		b.WriteString(cut(r[len(widths)], room))
		line := strings.TrimRight(b.String(), " ")
		b.Reset()
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// plain puts text on one line, without what a terminal would take for orders.
func plain(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == ' ' }), " ")
}

// cut shortens text to a number of characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// age is a time in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// progress is how a task stands, on one line.
func progress(t taskapi.Task) string {
	line := t.State
	switch {
	case t.State == "running":
		line = fmt.Sprintf("running %3d %%", t.Progress)
		if t.Message != "" {
			line += "  " + plain(t.Message)
		}
	case t.WaitingFor != "":
		line += ", waiting for " + t.WaitingFor
	case t.State == "scheduled":
		line += " for " + t.RunAt.Local().Format(time.DateTime)
	}
	if t.Error != "" && t.State != "done" && t.State != "running" {
		line += ": " + plain(t.Error)
	}
	return line
}

// barWidth is that of a progress bar, in columns.
const barWidth = 30

// bar is progress with a bar before it, cut to a terminal of width columns.
func bar(t taskapi.Task, width int) string {
	full := min(max(t.Progress, 0), 100) * barWidth / 100
	line := "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "] " + progress(t)
	if width <= 1 {
		return line
	}
	return cut(line, width-1) // the last column would begin a new line
}
