package work

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/robfig/cron/v3"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// lookUp is how often due tasks are looked for without having been told: other
// nodes submit too, and clocks are set.
const lookUp = 5 * time.Second

// keepTime makes due what is due, on the spot, and takes back lost tasks.
func (e *Engine) keepTime(ctx context.Context) {
	for ctx.Err() == nil {
		e.signals.Planned(time.Time{})
		next, err := e.queue.Tick(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error("due tasks can't be looked for; trying again", "error", err)
			next = time.Now().Add(time.Second)
		}
		sooner := e.signals.Planned(next)
		wait := lookUp
		if !next.IsZero() {
			wait = min(max(time.Until(next), 0), lookUp)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-sooner:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// pruneEvery and pruneBatch: finished tasks are forgotten little by little.
const (
	pruneEvery = time.Minute
	pruneBatch = 1000
)

// prune forgets finished tasks that are old.
func (e *Engine) prune(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := e.queue.Prune(ctx, since(e.config.KeepDone), since(e.config.KeepDead), pruneBatch)
		if err != nil && ctx.Err() == nil {
			e.log.Warn("old tasks can't be removed; trying again", "error", err)
		}
		if n < pruneBatch {
			pause(ctx, pruneEvery)
		}
	}
}

// since is a time ago; zero for ever.
func since(keep time.Duration) time.Time {
	if keep == 0 {
		return time.Time{}
	}
	return time.Now().Add(-keep)
}

// repeat sees to it that each periodic task is scheduled. A name has one live
// task, so several nodes that do so submit one; the next is submitted when it
// is done with, or noted on it when it falls due before that.
func (e *Engine) repeat(ctx context.Context) {
	due := make(map[string]time.Time, len(e.config.Periodic)) // when to submit the next occurrence
	for name, p := range e.config.Periodic {
		if p.AtStart && !e.config.Idle {
			e.atStart(ctx, name, p)
		}
	}
	for ctx.Err() == nil {
		wake := time.Now().Add(time.Minute)
		for name, p := range e.config.Periodic {
			if !due[name].After(time.Now()) {
				next, err := e.schedule(ctx, name, p)
				if err != nil && ctx.Err() == nil {
					e.log.Warn("a periodic task can't be scheduled; trying again", "name", name, "error", err)
					next = time.Now().Add(time.Second)
				}
				due[name] = next
			}
			if due[name].Before(wake) {
				wake = due[name]
			}
		}
		pause(ctx, max(time.Until(wake), 10*time.Millisecond))
	}
}

// atStart submits an occurrence for now.
func (e *Engine) atStart(ctx context.Context, name string, p Periodic) {
	n, err := p.occurrence(name)
	if err == nil {
		_, err = e.queue.Submit(ctx, []task.New{n})
	}
	if err != nil && ctx.Err() == nil {
		e.log.Warn("a periodic task can't be started; it will run at its next time", "name", name, "error", err)
	}
}

// occurrence is a periodic task as it is submitted.
func (p Periodic) occurrence(name string) (task.New, error) {
	n := task.New{Owner: p.Owner, Function: p.Function, Name: periodicPrefix + name, Priority: task.Idle}
	if n.Owner == "" {
		n.Owner = asset.DefaultOwner
	}
	if p.Args == nil {
		return n, nil
	}
	var err error
	n.Args, err = json.Marshal(p.Args)
	return n, err
}

// schedule submits the next occurrence of a periodic task, and answers when to
// submit the one after. An occurrence that has fallen due stands for those that
// fall due before it is done with; only one that is still to come is replaced,
// as the configuration may have changed.
func (e *Engine) schedule(ctx context.Context, name string, p Periodic) (time.Time, error) {
	schedule, err := p.schedule()
	if err != nil {
		return time.Time{}, err
	}
	n, err := p.occurrence(name)
	if err != nil {
		return time.Time{}, err
	}
	live, err := e.queue.List(ctx, task.Query{Limit: 1, Filter: task.Filter{
		Owner: n.Owner, Function: n.Function, Name: n.Name, States: []task.State{task.Scheduled, task.Ready, task.Running},
	}})
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now().UTC()
	n.RunAt = schedule.Next(now)
	if len(live.Tasks) == 1 {
		k := live.Tasks[0]
		switch {
		case k.State == task.Running && missed(k, schedule, now):
			n.RunAt = now // it becomes that, once it has run
		case k.State == task.Running, fallenDue(k, now):
			return now.Add(min(waitsStill, n.RunAt.Sub(now)/10)), nil
		case planned(k, n):
			return n.RunAt, nil
		}
	}
	_, err = e.queue.Submit(ctx, []task.New{n})
	return n.RunAt, err
}

// missed tells whether an occurrence has fallen due since a running task began,
// and is not noted on it. Nothing is noted before that: it would take the place
// of another attempt, should this one fail.
func missed(k task.Task, schedule cron.Schedule, now time.Time) bool {
	began := k.RunAt
	if k.Started.After(began) {
		began = k.Started
	}
	return !schedule.Next(began).After(now) && (k.Again == nil || k.Again.RunAt.After(now))
}

// fallenDue tells whether a task that waits is for now, or for another attempt.
func fallenDue(k task.Task, now time.Time) bool {
	return k.State == task.Ready || k.Attempt > 0 || k.Postponed > 0 || !k.RunAt.After(now)
}

// planned tells whether a task that waits is this occurrence already.
func planned(k task.Task, n task.New) bool {
	if len(n.Args) == 0 {
		n.Args = json.RawMessage("{}")
	}
	return k.RunAt.Equal(n.RunAt) && bytes.Equal(k.Args, n.Args)
}

// waitsStill is when to look again, at most, at an occurrence that has not been
// taken up.
const waitsStill = time.Second

// periodicPrefix begins the names of periodic tasks.
const periodicPrefix = "periodic:"
