package work

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// does is the function f that does something.
func does(do func(ctx context.Context, r *Run) (Outcome, error)) map[string]Function {
	return map[string]Function{"f": {Do: do}}
}

// once fails the first attempt.
func once(err func() error) func(context.Context, *Run) (Outcome, error) {
	return func(_ context.Context, r *Run) (Outcome, error) {
		if r.Task.Attempt == 1 {
			return Outcome{Next: []task.New{job("never")}}, err()
		}
		return Outcome{}, nil
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	gives := func(err error) func() error { return func() error { return err } }
	const retried = 11 * time.Second // n·(10+n) seconds after the first failure
	for name, c := range map[string]struct {
		err   func() error
		after time.Duration // until it is done; 0 if it is dead at once
		says  string
	}{
		"unclassified":   {gives(errors.New("/srv/x: it broke")), retried, "something went wrong on the server's side; its log tells what"},
		"internal":       {gives(fault.New(fault.Internal, "it broke")), retried, "it broke"},
		"unavailable":    {gives(fmt.Errorf("store: %w", fault.New(fault.Unavailable, "away"))), retried, "away"},
		"exhausted":      {gives(fault.New(fault.Exhausted, "too many")), retried, "too many"},
		"out of space":   {gives(fault.New(fault.OutOfSpace, "full")), retried, "full"},
		"timeout":        {gives(fault.New(fault.Timeout, "slow")), retried, "slow"},
		"cancelled":      {gives(fault.New(fault.Canceled, "gone")), retried, "gone"},
		"a panic":        {func() error { panic("oh") }, retried, "the function panicked; the server's log tells where"},
		"invalid":        {gives(fault.New(fault.Invalid, "bad")), 0, "bad"},
		"unprocessable":  {gives(fault.New(fault.Unprocessable, "corrupt")), 0, "corrupt"},
		"not found":      {gives(fault.New(fault.NotFound, "gone")), 0, "gone"},
		"conflict":       {gives(fault.Wrap(fault.Conflict, errors.New("x"), "taken")), 0, "taken"},
		"a long message": {gives(fault.New(fault.Internal, "%s", strings.Repeat("é", task.MaxErrorBytes))), retried, strings.Repeat("é", task.MaxErrorBytes/2)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFixture(t, setup{functions: does(once(c.err))}).start()
				id := f.submit(job("f"))
				synctest.Wait()
				if c.after == 0 {
					k := f.want(id, task.Dead)
					if k.Error != c.says || k.Attempt != 1 || !f.logged("a task is dead") {
						t.Errorf("%+v", k)
					}
					if got := f.metrics.all(); !slices.Equal(got, []string{"f dead"}) {
						t.Error(got)
					}
				} else {
					if k := f.want(id, task.Scheduled); k.Error != c.says {
						t.Errorf("%q", k.Error)
					}
					time.Sleep(c.after - time.Millisecond)
					f.want(id, task.Scheduled)
					time.Sleep(time.Millisecond)
					synctest.Wait()
					if k := f.want(id, task.Done); k.Attempt != 2 || k.Error != "" {
						t.Errorf("%+v", k)
					}
					if got := f.metrics.all(); !slices.Equal(got, []string{"f failed", "f done"}) || f.metrics.times != 2 {
						t.Error(got, f.metrics.times)
					}
				}
				if n := len(f.list("never")); n != 0 {
					t.Errorf("an attempt that failed has submitted %d tasks", n)
				}
			})
		})
	}
}

func TestSuccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		functions := does(func(_ context.Context, r *Run) (Outcome, error) {
			switch string(r.Task.Args) {
			case `{"a":1}`:
				next := job("g")
				next.Name = "n"
				return Outcome{Result: map[string]int{"n": 1}, Next: []task.New{next}}, nil
			case `{"a":2}`:
				return Outcome{Result: strings.Repeat("x", task.MaxResultBytes)}, nil
			case `{"a":3}`:
				return Outcome{Result: func() {}}, nil
			}
			return Outcome{}, nil
		})
		var g atomic.Int32
		functions["g"] = Function{Do: func(context.Context, *Run) (Outcome, error) { g.Add(1); return Outcome{}, nil }}
		f := newFixture(t, setup{functions: functions}).start()
		for args, result := range map[string]string{
			`{"a":1}`: `{"n":1}`, `{"a":2}`: `{"error":"the result could not be stored"}`, `{"a":3}`: `{"error":"the result could not be stored"}`, `{}`: "",
		} {
			n := job("f")
			n.Args = []byte(args)
			id := f.submit(n)
			synctest.Wait()
			if k := f.want(id, task.Done); string(k.Result) != result || k.Progress != 100 {
				t.Errorf("%s gave %+v", args, k)
			}
		}
		if next := f.list("g"); len(next) != 1 || next[0].State != task.Done || next[0].Name != "n" || g.Load() != 1 {
			t.Errorf("%+v", next)
		}
	})
}

func TestPostpone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var runs []time.Time
		f := newFixture(t, setup{
			config: func(c *Config) { c.Functions["f"] = task.Policy{MaxPostpones: 3, MaxAttempts: 1} },
			functions: does(func(_ context.Context, r *Run) (Outcome, error) {
				runs = append(runs, time.Now())
				if r.Task.Attempt != 1 {
					t.Errorf("attempt %d", r.Task.Attempt)
				}
				return Outcome{Next: []task.New{job("never")}}, fmt.Errorf("wrapped: %w", Postpone(90*time.Second, "not yet"))
			}),
		}).start()
		start := time.Now()
		id := f.submit(job("f"))
		synctest.Wait()
		if k := f.want(id, task.Scheduled); k.Error != "not yet" || k.Attempt != 0 || k.Postponed != 1 {
			t.Errorf("%+v", k)
		}
		time.Sleep(10 * time.Minute)
		if k := f.want(id, task.Dead); !strings.Contains(k.Error, "postponed more than 3 times") {
			t.Errorf("%+v", k)
		}
		if len(runs) != 4 || runs[3].Sub(start) != 270*time.Second {
			t.Errorf("it ran at %v", runs)
		}
		if got := f.metrics.all(); !slices.Equal(got, []string{"f later", "f later", "f later", "f dead"}) {
			t.Error(got)
		}
		if len(f.list("never")) != 0 {
			t.Error("a postponed attempt has submitted tasks")
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy, own, attempt time.Duration
	}{
		"of the function":                  {10 * time.Minute, 0, 10 * time.Minute},
		"of the task, which is shorter":    {time.Hour, 20 * time.Second, 20 * time.Second},
		"of the task, which is longer":     {20 * time.Second, 5 * time.Minute, 5 * time.Minute},
		"of the task, which is very short": {time.Hour, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFixture(t, setup{
					config: func(c2 *Config) { c2.Functions["f"] = task.Policy{Timeout: c.policy, MaxAttempts: 2} },
					functions: does(func(ctx context.Context, _ *Run) (Outcome, error) {
						<-ctx.Done()
						return Outcome{}, ctx.Err()
					}),
				}).start()
				n := job("f")
				n.Timeout = c.own
				id := f.submit(n)
				time.Sleep(c.attempt - c.attempt/20 - time.Second)
				synctest.Wait()
				f.want(id, task.Running)
				time.Sleep(c.attempt - time.Since(f.task(id).Started))
				synctest.Wait()
				if k := f.want(id, task.Scheduled); k.Error != "the attempt was not finished within its time, "+c.attempt.String() {
					t.Errorf("%q", k.Error)
				}
				time.Sleep(11*time.Second + c.attempt)
				synctest.Wait()
				f.want(id, task.Dead)
				if got := f.metrics.all(); !slices.Equal(got, []string{"f failed", "f dead"}) {
					t.Error(got)
				}
				if f.logged("refused") || !f.logged("a task is dead") {
					t.Error(f.log)
				}
			})
		})
	}
}

func TestHeartbeatsKeepALease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		attempts := 0
		f := newFixture(t, setup{functions: does(func(_ context.Context, r *Run) (Outcome, error) {
			attempts++
			for i := range 10 {
				r.Progress(i*10, fmt.Sprint("step ", i))
				time.Sleep(time.Minute)
			}
			r.Progress(-5, "")
			return Outcome{}, nil
		})}).start()
		id := f.submit(job("f"))
		time.Sleep(3*time.Minute + 2*time.Second)
		synctest.Wait()
		k := f.want(id, task.Running)
		if k.Progress != 30 || k.Message != "step 3" || !k.Until.After(time.Now().Add(19*time.Second)) {
			t.Errorf("%+v", k)
		}
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if k := f.want(id, task.Done); attempts != 1 || k.Attempt != 1 {
			t.Errorf("%d attempts: %+v", attempts, k)
		}
	})
}

func TestLeaseLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose  func(*fixture, task.Task)
		state task.State
		next  time.Duration // until it is noticed, at most
	}{
		"cancelled": {func(f *fixture, k task.Task) {
			if _, err := f.queue.Alter(context.Background(), task.Cancel, task.Filter{ID: k.ID}); err != nil {
				f.t.Error(err)
			}
		}, task.Cancelled, 10 * time.Second},
		"the lease was taken away": {func(f *fixture, k task.Task) {
			if n, err := f.queue.Abandon(context.Background(), f.worker); n != 1 || err != nil {
				f.t.Error(n, err)
			}
		}, task.Done, 10 * time.Second},
		"heartbeats could not be stored": {func(f *fixture, _ task.Task) {
			f.queue.fail(func(r []task.Report) error {
				if r[0].Kind == task.Beat {
					return errors.New("broken")
				}
				return nil
			}, nil)
			time.AfterFunc(31*time.Second, func() { f.queue.fail(nil, nil) })
		}, task.Done, 41 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var mu sync.Mutex
				var ends []error
				f := newFixture(t, setup{functions: does(func(ctx context.Context, r *Run) (Outcome, error) {
					if r.Task.Attempt == 2 {
						return Outcome{Result: "second"}, nil
					}
					<-ctx.Done()
					mu.Lock()
					defer mu.Unlock()
					ends = append(ends, context.Cause(ctx))
					return Outcome{Result: "first", Next: []task.New{job("never")}}, nil
				})}).start()
				id := f.submit(job("f"))
				synctest.Wait()
				c.lose(f, f.want(id, task.Running))
				time.Sleep(c.next)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if len(ends) != 1 || !errors.Is(ends[0], task.ErrLease) {
					t.Fatalf("the attempt ended with %v", ends)
				}
				if k := f.want(id, c.state); string(k.Result) == `"first"` || len(f.list("never")) != 0 {
					t.Errorf("%+v", k)
				}
				if !f.logged("an attempt was given up") {
					t.Error(f.log)
				}
			})
		})
	}
}

func TestReportIsStoredLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		attempts := 0
		f := newFixture(t, setup{functions: does(func(context.Context, *Run) (Outcome, error) {
			attempts++
			return Outcome{Next: []task.New{job("g")}}, nil
		})}).start()
		f.queue.fail(func([]task.Report) error { return fault.New(fault.Unavailable, "broken") }, nil)
		id := f.submit(job("f"))
		time.Sleep(20 * time.Second)
		f.want(id, task.Running)
		f.queue.fail(nil, nil)
		time.Sleep(8 * time.Second)
		if f.want(id, task.Done); attempts != 1 || len(f.list("g")) != 1 {
			t.Errorf("%d attempts, %d next", attempts, len(f.list("g")))
		}
		// Beyond the lease the task is carried out again.
		f.queue.fail(func([]task.Report) error { return fault.New(fault.Unavailable, "broken") }, nil)
		id = f.submit(job("f"))
		time.Sleep(35 * time.Second)
		f.queue.fail(nil, nil)
		time.Sleep(time.Minute)
		if k := f.want(id, task.Done); attempts != 3 || k.Attempt != 2 || len(f.list("g")) != 2 {
			t.Errorf("%d attempts, %+v", attempts, k)
		}
		if !f.logged("a report could not be stored; the task will be carried out again") {
			t.Error(f.log)
		}
	})
}
