package task

import (
	"slices"
	"sync"
	"time"

	"safelight/internal/asset"
)

// Signals tell within a process that something has changed, so that nobody has
// to poll: adapters send them after a commit. They are hints: who waits looks
// for itself, and looks again from time to time. Safe for concurrent use.
type Signals struct {
	mu       sync.Mutex
	ready    map[string][]*Waiter // by function, longest waiting first
	watchers map[asset.ID][]chan struct{}
	sooner   chan struct{}
	next     time.Time // when the ticker is going to look; zero is never
}

// NewSignals makes an empty set.
func NewSignals() *Signals {
	return &Signals{ready: make(map[string][]*Waiter), watchers: make(map[asset.ID][]chan struct{}), sooner: make(chan struct{}, 1)}
}

// Waiter waits for tasks of some functions to become ready.
type Waiter struct {
	C         chan struct{} // receives when there may be one
	functions []string
}

// Wait begins to wait. The caller must end it with Leave.
func (s *Signals) Wait(functions []string) *Waiter {
	w := &Waiter{C: make(chan struct{}, 1), functions: functions}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range functions {
		s.ready[f] = append(s.ready[f], w)
	}
	return w
}

// Leave ends waiting. A signal that the waiter has not received goes to the
// next in line.
func (s *Signals) Leave(w *Waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range w.functions {
		s.ready[f] = without(s.ready[f], w)
		if len(s.ready[f]) == 0 {
			delete(s.ready, f)
		}
	}
	select {
	case <-w.C:
		for _, f := range w.functions {
			s.wake(f, 1)
		}
	default:
	}
}

// Pass gives a signal that the waiter has received to the next behind it: the
// task was none that it may have, or it can't take it. Those before it have been
// woken already.
func (s *Signals) Pass(w *Waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range w.functions {
		if i := slices.Index(s.ready[f], w); i >= 0 {
			wake(s.ready[f][i+1:], 1)
		}
	}
}

// Ready tells that n more tasks of a function are ready: as many of those who
// wait are woken.
func (s *Signals) Ready(function string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake(function, n)
}

// Freed tells that a limit which held tasks of unknown functions back has room
// again: one of those who wait for each function is woken.
func (s *Signals) Freed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for function := range s.ready {
		s.wake(function, 1)
	}
}

func (s *Signals) wake(function string, n int) { wake(s.ready[function], n) }

func wake(line []*Waiter, n int) {
	for _, w := range line {
		if n == 0 {
			return
		}
		select {
		case w.C <- struct{}{}:
			n--
		default: // woken already, for another task
		}
	}
}

// Watch is told of changes to one task: a channel that receives, and a function
// that ends it.
func (s *Signals) Watch(id asset.ID) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[id] = append(s.watchers[id], c)
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watchers[id] = without(s.watchers[id], c); len(s.watchers[id]) == 0 {
			delete(s.watchers, id)
		}
	}
}

// Changed tells that tasks have changed.
func (s *Signals) Changed(ids ...asset.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watchers) == 0 {
		return
	}
	for _, id := range ids {
		for _, c := range s.watchers[id] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}

// Sooner tells that something falls due at a time; the ticker is woken if it
// would have looked only later.
func (s *Signals) Sooner(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.next.IsZero() && !at.Before(s.next) {
		return
	}
	s.next = at
	select {
	case s.sooner <- struct{}{}:
	default:
	}
}

// Planned notes when the ticker will look next, and gives the channel that
// receives when it should look sooner. The ticker calls it with zero before it
// looks too, so that what comes meanwhile is not missed.
func (s *Signals) Planned(next time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = next
	return s.sooner
}

func without[T comparable](list []T, gone T) []T {
	for i, v := range list {
		if v == gone {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}
