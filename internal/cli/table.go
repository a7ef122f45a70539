package cli

import (
	"fmt"
	"io"
	"os"
	"regexp"
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

// On a terminal long cells are cut, in characters; the last column gets what the
// others leave, at least minError.
const (
	maxName   = 60
	maxWorker = 24
	minError  = 20
	gap       = 2 // blanks between columns
)

// table writes tasks for people, cut to a terminal of width columns; 0 is no
// terminal, and cuts nothing.
func table(w io.Writer, tasks []taskapi.Task, now time.Time, width int) error {
	rows := [][]string{{"ID", "FUNCTION", "NAME", "STATE", "ATTEMPT", "AGE", "ERROR"}}
	for _, t := range tasks {
		attempt := fmt.Sprint(t.Attempt)
		if t.MaxAttempts > 0 {
			attempt += fmt.Sprint("/", t.MaxAttempts)
		}
		rows = append(rows, []string{t.ID, t.Function, name(t, width > 0), standing(t, now, width > 0), attempt, age(now.Sub(t.Created)), plain(t.Error)})
	}
	return columns(w, rows, width)
}

// columns writes rows, the first of which are headings, below each other; the
// last column is cut to what a terminal of width columns has left.
func columns(w io.Writer, rows [][]string, width int) error {
	widths := make([]int, len(rows[0])-1)
	used := 0
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
		used += widths[i] + gap
	}
	var b strings.Builder
	for _, r := range rows {
		for i, wide := range widths {
			b.WriteString(r[i])
			b.WriteString(strings.Repeat(" ", wide-utf8.RuneCountInString(r[i])+gap))
		}
		last := r[len(widths)]
		if width > 0 {
			last = cut(last, max(width-used, minError))
		}
		b.WriteString(last)
		line := strings.TrimRight(b.String(), " ")
		b.Reset()
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// idFirst is a name that begins with the id of an image, as those of the server's
// own tasks do.
var idFirst = regexp.MustCompile(`^([0-9a-hjkmnp-tv-z]{26})(/.*)$`)

// shortID is what is shown of an id: its end, as ids of the same time begin alike.
func shortID(id string) string { return "…" + id[max(0, len(id)-5):] }

// name tells tasks apart: the name, or the image. For a terminal it is shortened.
func name(t taskapi.Task, short bool) string {
	text := plain(t.Name)
	switch parts := idFirst.FindStringSubmatch(text); {
	case text == "" && t.Image != "" && short:
		return "image " + shortID(t.Image)
	case text == "" && t.Image != "":
		return "image " + t.Image
	case !short:
		return text
	case parts != nil:
		text = shortID(parts[1]) + parts[2]
	}
	return cut(text, maxName)
}

// standing is a task's state, and what goes with it.
func standing(t taskapi.Task, now time.Time, short bool) string {
	switch {
	case t.State == "ready" && t.WaitingFor != "":
		return "ready (no " + t.WaitingFor + ")"
	case t.State == "scheduled" && t.RunAt.After(now):
		return "scheduled (in " + age(t.RunAt.Sub(now)) + ")"
	case t.State == "running":
		worker := plain(t.Worker)
		if short {
			worker = cut(worker, maxWorker)
		}
		return fmt.Sprintf("running %d %% (%s)", t.Progress, worker)
	}
	return t.State
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
	case t.State == "ready" && t.WaitingFor != "":
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
	return gauge(t.Progress, progress(t), width)
}

// gauge is a bar of so many percent before a text.
func gauge(percent int, text string, width int) string {
	full := min(max(percent, 0), 100) * barWidth / 100
	line := "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "] " + text
	if width <= 1 {
		return line
	}
	return cut(line, width-1) // the last column would begin a new line
}
