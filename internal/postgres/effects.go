package postgres

import (
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// effects are what a transaction has done that others wait for. They are sent
// after the commit.
type effects struct {
	ready   map[string]int
	freed   bool // a lock has room again
	changed []asset.ID
	due     time.Time // of a task
	over    time.Time // of a lease
}

func (e *effects) note(t *task.Task) {
	e.changed = append(e.changed, t.ID)
	switch t.State {
	case task.Ready:
		e.more(t.Function)
	case task.Scheduled:
		e.due = sooner(e.due, t.RunAt)
	case task.Running:
		e.over = sooner(e.over, t.Until)
	}
}

// sooner is the earlier of two times; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// more notes that one more task of a function may be claimed.
func (e *effects) more(function string) {
	if e.ready == nil {
		e.ready = make(map[string]int)
	}
	e.ready[function]++
}

// left notes that a task has stopped running, so that another may start which a
// limit held back.
func (e *effects) left(p task.Policies, k *task.Task, lock task.Lock) {
	if k.State == task.Running {
		return
	}
	if lock.Name != "" {
		e.freed = true
	}
	if p.For(k.Function).Concurrency > 0 {
		e.more(k.Function)
	}
}

// send tells this process what a transaction has done.
func (q *Tasks) send(e *effects) {
	s := q.cfg.Signals
	for function, n := range e.ready {
		s.Ready(function, n)
	}
	s.Changed(e.changed...)
	if e.freed {
		s.Freed()
	}
	if e.due.IsZero() && e.over.IsZero() {
		return
	}
	q.soon(e.due, e.over)
}

// soon has the ticker look when a task is due, or a lease over; zero is never.
func (q *Tasks) soon(due, over time.Time) {
	now, steady := q.clocks.now()
	if at := sooner(q.clocks.wait(now, due), q.clocks.wait(steady, over)); !at.IsZero() {
		q.cfg.Signals.Sooner(at)
	}
}
