package codec

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	lineBytes      = 300 // of a line that is logged; the rest is cut off
	linesPerMinute = 20  // of one process that are logged
	keptLines      = 6   // for the cause of a crash
)

// tail follows the standard error of a process: a few lines a minute go to the
// log, and the latest are kept to explain a crash.
type tail struct {
	mu     sync.Mutex
	lines  []string
	memory bool // a line said that memory ran out, kept or not
	done   chan struct{}
}

func follow(r *os.File, log *slog.Logger) *tail {
	t := &tail{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		defer r.Close()
		t.read(r, log)
	}()
	return t
}

func (t *tail) read(r io.Reader, log *slog.Logger) {
	in := bufio.NewReaderSize(r, 512)
	var minute time.Time
	logged := 0
	for {
		line, isPrefix, err := in.ReadLine()
		if err != nil {
			return
		}
		text := strings.TrimSpace(strings.ToValidUTF8(string(line[:min(len(line), lineBytes)]), "?"))
		for isPrefix && err == nil {
			_, isPrefix, err = in.ReadLine()
		}
		if text == "" {
			continue
		}
		t.keep(text)
		if now := time.Now(); now.Sub(minute) > time.Minute {
			minute, logged = now, 0
		}
		if logged++; logged <= linesPerMinute {
			log.Info("codec process said", "text", text)
		}
	}
}

func (t *tail) keep(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sign := range memorySigns {
		t.memory = t.memory || strings.Contains(line, sign)
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > keptLines {
		t.lines = t.lines[1:]
	}
}

// memorySigns are what libraries say before they give up for want of memory.
var memorySigns = []string{"out of memory", "failed to allocate", "annot allocate memory", "bad_alloc"}

// ranOut tells whether the process said that it had no memory left.
func (t *tail) ranOut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.memory
}

// last is what the process said latest, in one line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, " | ")
}

func (t *tail) wait() { <-t.done }
