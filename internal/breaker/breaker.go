// Package breaker keeps calls from something that has failed again and again:
// for a while they fail at once, then one of them may try.
package breaker

import (
	"sync"
	"time"
)

// Config says when a breaker opens.
type Config struct {
	// Failures in a row open it; less than 1 is 1.
	Failures int
	// Pause is how long it stays open before one call may try.
	Pause time.Duration
	// Opened and Closed, if not nil, are told of changes, one at a time, and must
	// not call the breaker. Opened is not told again when a try has failed.
	Opened func(failure error)
	Closed func()
}

// Breaker is safe for concurrent use.
type Breaker struct {
	config Config

	mu       sync.Mutex
	failures int // in a row, while closed
	open     bool
	until    time.Time // when a call may try, while open
	trying   bool      // a call tries
	held     bool      // by Hold
	opened   int64
}

// New makes a breaker that is closed.
func New(c Config) *Breaker {
	c.Failures = max(c.Failures, 1)
	return &Breaker{config: c}
}

// Outcome is how a call went.
type Outcome int

// The outcomes of calls.
const (
	Worked    Outcome = iota // there was an answer, if only a refusal
	Failed                   // there was none
	Abandoned                // the caller gave up first: that says nothing
)

// Begin lets a call through, or tells how long to keep off. A call that was let
// through must be ended by calling done once, with the failure that Opened is
// told.
func (b *Breaker) Begin() (done func(Outcome, error), keepOff time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		return nil, b.config.Pause
	}
	if !b.open {
		return func(o Outcome, err error) { b.end(false, o, err) }, 0
	}
	if wait := time.Until(b.until); wait > 0 {
		return nil, wait
	}
	if b.trying {
		return nil, b.config.Pause // the one that tries will tell
	}
	b.trying = true
	return func(o Outcome, err error) { b.end(true, o, err) }, 0
}

func (b *Breaker) end(trial bool, o Outcome, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial {
		b.trying = false
	}
	switch {
	case o == Abandoned:
	case o == Worked:
		b.failures = 0
		if b.open {
			b.open = false
			if b.config.Closed != nil {
				b.config.Closed()
			}
		}
	case b.open && trial:
		b.until = time.Now().Add(b.config.Pause)
	case !b.open:
		if b.failures++; b.failures < b.config.Failures {
			return
		}
		b.open, b.until, b.failures = true, time.Now().Add(b.config.Pause), 0
		b.opened++
		if b.config.Opened != nil {
			b.config.Opened(err)
		}
	}
}

// Hold keeps calls off until Release, for who knows better when they may work
// again. Nobody is told of that.
func (b *Breaker) Hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
	b.opened++
}

// Release ends Hold, and lets calls through at once.
func (b *Breaker) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held, b.failures, b.until = false, 0, time.Time{}
}

// Open tells whether calls are kept off, or one of them tries.
func (b *Breaker) Open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open || b.held
}

// Times is how often it has opened.
func (b *Breaker) Times() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}
