package cli

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// meter shows how far something is: a bar on a terminal, otherwise a line each
// plainEvery. It is safe for concurrent use.
type meter struct {
	mu    sync.Mutex
	quiet bool
	width int // of the terminal; 0 where there is none
	drawn time.Time
	step  string
}

const (
	barEvery   = 100 * time.Millisecond
	plainEvery = 10 * time.Second
)

// newMeter makes a meter on standard error; a silent one shows nothing.
func newMeter(silent bool) *meter {
	m := &meter{quiet: silent, drawn: time.Now()}
	if width, ok := terminal(os.Stderr); ok {
		m.width = max(width, 1)
	}
	return m
}

// show says how much of a step is done, now and then and at its beginning.
func (m *meter) show(step string, done, total int64, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	every := plainEvery
	if m.width > 0 {
		every = barEvery
	}
	now := time.Now()
	if m.quiet || m.step == step && now.Sub(m.drawn) < every {
		return
	}
	m.step, m.drawn = step, now
	if m.width == 0 {
		fmt.Fprintln(os.Stderr, text)
		return
	}
	fmt.Fprint(os.Stderr, "\r\x1b[K", gauge(percent(done, total), text, m.width))
}

// clear takes the bar away, so that a line can be written.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.width > 0 && !m.quiet {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		m.drawn = time.Time{} // it is drawn again at once
	}
}

// percent is how much is done of all; all of nothing is done.
func percent(done, total int64) int {
	if total <= 0 {
		return 100
	}
	return int(100 * float64(done) / float64(total))
}
