package work

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// asksFor claims without waiting, as a worker of an owner without tasks.
func (f *fixture) asksFor(function string) {
	f.t.Helper()
	c := asks(function)
	c.Owner = "nobody"
	if _, err := f.Claim(context.Background(), c, 0); err != nil {
		f.t.Fatal(err)
	}
}

func TestAttended(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{})
		other := newFixture(t, setup{node: "n2", over: f}).Attendance()
		here := f.Attendance()
		want := func(when string, a *Attendance, attended bool) {
			t.Helper()
			if got := a.Attended("f"); got != attended {
				t.Errorf("%s: attended is %t", when, got)
			}
		}
		want("before", here, false)
		want("before, on another node", other, false)
		f.asksFor("f")
		want("at once", here, true)
		want("on a node that has just looked", other, false)
		time.Sleep(attendanceAge)
		want("on a node that looks again", other, true)
		time.Sleep(announceEvery - attendanceAge - time.Millisecond)
		f.asksFor("f") // too soon to be written down again
		time.Sleep(attended - time.Millisecond)
		want("nearly a minute after the last time", here, true)
		want("a minute after it was written down", other, false)
		time.Sleep(time.Millisecond)
		want("a minute after the last time", here, false)
		synctest.Wait()
	})
}

func TestResultThatIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, refuses("output: there is none"))
		for _, c := range []struct {
			attempts int
			state    task.State
			words    string
		}{
			{2, task.Scheduled, "the result was refused: output: there is none; the task will be tried again"},
			{1, task.Dead, "the result was refused: output: there is none; the task is out of attempts, and dead"},
		} {
			id := f.submit(task.New{Owner: "main", Function: "optimize", MaxAttempts: c.attempts})
			k := gets(t, f.waits(context.Background(), asks("optimize"), 0), 0)
			answers, err := f.Report(context.Background(), []task.Report{{ID: k.ID, Lease: k.Lease, Kind: task.Succeeded}})
			if err != nil {
				t.Fatal(err)
			}
			if a := answers[0]; a.State != c.state || codeOf(a.Err) != CodeRefused || a.Err.Error() != c.words {
				t.Errorf("the report is answered %s, %v; want %s, %s", a.State, a.Err, c.state, c.words)
			}
			if k := f.want(id, c.state); k.Error != "output: there is none" {
				t.Errorf("the task has the error %q", k.Error)
			}
		}
		if got := f.metrics.all(); len(got) != 2 || got[0] != "optimize failed" || got[1] != "optimize dead" {
			t.Errorf("counted %q", got)
		}
	})
}

// refuses leaves a function to workers outside, and takes none of their results.
func refuses(why string) setup {
	return setup{functions: map[string]Function{"optimize": {
		Policy: task.Policy{Worker: true},
		Finish: func(context.Context, task.Task, json.RawMessage) (Outcome, error) {
			return Outcome{}, fault.New(fault.Invalid, "%s", why)
		},
	}}}
}

func codeOf(err error) string {
	if e := fault.As(err); e != nil {
		return e.Code
	}
	return ""
}
