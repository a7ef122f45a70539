package task_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// got tells whether a signal is there.
func got(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func wantSignals(t *testing.T, expected string, waiters ...*task.Waiter) {
	t.Helper()
	seen := ""
	for _, w := range waiters {
		if got(w.C) {
			seen += "x"
		} else {
			seen += "-"
		}
	}
	if seen != expected {
		t.Fatalf("woken were %s, expected %s", seen, expected)
	}
}

func TestReadyWakesAsMany(t *testing.T) {
	t.Parallel()
	s := task.NewSignals()
	s.Ready("f", 5) // nobody waits: it's gone
	a, b, c := s.Wait([]string{"f"}), s.Wait([]string{"g", "f"}), s.Wait([]string{"f"})
	wantSignals(t, "---", a, b, c)
	s.Ready("f", 2) // the longest waiting first
	wantSignals(t, "xx-", a, b, c)
	s.Ready("g", 3)
	wantSignals(t, "-x-", a, b, c)
	s.Ready("f", 1)
	s.Ready("f", 1) // a is woken already
	s.Ready("f", 0)
	s.Ready("other", 9)
	wantSignals(t, "xx-", a, b, c)
	s.Ready("f", 100)
	wantSignals(t, "xxx", a, b, c)
	s.Leave(a)
	s.Ready("f", 1)
	wantSignals(t, "-x-", a, b, c)
	s.Leave(b)
	s.Leave(c)
	s.Leave(c) // nothing happens
	s.Ready("f", 3)
	wantSignals(t, "---", a, b, c)
}

func TestLeavePassesItsSignalOn(t *testing.T) {
	t.Parallel()
	s := task.NewSignals()
	a, b, c := s.Wait([]string{"f", "g"}), s.Wait([]string{"f"}), s.Wait([]string{"g"})
	s.Ready("g", 1)
	s.Leave(a) // for whichever function it was
	wantSignals(t, "-xx", a, b, c)
	a = s.Wait([]string{"f"})
	s.Ready("f", 1)
	wantSignals(t, "-x", a, b)
	s.Leave(b) // it had received: nothing to pass on
	wantSignals(t, "--", a, c)
	s.Ready("f", 1)
	s.Leave(a) // nobody is left for it
	wantSignals(t, "-", c)
}

// TestNoTaskIsLeftLying has workers that wait for good, and others that come,
// wait for a while and go. Were a signal lost, everybody would end up waiting
// beside a task, which synctest reports as a deadlock.
func TestNoTaskIsLeftLying(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			const tasks = 200
			s, over := task.NewSignals(), make(chan struct{})
			var mu sync.Mutex
			ready, taken := 0, 0
			take := func() bool {
				mu.Lock()
				defer mu.Unlock()
				if ready == 0 {
					return false
				}
				ready--
				if taken++; taken == tasks {
					close(over)
				}
				return true
			}
			work := func(patience func() <-chan time.Time) {
				for {
					w := s.Wait([]string{"other", "f"})
					if !take() {
						select {
						case <-w.C:
						case <-over:
							return
						case <-patience():
						}
					}
					s.Leave(w)
					take()
				}
			}
			go work(func() <-chan time.Time { return nil })
			for range 5 {
				go work(func() <-chan time.Time {
					return time.After(rand.N(3 * time.Millisecond))
				})
			}
			for range tasks {
				time.Sleep(rand.N(2 * time.Millisecond))
				mu.Lock()
				ready++
				mu.Unlock()
				s.Ready("f", 1)
			}
			<-over
		})
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := task.NewSignals()
	x, y := asset.ID{1}, asset.ID{2}
	s.Changed(x) // nobody watches
	a, endA := s.Watch(x)
	b, endB := s.Watch(x)
	c, endC := s.Watch(y)
	want := func(expected ...bool) {
		t.Helper()
		for i, ch := range []<-chan struct{}{a, b, c} {
			if got(ch) != expected[i] {
				t.Fatalf("watcher %d was told: %v, expected %v", i, !expected[i], expected[i])
			}
		}
	}
	want(false, false, false)
	s.Changed(x)
	s.Changed(x)
	want(true, true, false)
	want(false, false, false) // two changes are one signal
	s.Changed(asset.ID{3}, y, x)
	want(true, true, true)
	endA()
	s.Changed(x, y)
	want(false, true, true)
	endA() // nothing happens
	endB()
	endC()
	s.Changed(x, y)
	want(false, false, false)
}

func TestSoonerAndPlanned(t *testing.T) {
	t.Parallel()
	s, at := task.NewSignals(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := s.Planned(time.Time{})
	s.Sooner(at)
	if !got(c) {
		t.Fatal("nothing was planned, and the ticker was not woken")
	}
	if s.Sooner(at); got(c) {
		t.Fatal("the ticker was woken for a time that it had been told of")
	}
	c = s.Planned(at.Add(time.Minute))
	s.Sooner(at.Add(time.Minute))
	s.Sooner(at.Add(time.Hour))
	if got(c) {
		t.Fatal("the ticker was woken for later")
	}
	s.Sooner(at.Add(time.Minute - 1))
	s.Sooner(at)
	if !got(c) || got(c) {
		t.Fatal("the ticker was not woken once for sooner")
	}
	s.Planned(time.Time{}) // it looks
	s.Sooner(at.Add(time.Hour))
	c = s.Planned(at) // it saw less than there is by now
	if !got(c) {
		t.Fatal("what came while the ticker looked was lost")
	}
}

// TestTickerMissesNothing runs a ticker as Planned describes it, beside others
// that add times: each is handled when it is due, to the nanosecond.
func TestTickerMissesNothing(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			const adders, each = 8, 25
			s, handled := task.NewSignals(), make(chan time.Duration, adders*each)
			var mu sync.Mutex
			var due []time.Time
			look := func() (next time.Time) {
				mu.Lock()
				defer mu.Unlock()
				now, left := time.Now(), due[:0]
				for _, at := range due {
					if !at.After(now) {
						handled <- now.Sub(at)
					} else if left = append(left, at); next.IsZero() || at.Before(next) {
						next = at
					}
				}
				due = left
				return next
			}
			over := make(chan struct{})
			go func() {
				for {
					s.Planned(time.Time{})
					next := look()
					var timer <-chan time.Time
					if !next.IsZero() {
						timer = time.After(time.Until(next))
					}
					sooner := s.Planned(next)
					select {
					case <-sooner:
					case <-timer:
					case <-over:
						return
					}
				}
			}()
			for range adders {
				go func() {
					for range each {
						time.Sleep(rand.N(10 * time.Millisecond))
						at := time.Now().Add(1 + rand.N(30*time.Millisecond))
						mu.Lock()
						due = append(due, at)
						mu.Unlock()
						s.Sooner(at)
					}
				}()
			}
			for range adders * each {
				if late := <-handled; late != 0 {
					t.Fatalf("a time was handled %s late", late)
				}
			}
			close(over)
		})
	}
}
