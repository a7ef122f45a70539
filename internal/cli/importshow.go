package cli

import (
	"fmt"
	"os"
	"time"

	"safelight/internal/adopt"
	"safelight/internal/optimize"
)

// importShow writes what becomes of files: lines of JSON, or a bar and what is
// wrong.
type importShow struct {
	json  bool
	meter *meter
	start time.Time
	files int   // to look at
	bytes int64 // of those
	sum   adopt.Summary
	done  int // of files

	watching bool     // what becomes of each file is told
	skipped  []string // the first of them, with reasons
}

// maxSkipped is how many skipped files are named.
const maxSkipped = 10

func newImportShow(json bool) *importShow {
	return &importShow{json: json, meter: newMeter(json), start: time.Now()}
}

// Listed implements adopt.Show. It is called again when all is looked at once
// more.
func (s *importShow) Listed(files int, bytes int64) {
	s.files, s.bytes, s.done, s.start = files, bytes, 0, time.Now()
	s.sum.Bytes = 0
	s.draw()
}

// Done implements adopt.Show.
func (s *importShow) Done(r adopt.Result) error {
	s.sum.Add(r)
	s.done++
	if s.json {
		return writeLine(r)
	}
	err := s.tell(r)
	s.draw()
	return err
}

// tell writes what is worth a line of its own now, and notes what is for the end.
func (s *importShow) tell(r adopt.Result) error {
	switch r.State {
	case adopt.Failed, adopt.Conflict:
		s.meter.clear()
		fmt.Fprintf(os.Stderr, "safelight: %s: %s: %s\n", printable(r.File), r.State, printable(r.Reason))
	case adopt.Skipped:
		if len(s.skipped) < maxSkipped {
			s.skipped = append(s.skipped, fmt.Sprintf("%s: skipped: %s", printable(r.File), printable(r.Reason)))
		}
	case adopt.Stored, adopt.Replaced, adopt.Deleted:
		if s.watching {
			s.meter.clear()
			_, err := fmt.Printf("%s: %s\n", printable(r.File), r.State)
			return err
		}
	}
	return nil
}

// nameSkipped names files that were skipped: all where they are few.
func (s *importShow) nameSkipped() {
	for _, line := range s.skipped {
		fmt.Fprintln(os.Stderr, "safelight:", line)
	}
	if more := s.sum.States[adopt.Skipped] - len(s.skipped); more > 0 {
		fmt.Fprintf(os.Stderr, "safelight: %d more were skipped; --json names all\n", more)
	}
}

// following says that everything was looked at, and changes of a directory are
// followed from now on.
func (s *importShow) following(dir string) {
	s.meter.clear()
	if s.json {
		return
	}
	s.nameSkipped()
	fmt.Printf("watching %s (%d files: %s)\n", printable(dir), s.sum.Files, s.sum)
}

func (s *importShow) draw() {
	if s.done > s.files { // changes that are followed have no end to tell of
		s.meter.clear()
		return
	}
	s.meter.show("import", s.sum.Bytes, s.bytes, s.line(time.Since(s.start)))
}

// line says how far it is after a time.
func (s *importShow) line(after time.Duration) string {
	text := fmt.Sprintf("%d of %d files, %s of %s", s.done, s.files, optimize.Size(s.sum.Bytes), optimize.Size(s.bytes))
	seconds := after.Seconds()
	if seconds < 1 || s.sum.Bytes == 0 {
		return text
	}
	rate := float64(s.sum.Bytes) / seconds
	left := time.Duration(float64(max(s.bytes-s.sum.Bytes, 0)) / rate * float64(time.Second))
	return text + fmt.Sprintf(", %s/s, %s left", optimize.Size(int64(rate)), age(left))
}

// end writes the last line.
func (s *importShow) end() error {
	s.meter.clear()
	if s.json {
		return writeLine(struct {
			Summary adopt.Summary `json:"summary"`
		}{s.sum})
	}
	if !s.watching { // which has named them
		s.nameSkipped()
	}
	_, err := fmt.Printf("%d files: %s; %s sent\n", s.sum.Files, s.sum, optimize.Size(s.sum.SentBytes))
	return err
}
