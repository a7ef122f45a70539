package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// outside makes an engine whose function f is left to workers outside, and
// whose results are taken over by finish.
func outside(t *testing.T, finish func(context.Context, task.Task, json.RawMessage) (Outcome, error)) *fixture {
	return newFixture(t, setup{
		config:    func(c *Config) { c.Functions["f"] = task.Policy{Worker: true} },
		functions: map[string]Function{"f": {Finish: finish, Do: func(context.Context, *Run) (Outcome, error) { panic("not ours") }}},
	}).start()
}

func (f *fixture) reports(r task.Report) task.Reported {
	f.t.Helper()
	answers, err := f.Report(context.Background(), []task.Report{r})
	if err != nil {
		f.t.Fatal(err)
	}
	return answers[0]
}

func TestResultOfAWorkerIsTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got []string
		f := outside(t, func(_ context.Context, k task.Task, result json.RawMessage) (Outcome, error) {
			got = append(got, fmt.Sprintf("%s %s", k.Name, result))
			return Outcome{Result: "ours", Next: []task.New{job("g")}}, nil
		})
		n := job("f")
		n.Name = "n"
		id := f.submit(n)
		k := gets(t, f.waits(t.Context(), asks("f"), 0), 0)
		if a := f.reports(task.Report{ID: id, Lease: k.Lease, Kind: task.Beat, Extend: time.Minute}); a.Err != nil || len(got) != 0 {
			t.Error(a, got)
		}
		a := f.reports(task.Report{ID: id, Lease: k.Lease, Kind: task.Succeeded, Result: []byte(`"theirs"`), Next: []task.New{job("h")}})
		if a.Err != nil || !slices.Equal(got, []string{`n "theirs"`}) {
			t.Fatalf("%+v, %v", a, got)
		}
		if k := f.want(id, task.Done); string(k.Result) != `"ours"` || len(f.list("g")) != 1 || len(f.list("h")) != 1 {
			t.Errorf("%+v", k)
		}
		if all := f.metrics.all(); !slices.Equal(all, []string{"f done"}) {
			t.Error(all)
		}
	})
}

func TestResultOfAWorkerIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"for a reason to tell": {fault.Wrap(fault.Unprocessable, errors.New("/secret/path"), "no picture"), "no picture"},
		"for another":          {errors.New("/srv: it broke"), "something went wrong on the server's side; its log tells what"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				refuse := c.err
				f := outside(t, func(context.Context, task.Task, json.RawMessage) (Outcome, error) {
					return Outcome{Next: []task.New{job("g")}}, refuse
				})
				id := f.submit(job("f"))
				k := gets(t, f.waits(t.Context(), asks("f"), 0), 0)
				if a := f.reports(task.Report{ID: id, Lease: k.Lease, Kind: task.Succeeded, Next: []task.New{job("h")}}); fault.As(a.Err).Code != CodeRefused || a.State != task.Scheduled {
					t.Errorf("%+v", a)
				}
				if k := f.want(id, task.Scheduled); k.Error != c.says || k.Attempt != 1 {
					t.Errorf("%+v", k)
				}
				if len(f.list("g"))+len(f.list("h")) != 0 {
					t.Error("a refused result has submitted tasks")
				}
				if all := f.metrics.all(); !slices.Equal(all, []string{"f failed"}) {
					t.Error(all)
				}
				refuse = nil
				k = gets(t, f.waits(t.Context(), asks("f"), time.Minute), 11*time.Second)
				f.report(k, task.Succeeded)
				f.want(id, task.Done)
			})
		})
	}
}

func TestWhatIsNotFinished(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := outside(t, func(context.Context, task.Task, json.RawMessage) (Outcome, error) {
			t.Error("a report that does not count was taken over")
			return Outcome{}, nil
		})
		id := f.submit(job("f"))
		c := asks("f")
		c.Lease = time.Second
		k := gets(t, f.waits(t.Context(), c, 0), 0)
		if a := f.reports(task.Report{ID: id, Lease: "wrong", Kind: task.Succeeded}); !errors.Is(a.Err, task.ErrLease) {
			t.Errorf("%+v", a)
		}
		if a := f.reports(task.Report{ID: asset.ID{1}, Lease: k.Lease, Kind: task.Succeeded}); fault.Of(a.Err) != fault.NotFound {
			t.Errorf("%+v", a)
		}
		if a := f.reports(task.Report{ID: id, Lease: k.Lease, Kind: task.Failed}); a.Err != nil {
			t.Errorf("%+v", a)
		}
		k = gets(t, f.waits(t.Context(), c, time.Minute), 11*time.Second)
		f.stop() // so that nobody takes it back
		time.Sleep(2 * time.Second)
		if a := f.reports(task.Report{ID: id, Lease: k.Lease, Kind: task.Succeeded}); !errors.Is(a.Err, task.ErrLease) {
			t.Errorf("%+v", a)
		}
		other := f.submit(job("other"))
		k = gets(t, f.waits(t.Context(), asks("other"), 0), 0)
		f.report(k, task.Succeeded)
		f.want(other, task.Done)
	})
}

// The lease is kept while the result is taken over, however long that takes.
func TestTakingOverTakesLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := outside(t, func(context.Context, task.Task, json.RawMessage) (Outcome, error) {
			time.Sleep(20 * time.Second)
			return Outcome{}, nil
		})
		id := f.submit(job("f"))
		c := asks("f")
		c.Lease = 2 * time.Second
		k := gets(t, f.waits(t.Context(), c, 0), 0)
		f.report(k, task.Succeeded)
		f.want(id, task.Done)
	})
}

func TestReportsFailTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := outside(t, nil)
		id := f.submit(job("f"))
		k := gets(t, f.waits(t.Context(), asks("f"), 0), 0)
		f.queue.fail(func([]task.Report) error { return fault.New(fault.Unavailable, "broken") }, nil)
		r := []task.Report{{ID: id, Lease: k.Lease, Kind: task.Succeeded}}
		if answers, err := f.Report(t.Context(), r); fault.Of(err) != fault.Unavailable || len(answers) != 0 {
			t.Error(answers, err)
		}
		if all := f.metrics.all(); len(all) != 0 {
			t.Error(all)
		}
	})
}
