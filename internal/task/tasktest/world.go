package tasktest

import (
	"fmt"
	"slices"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// world is what a queue should hold, worked out anew from the contract: of the
// package task it uses the data only.
type world struct {
	now   time.Time
	all   []*task.Task // an ID that is not known yet is zero
	rules task.Policies
}

func (w *world) find(id asset.ID) *task.Task {
	for _, k := range w.all {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// holder is the live task that has a name.
func (w *world) holder(owner, function, name string) *task.Task {
	for _, k := range w.all {
		if name != "" && k.Owner == owner && k.Function == function && k.Name == name && !ended(k) {
			return k
		}
	}
	return nil
}

func ended(k *task.Task) bool {
	return k.State == task.Done || k.State == task.Dead || k.State == task.Cancelled
}

// submit stores a task, or changes the one that has its name.
func (w *world) submit(n task.New) *task.Task {
	if n.Lock.Name != "" && n.Lock.Limit == 0 {
		n.Lock.Limit = 1
	}
	if n.RunAt.Before(w.now) {
		n.RunAt = w.now
	}
	k := w.holder(n.Owner, n.Function, n.Name)
	switch {
	case k == nil:
		k = &task.Task{Owner: n.Owner, Function: n.Function, Name: n.Name, Created: w.now}
		w.all = append(w.all, k)
	case k.State == task.Running:
		k.Again, k.Updated = &n, w.now
		return k
	}
	w.renew(k, n)
	return k
}

// renew makes a task that doesn't run what was submitted.
func (w *world) renew(k *task.Task, n task.New) {
	k.Args, k.Image, k.Input, k.Lock, k.Priority = n.Args, n.Image, n.Input, n.Lock, n.Priority
	k.MaxAttempts, k.Timeout = n.MaxAttempts, n.Timeout
	k.Attempt, k.Postponed, k.Again = 0, 0, nil
	w.queue(k, n.RunAt)
}

// queue has a task wait until a time.
func (w *world) queue(k *task.Task, at time.Time) {
	k.State, k.RunAt, k.Updated = task.Scheduled, at, w.now
	if d := at.Sub(w.now); d <= 0 {
		k.State, k.RunAt = task.Ready, w.now
	}
	w.release(k)
}

func (w *world) release(k *task.Task) {
	k.Lease, k.Until, k.Deadline = "", time.Time{}, time.Time{}
}

// finish ends an attempt, or a task that waits, for good. It tells false where
// the task was submitted again meanwhile, and so begins anew.
func (w *world) finish(k *task.Task, state task.State) bool {
	if k.Again != nil {
		w.renew(k, *k.Again)
		return false
	}
	k.State, k.Finished, k.Updated = state, w.now, w.now
	w.release(k)
	return true
}

// failure ends an attempt that failed; the n-th failure waits n·(10+n) units.
func (w *world) failure(k *task.Task, n int, final bool) {
	p := w.rules.For(k.Function)
	most := p.MaxAttempts
	if k.MaxAttempts != 0 {
		most = k.MaxAttempts
	}
	switch {
	case k.Again != nil:
		w.renew(k, *k.Again)
	case !final && k.Attempt < most:
		delay := time.Duration(n*(10+n)) * p.RetryUnit
		if p.RetryMax > 0 && delay > p.RetryMax {
			delay = p.RetryMax
		}
		w.queue(k, w.now.Add(delay))
	default:
		w.finish(k, task.Dead)
		if p.OnDead != "" {
			w.submit(task.New{Owner: k.Owner, Function: p.OnDead, Name: k.Name, Args: k.Args, Image: k.Image})
		}
	}
}

// claimed begins an attempt, whose token was told.
func (w *world) claimed(k *task.Task, c task.Claim, token string) {
	timeout := k.Timeout
	if timeout == 0 {
		timeout = w.rules.For(k.Function).Timeout
	}
	k.State, k.Worker, k.Lease, k.Started, k.Updated = task.Running, c.Worker, token, w.now, w.now
	k.Attempt++
	k.Deadline, k.Until = w.now.Add(timeout), w.now.Add(min(timeout, c.Lease))
	k.Progress, k.Message, k.Output = 0, "", nil
}

// report carries out a report and gives what is to be answered.
func (w *world) report(r task.Report) (answer task.Reported, kind fault.Kind, ok bool) {
	if r.Progress != nil && *r.Progress > 100 {
		return answer, fault.Invalid, false
	}
	k := w.find(r.ID)
	if k == nil {
		return answer, fault.NotFound, false
	}
	if k.State != task.Running || r.Lease != k.Lease || !w.now.Before(k.Until) {
		return task.Reported{State: k.State}, fault.Conflict, false
	}
	switch r.Kind {
	case task.Beat:
		if until := w.now.Add(r.Extend); r.Extend > 0 {
			k.Until = until
			if k.Deadline.Before(until) {
				k.Until = k.Deadline
			}
		}
		if r.Progress != nil {
			k.Progress, k.Message = *r.Progress, r.Message
		}
		k.Updated = w.now
	case task.Succeeded:
		k.Result, k.Error, k.Message, k.Progress = r.Result, "", "", 100
		w.finish(k, task.Done)
	case task.Failed:
		k.Error = r.Error
		if r.Result != nil {
			k.Result = r.Result
		}
		w.failure(k, k.Attempt, r.Final)
	case task.Later:
		w.later(k, r)
	}
	answer = task.Reported{State: k.State, Until: k.Until}
	for _, n := range r.Next {
		w.submit(n)
	}
	return answer, 0, true
}

func (w *world) later(k *task.Task, r task.Report) {
	k.Postponed++
	if r.Error != "" {
		k.Error = r.Error
	}
	most := w.rules.For(k.Function).MaxPostpones
	switch {
	case k.Again != nil:
		w.renew(k, *k.Again)
	case k.Postponed > most:
		k.Error = fmt.Sprintf("postponed more than %d times", most)
		w.failure(k, k.Attempt, false)
	default:
		k.Attempt--
		w.queue(k, w.now.Add(r.Delay))
	}
}

// expire takes a task back from its worker.
func (w *world) expire(k *task.Task) {
	timeout := k.Timeout
	if timeout == 0 {
		timeout = w.rules.For(k.Function).Timeout
	}
	n := k.Attempt
	if w.now.Before(k.Deadline) {
		k.Error = "the worker " + k.Worker + " was lost: its lease ended without a report"
		n-- // the first time costs no delay
	} else {
		k.Error = "the attempt was not finished within its time, " + timeout.String()
	}
	w.failure(k, n, false)
}

// alter cancels or retries a task and tells whether that can be.
func (w *world) alter(action task.Action, k *task.Task) bool {
	switch {
	case action == task.Cancel && !ended(k):
		k.Again = nil
		w.finish(k, task.Cancelled)
	case action == task.Retry && (k.State == task.Scheduled || k.State == task.Ready):
		w.queue(k, w.now)
	case action == task.Retry && (k.State == task.Dead || k.State == task.Cancelled) && w.holder(k.Owner, k.Function, k.Name) == nil:
		k.Attempt, k.Postponed, k.Finished = 0, 0, time.Time{}
		w.queue(k, w.now)
	default:
		return false
	}
	return true
}

// tick makes tasks ready and takes them back, and tells when the next is due.
func (w *world) tick() (next time.Time) {
	for _, k := range slices.Clone(w.all) {
		if k.State == task.Scheduled && !w.now.Before(k.RunAt) {
			k.State, k.Updated = task.Ready, w.now
		}
		if k.State == task.Running && !w.now.Before(k.Until) {
			w.expire(k)
		}
	}
	for _, k := range w.all {
		var at time.Time
		switch k.State {
		case task.Scheduled:
			at = k.RunAt
		case task.Running:
			at = k.Until
		}
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
