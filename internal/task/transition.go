package task

import (
	"fmt"
	"time"

	"safelight/internal/fault"
)

// The state machine. Every change to a stored task is one of these methods;
// now is the database's clock, truncated to milliseconds. docs/tasks.md draws
// it.

// Fresh is the task that a submission makes.
func (n New) Fresh(now time.Time) Task {
	t := Task{Owner: n.Owner, Function: n.Function, Name: n.Name, Created: now}
	t.take(n, now)
	return t
}

// Resubmit is what a submission does to the live task of its name: one that
// waits becomes the new one, under its old id; one that runs is run again
// afterwards.
func (t *Task) Resubmit(n New, now time.Time) {
	t.Updated = now
	if t.State == Running {
		t.Again = &n
		return
	}
	t.take(n, now)
}

// take puts a submission in the place of what the task was.
func (t *Task) take(n New, now time.Time) {
	t.Args, t.Image, t.Input, t.Priority, t.Lock = n.Args, n.Image, n.Input, n.Priority, n.Lock
	t.MaxAttempts, t.Timeout = n.MaxAttempts, n.Timeout
	t.Attempt, t.Postponed, t.Again = 0, 0, nil
	t.wait(n.RunAt, now)
}

// wait lets the task run at a time.
func (t *Task) wait(at, now time.Time) {
	if at = at.Truncate(time.Millisecond); at.Before(now) {
		at = now
	}
	t.RunAt, t.Updated = at, now
	t.Lease, t.Until, t.Deadline = "", time.Time{}, time.Time{}
	t.State = Ready
	if at.After(now) {
		t.State = Scheduled
	}
}

// end puts the task into a finished state, unless it was submitted again while
// it ran.
func (t *Task) end(state State, now time.Time) {
	if t.Again != nil {
		t.take(*t.Again, now)
		return
	}
	t.State, t.Finished, t.Updated = state, now, now
	t.Lease, t.Until, t.Deadline = "", time.Time{}, time.Time{}
}

// Claimed is what a claim does to a task that is ready.
func (t *Task) Claimed(c Claim, token string, p Policy, now, steady time.Time) {
	timeout := t.Timeout
	if timeout == 0 {
		timeout = p.Timeout
	}
	t.State, t.Worker, t.Lease = Running, c.Worker, token
	t.Attempt++
	t.Started, t.Updated = now, now
	t.Deadline = steady.Add(timeout).Truncate(time.Millisecond)
	t.Progress, t.Message, t.Output = 0, "", nil
	t.extend(c.Lease, steady)
}

// extend moves the end of the lease, never beyond the attempt's deadline.
func (t *Task) extend(lease time.Duration, steady time.Time) {
	t.Until = steady.Add(lease).Truncate(time.Millisecond)
	if t.Until.After(t.Deadline) {
		t.Until = t.Deadline
	}
}

// ErrLease is the answer to a report under a lease that is not (any longer) the
// task's: it was cancelled, or its lease has ended.
var ErrLease = &fault.Error{Kind: fault.Conflict, Code: "lease-lost",
	Message: "the lease has ended, or the task was cancelled; nothing was changed"}

// Apply carries out a report. steady is the clock of leases. A report under
// another lease than the task's, or after its end, is ErrLease and changes
// nothing.
func (t *Task) Apply(r *Report, p Policy, now, steady time.Time) error {
	if t.State != Running || r.Lease == "" || r.Lease != t.Lease || !t.Until.After(steady) {
		return ErrLease
	}
	switch r.Kind {
	case Beat:
		t.beat(r, now, steady)
	case Succeeded:
		t.Result, t.Error, t.Progress, t.Message = r.Result, "", 100, ""
		t.end(Done, now)
	case Failed:
		t.Error = r.Error
		if len(r.Result) > 0 {
			t.Result = r.Result
		}
		t.failed(p, p.Delay(t.Attempt), r.Final, now)
	case Later:
		t.later(r, p, now)
	}
	return nil
}

func (t *Task) beat(r *Report, now, steady time.Time) {
	if r.Extend > 0 {
		t.extend(r.Extend, steady)
	}
	if r.Progress != nil {
		t.Progress, t.Message = *r.Progress, r.Message
	}
	if r.Output != nil {
		t.Output = r.Output
	}
	t.Updated = now
}

// later gives the task back without counting the attempt, up to a bound.
func (t *Task) later(r *Report, p Policy, now time.Time) {
	t.Postponed++
	if r.Error != "" {
		t.Error = r.Error
	}
	switch {
	case t.Again != nil:
		t.take(*t.Again, now)
	case t.Postponed > p.MaxPostpones:
		t.Error = fmt.Sprintf("postponed more than %d times", p.MaxPostpones)
		t.failed(p, p.Delay(t.Attempt), false, now)
	default:
		t.Attempt--
		t.wait(now.Add(r.Delay), now)
	}
}

// failed ends an attempt: the task waits for the next, or is dead.
func (t *Task) failed(p Policy, delay time.Duration, final bool, now time.Time) {
	if t.Again != nil {
		t.take(*t.Again, now)
		return
	}
	if final || t.Attempt >= t.attempts(p) {
		t.end(Dead, now)
		return
	}
	t.wait(now.Add(delay), now)
}

func (t *Task) attempts(p Policy) int {
	if t.MaxAttempts > 0 {
		return t.MaxAttempts
	}
	return p.MaxAttempts
}

// Expire takes a task back whose lease has ended: its worker is gone, or ran
// into the attempt's deadline. The attempt counts, so that a task which kills
// its workers ends dead. A lost worker is no fault of the task's as a rule, so
// the first time it is ready again at once.
func (t *Task) Expire(p Policy, now, steady time.Time) {
	if !t.Deadline.After(steady) {
		timeout := t.Timeout
		if timeout == 0 {
			timeout = p.Timeout
		}
		t.Error = fmt.Sprintf("the attempt was not finished within its time, %s", timeout)
		t.failed(p, p.Delay(t.Attempt), false, now)
		return
	}
	t.Error = fmt.Sprintf("the worker %s was lost: its lease ended without a report", t.Worker)
	t.failed(p, p.Delay(t.Attempt-1), false, now)
}

// Cancel ends a live task; a running worker learns of it by its next report.
// What is finished is fault.Conflict.
func (t *Task) Cancel(now time.Time) error {
	if t.State.Finished() {
		return fault.New(fault.Conflict, "the task is %s; only one that waits or runs can be cancelled", t.State)
	}
	t.Again = nil
	t.end(Cancelled, now)
	return nil
}

// Retry lets a dead or cancelled task start over, and one that waits for its
// time run now. Others are fault.Conflict.
func (t *Task) Retry(now time.Time) error {
	switch t.State {
	case Dead, Cancelled:
		t.Attempt, t.Postponed, t.Finished = 0, 0, time.Time{}
	case Scheduled, Ready:
	default:
		return fault.New(fault.Conflict, "the task is %s; only one that is dead, cancelled or waiting can be retried", t.State)
	}
	t.wait(now, now)
	return nil
}

// Due makes a scheduled task ready.
func (t *Task) Due(now time.Time) { t.State, t.Updated = Ready, now }
