package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Tasks is the queue of tasks in the same file. It is safe for concurrent use.
type Tasks struct {
	db   *DB
	cfg  task.Config
	base time.Time         // of the clock of leases
	turn map[string]string // by function: the owner that was served last; the writer's goroutine only
	goOn map[string]lane   // by function: where a claim had to stop among full lanes; the writer's goroutine only
}

var (
	_ task.Queue  = (*Tasks)(nil)
	_ task.Keeper = (*Tasks)(nil)
)

// Tasks opens the queue; from then on Commit takes tasks too. It is called once,
// before the database is shared.
func (db *DB) Tasks(ctx context.Context, cfg task.Config) (*Tasks, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	q := &Tasks{db: db, cfg: cfg, base: cfg.Now(), turn: make(map[string]string), goOn: make(map[string]lane)}
	_, steady := q.clock()
	// A clock that stood wrong when the leases were given must not keep them
	// for longer than any can be.
	err := db.writer.do(ctx, func(t *tx) error {
		_, err := t.exec(sqlClamp, steady.Add(task.MaxLease).UnixMilli(), steady.Add(task.MaxTimeout).UnixMilli())
		return err
	})
	if err != nil {
		return nil, err
	}
	db.tasks = q
	return q, nil
}

// clock gives the time of day, and the time for leases, which goes on evenly
// when the time of day is set. Both are in milliseconds.
func (q *Tasks) clock() (now, steady time.Time) {
	t := q.cfg.Now()
	return t.UTC().Truncate(time.Millisecond), q.base.Add(t.Sub(q.base)).UTC().Truncate(time.Millisecond)
}

// effects are what a transaction has done that others wait for. They are sent
// after the commit.
type effects struct {
	ready   map[string]int
	freed   bool // a lock has room again
	changed []asset.ID
	due     time.Time
}

func (e *effects) note(t *task.Task) {
	e.changed = append(e.changed, t.ID)
	at := time.Time{}
	switch t.State {
	case task.Ready:
		e.more(t.Function)
	case task.Scheduled:
		at = t.RunAt
	case task.Running:
		at = t.Until
	}
	if !at.IsZero() && (e.due.IsZero() || at.Before(e.due)) {
		e.due = at
	}
}

// more notes that one more task of a function may be claimed.
func (e *effects) more(function string) {
	if e.ready == nil {
		e.ready = make(map[string]int)
	}
	e.ready[function]++
}

func (e *effects) send(s *task.Signals) {
	for function, n := range e.ready {
		s.Ready(function, n)
	}
	s.Changed(e.changed...)
	if e.freed {
		s.Freed()
	}
	if !e.due.IsZero() {
		s.Sooner(e.due)
	}
}

// left notes that a task has stopped running, so that another may start which
// a limit held back.
func (q *Tasks) left(k *task.Task, lock task.Lock, done *effects) {
	if k.State == task.Running {
		return
	}
	if lock.Name != "" {
		done.freed = true
	}
	if q.cfg.Policies.For(k.Function).Concurrency > 0 {
		done.more(k.Function)
	}
}

// change carries out work in the writer's transaction and then tells what it
// has done. work may run several times.
func (q *Tasks) change(ctx context.Context, work func(*tx, *effects) error) error {
	var done effects
	err := q.db.writer.do(ctx, func(t *tx) error {
		done = effects{}
		return work(t, &done)
	})
	if err != nil {
		return err
	}
	done.send(q.cfg.Signals)
	return nil
}

// Submit implements task.Queue.
func (q *Tasks) Submit(ctx context.Context, tasks []task.New) ([]task.Task, error) {
	now, _ := q.clock()
	if len(tasks) > task.MaxBatch {
		return nil, fault.Limit(fault.Invalid, "tasks", task.MaxBatch, int64(len(tasks)), "%d tasks are more than the %d of one call", len(tasks), task.MaxBatch)
	}
	if err := check(tasks, now); err != nil {
		return nil, err
	}
	stored := make([]task.Task, len(tasks))
	err := q.change(ctx, func(t *tx, done *effects) (err error) {
		for i := range tasks {
			if stored[i], err = q.submit(t, tasks[i], now, done); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// check checks tasks and completes them.
func check(tasks []task.New, now time.Time) error {
	for i := range tasks {
		if tasks[i].Owner == "" {
			return fault.New(fault.Internal, "a task has no owner")
		}
		if err := tasks[i].Check(now); err != nil {
			return err
		}
	}
	return nil
}

// submit stores a checked task, or changes the live one of its name.
func (q *Tasks) submit(t *tx, n task.New, now time.Time, done *effects) (task.Task, error) {
	if n.Name != "" {
		live, err := scanTask(t.row(sqlLiveTask, n.Owner, n.Function, n.Name))
		if err == nil {
			live.Resubmit(n, now)
			done.note(&live)
			return live, t.replaceTask(&live)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return task.Task{}, err
		}
	}
	fresh := n.Fresh(now)
	fresh.ID = q.cfg.Mint.New(now)
	done.note(&fresh)
	return fresh, t.insertTask(&fresh)
}

// settle stores what a transition has made of a task, and submits what is to
// follow.
func (q *Tasks) settle(t *tx, after *task.Task, again bool, now time.Time, done *effects) error {
	if err := t.store(after, again, done); err != nil {
		return err
	}
	return q.follow(t, after, now, done)
}

// store stores what a transition has made of a task; again tells whether the
// task was submitted again before.
func (t *tx) store(after *task.Task, again bool, done *effects) error {
	done.note(after)
	if again { // it may have become another one
		return t.replaceTask(after)
	}
	return t.moveTask(after)
}

// follow submits what the policy wants when a task has ended dead.
func (q *Tasks) follow(t *tx, after *task.Task, now time.Time, done *effects) error {
	next := q.cfg.Policies.For(after.Function).OnDead
	if next == "" || after.State != task.Dead {
		return nil
	}
	_, err := q.submit(t, task.New{
		Owner: after.Owner, Function: next, Name: after.Name, Args: after.Args, Image: after.Image, RunAt: now,
	}, now, done)
	return err
}

// Report implements task.Queue.
func (q *Tasks) Report(ctx context.Context, reports []task.Report) ([]task.Reported, error) {
	now, steady := q.clock()
	if len(reports) > task.MaxBatch {
		return nil, fault.Limit(fault.Invalid, "reports", task.MaxBatch, int64(len(reports)), "%d reports are more than the %d of one call", len(reports), task.MaxBatch)
	}
	answers := make([]task.Reported, len(reports))
	for i := range reports {
		answers[i].Err = reports[i].Check()
		if answers[i].Err == nil {
			answers[i].Err = check(reports[i].Next, now)
		}
	}
	refused := make([]error, len(reports))
	for i := range answers {
		refused[i] = answers[i].Err
	}
	err := q.change(ctx, func(t *tx, done *effects) error {
		for i := range reports {
			if refused[i] != nil {
				continue
			}
			var err error
			if answers[i], err = q.report(t, &reports[i], now, steady, done); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

func (q *Tasks) report(t *tx, r *task.Report, now, steady time.Time, done *effects) (task.Reported, error) {
	held, err := scanTask(t.row(sqlLoadTask, r.ID[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return task.Reported{Err: missing(r.ID)}, nil
	}
	if err != nil {
		return task.Reported{}, err
	}
	again, lock := held.Again != nil, held.Lock
	if err := held.Apply(r, q.cfg.Policies.For(held.Function), now, steady); err != nil {
		return task.Reported{Function: held.Function, State: held.State, Err: err}, nil
	}
	if err := q.settle(t, &held, again, now, done); err != nil {
		return task.Reported{}, err
	}
	q.left(&held, lock, done)
	for _, n := range r.Next {
		if _, err := q.submit(t, n, now, done); err != nil {
			return task.Reported{}, err
		}
	}
	return task.Reported{Function: held.Function, State: held.State, Until: held.Until}, nil
}

func missing(id asset.ID) error {
	return fault.New(fault.NotFound, "there is no task with the id %s", id)
}
