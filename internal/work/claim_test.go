package work

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

func TestClaimThatWaitsIsWoken(t *testing.T) {
	t.Parallel()
	limited := func(c *Config) { c.Functions["f"] = task.Policy{Concurrency: 1} }
	for name, c := range map[string]struct {
		config func(*Config)
		before func(*fixture) (taken task.Task)
		cause  func(*fixture, task.Task)
		took   time.Duration
	}{
		"by a submission": {
			cause: func(f *fixture, _ task.Task) { f.submit(job("f")) },
			took:  700 * time.Millisecond,
		},
		"by a due time": {
			before: func(f *fixture) (k task.Task) {
				n := job("f")
				n.RunAt = time.Now().Add(1234 * time.Millisecond)
				f.submit(n)
				return k
			},
			took: 1234 * time.Millisecond,
		},
		"by a due time that comes later": {
			cause: func(f *fixture, _ task.Task) {
				n := job("f")
				n.RunAt = time.Now().Add(1500 * time.Millisecond)
				f.submit(n)
				n.RunAt = time.Now().Add(77 * time.Millisecond)
				f.submit(n)
			},
			took: 777 * time.Millisecond,
		},
		"by room under a function's limit": {
			config: limited,
			before: func(f *fixture) task.Task {
				f.submit(job("f"))
				k := gets(f.t, f.waits(f.t.Context(), asks("f"), 0), 0)
				f.submit(job("f"))
				return k
			},
			cause: func(f *fixture, k task.Task) { f.report(k, task.Succeeded) },
			took:  700 * time.Millisecond,
		},
		"by room under a lock of another function": {
			before: func(f *fixture) task.Task {
				n := job("g")
				n.Lock = task.Lock{Name: "l", Limit: 1}
				f.submit(n)
				k := gets(f.t, f.waits(f.t.Context(), asks("g"), 0), 0)
				n.Function = "f"
				f.submit(n)
				return k
			},
			cause: func(f *fixture, k task.Task) { f.report(k, task.Failed) },
			took:  700 * time.Millisecond,
		},
		"by the end of another's lease": {
			config: limited,
			before: func(f *fixture) task.Task {
				f.submit(job("f"))
				c := asks("f")
				c.Lease = 1357 * time.Millisecond
				return gets(f.t, f.waits(f.t.Context(), c, 0), 0)
			},
			took: 1357 * time.Millisecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFixture(t, setup{config: c.config}).start()
				var k task.Task
				if c.before != nil {
					k = c.before(f)
				}
				answers := f.waits(t.Context(), asks("f"), time.Minute)
				time.Sleep(700 * time.Millisecond)
				synctest.Wait()
				nobody(t, answers)
				if c.cause != nil {
					c.cause(f, k)
				}
				gets(t, answers, c.took)
			})
		})
	}
}

func TestClaimEndsEmpty(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{}).start()
		f.submit(job("g"))
		for _, wait := range []time.Duration{0, 3 * time.Second, time.Minute} {
			a := <-f.waits(t.Context(), asks("f"), wait)
			if a.err != nil || len(a.tasks) != 0 || a.took != wait {
				t.Errorf("a claim that waits %s gave %+v", wait, a)
			}
		}
	})
}

func TestClaimThatIsCancelledClaimsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{}).start()
		ctx, cancel := context.WithCancel(t.Context())
		answers := f.waits(ctx, asks("f"), time.Minute)
		cancel()
		id := f.submit(job("f"))
		if a := <-answers; fault.Of(a.err) != fault.Canceled || len(a.tasks) != 0 {
			t.Errorf("%+v", a)
		}
		f.want(id, task.Ready)
		if _, err := f.Claim(ctx, asks("f"), 0); fault.Of(err) != fault.Canceled {
			t.Errorf("a claim of somebody who is gone gave %v", err)
		}
		f.want(id, task.Ready)
	})
}

func TestClaimsOfManyWaiters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{}).start()
		const waiters = 20
		answers := make([]<-chan answer, waiters)
		for i := range answers {
			answers[i] = f.waits(t.Context(), asks("f"), time.Minute)
		}
		start := time.Now()
		for n := range waiters {
			time.Sleep(100 * time.Millisecond)
			f.submit(job("f"))
			synctest.Wait()
			got := 0
			for _, a := range answers {
				got += len(a)
			}
			if got != n+1 { // at once, not by looking again
				t.Fatalf("after %s and %d tasks, %d waiters have one", time.Since(start), n+1, got)
			}
		}
		seen := map[string]bool{}
		for _, a := range answers {
			k := <-a
			if k.err != nil || len(k.tasks) != 1 || seen[k.tasks[0].ID.String()] {
				t.Fatalf("%+v", k)
			}
			seen[k.tasks[0].ID.String()] = true
		}
	})
}

// A signal that reaches a waiter who goes away, or whose claim fails, must reach
// the next.
func TestSignalsOfThoseWhoLeave(t *testing.T) {
	t.Parallel()
	t.Run("cancelled", func(t *testing.T) {
		for range 30 { // which of the two events is seen first is left to chance
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, setup{})
				ctx, cancel := context.WithCancel(t.Context())
				first := f.waits(ctx, asks("f"), time.Minute)
				second := f.waits(t.Context(), asks("f"), time.Minute)
				f.submit(job("f"))
				cancel()
				if a := <-first; len(a.tasks) == 0 {
					gets(t, second, 0)
				}
			})
		}
	})
	t.Run("failed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, setup{})
			first := f.waits(t.Context(), asks("f"), time.Minute)
			second := f.waits(t.Context(), asks("f"), time.Minute)
			broken := errors.New("broken")
			f.queue.fail(nil, broken)
			f.signals.Ready("f", 1)
			for _, answers := range []<-chan answer{first, second} {
				if a := <-answers; !errors.Is(a.err, broken) || a.took != 0 {
					t.Fatalf("%+v", a)
				}
			}
		})
	})
}

func TestSignalOfAnotherOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{})
		mine := asks("f", "g")
		mine.Owner = "main"
		for range 3 {
			other := mine
			other.Owner = "other"
			f.waits(t.Context(), other, 10*time.Second)
		}
		answers := f.waits(t.Context(), mine, 10*time.Second)
		time.Sleep(100 * time.Millisecond)
		f.submit(job("f"))
		gets(t, answers, 100*time.Millisecond)
		n := job("g")
		n.Owner = "nobody" // whom no waiter asks for: passing it on has an end
		f.submit(n)
		time.Sleep(time.Minute)
	})
}

func TestClaimRefusesNonsense(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{})
		for name, c := range map[string]task.Claim{
			"no function":  {Max: 1, Lease: time.Second},
			"a bad one":    {Functions: []string{"F"}, Max: 1, Lease: time.Second},
			"none to take": {Functions: []string{"f"}, Lease: time.Second},
			"a long lease": {Functions: []string{"f"}, Max: 1, Lease: time.Hour},
		} {
			if _, err := f.Claim(t.Context(), c, 0); fault.Of(err) != fault.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if asked, err := f.queue.Announced(t.Context()); err != nil || len(asked) != 0 {
			t.Errorf("what was refused is announced: %v, %v", asked, err)
		}
	})
}
