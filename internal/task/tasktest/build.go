package tasktest

import (
	"encoding/json"
	"fmt"
	"time"

	"safelight/internal/task"
)

// job is a task to submit for the suite's owner.
func job(function string) task.New { return task.New{Owner: owner, Function: function} }

// named is one with a name, and numbered one with an argument.
func named(function, name string) task.New {
	n := job(function)
	n.Name = name
	return n
}

func numbered(function string, i int) task.New {
	n := job(function)
	n.Args = fmt.Appendf(nil, `{"n":%d}`, i)
	return n
}

// repeated is a number of equal tasks.
func repeated(n task.New, times int) []task.New {
	all := make([]task.New, times)
	for i := range all {
		all[i] = n
	}
	return all
}

// asks is a claim of functions by the worker w1.
func asks(limit int, functions ...string) task.Claim {
	return task.Claim{Functions: functions, Worker: "w1", Max: limit, Lease: time.Minute}
}

// says is a report about a task under its lease.
func says(k task.Task, kind task.ReportKind) task.Report {
	r := task.Report{ID: k.ID, Lease: k.Lease, Kind: kind}
	if kind == task.Failed {
		r.Error = "it broke"
	}
	return r
}

// full is a task with every field set.
func full(function string) task.New {
	return task.New{
		Owner: owner, Function: function, Name: "Ärger 100%", Args: json.RawMessage(`{"a":[1,2.5,"ü<&>\u2028"],"b":null}`),
		Image: mint.New(origin), Input: "w=500&fit=cover", Priority: -7, RunAt: origin.Add(90 * time.Second),
		MaxAttempts: 5, Timeout: 1500 * time.Millisecond, Lock: task.Lock{Name: "ein Schloß", Limit: 4},
	}
}

func owned(n task.New, who string, times int) []task.New {
	n.Owner = who
	return repeated(n, times)
}

func locked(function, name string, limit int) task.New {
	n := job(function)
	n.Lock = task.Lock{Name: name, Limit: limit}
	return n
}

func timed(function string, at time.Time) task.New {
	n := job(function)
	n.RunAt = at
	return n
}
