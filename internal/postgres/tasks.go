package postgres

import (
	"context"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Tasks is the queue of tasks in the same database. It is safe for concurrent
// use.
type Tasks struct {
	db     *DB
	cfg    task.Config
	clocks *clocks
	turns  turns

	outbox *outbox
	ended  context.CancelFunc // of the listening
	idle   sync.WaitGroup
}

var (
	_ task.Queue   = (*Tasks)(nil)
	_ task.Keeper  = (*Tasks)(nil)
	_ task.Outputs = (*Tasks)(nil)
)

// Tasks opens the queue; from then on Commit takes tasks too. It is called once,
// before the database is shared.
func (db *DB) Tasks(ctx context.Context, cfg task.Config) (*Tasks, error) {
	q := &Tasks{db: db, cfg: cfg, clocks: newClocks(cfg.Now), turns: newTurns()}
	if _, _, err := q.upcoming(ctx); err != nil { // which compares the clocks
		return nil, err
	}
	if err := q.clampLeases(ctx); err != nil {
		return nil, err
	}
	if err := q.start(ctx); err != nil {
		return nil, err
	}
	db.tasks = q
	return q, nil
}

// change carries out work on tasks in a transaction and then tells what it has
// done. work may run several times; it ends with finish.
func (q *Tasks) change(ctx context.Context, doing string, work func(*unit) error) error {
	var done effects
	err := q.db.transact(ctx, doing, func(t *tx) error {
		u := q.unit(t)
		err := work(u)
		done = u.done
		return err
	})
	if err != nil {
		return err
	}
	q.tell(&done)
	return nil
}

// tell sends what a transaction has done, here and to other nodes.
func (q *Tasks) tell(done *effects) {
	q.send(done)
	q.outbox.put(done)
}

// finish writes what the tasks have become, and commits.
func (u *unit) finish() error {
	b := u.t.batch()
	if err := u.write(b); err != nil {
		return err
	}
	return u.t.finish(b)
}

// Submit implements task.Queue.
func (q *Tasks) Submit(ctx context.Context, tasks []task.New) ([]task.Task, error) {
	now, _ := q.clocks.now()
	if len(tasks) > task.MaxBatch {
		return nil, fault.Limit(fault.Invalid, "tasks", task.MaxBatch, int64(len(tasks)), "%d tasks are more than the %d of one call", len(tasks), task.MaxBatch)
	}
	if err := check(tasks, now); err != nil {
		return nil, err
	}
	names := namesOf(tasks)
	stored := make([]task.Task, len(tasks))
	err := q.change(ctx, "storing tasks", func(u *unit) error {
		if len(names) > 0 {
			b := u.t.batch()
			u.lock(b, nil, names)
			if err := u.t.send(b); err != nil {
				return err
			}
		}
		for i := range tasks {
			stored[i] = u.submit(tasks[i])
		}
		return u.finish()
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

// Report implements task.Queue.
func (q *Tasks) Report(ctx context.Context, reports []task.Report) ([]task.Reported, error) {
	now, _ := q.clocks.now()
	if len(reports) > task.MaxBatch {
		return nil, fault.Limit(fault.Invalid, "reports", task.MaxBatch, int64(len(reports)), "%d reports are more than the %d of one call", len(reports), task.MaxBatch)
	}
	refused := make([]error, len(reports))
	var ids []asset.ID
	var names []taskName
	for i := range reports {
		if refused[i] = reports[i].Check(); refused[i] == nil {
			refused[i] = check(reports[i].Next, now)
		}
		if refused[i] == nil {
			ids, names = append(ids, reports[i].ID), append(names, namesOf(reports[i].Next)...)
		}
	}
	answers := make([]task.Reported, len(reports))
	err := q.change(ctx, "storing reports", func(u *unit) error {
		if err := u.open(ids, names); err != nil {
			return err
		}
		for i := range reports {
			answers[i] = task.Reported{Err: refused[i]}
			if refused[i] == nil {
				answers[i] = u.report(&reports[i])
			}
		}
		return u.finish()
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// open begins with the locking of tasks, and of those that must be submitted if
// one of them dies.
func (u *unit) open(ids []asset.ID, names []taskName) error {
	b := u.t.batch()
	u.lock(b, ids, names)
	if err := u.t.send(b); err != nil {
		return err
	}
	return u.lockFollowed()
}

// lockFollowed locks what may have to follow on the tasks that are loaded.
func (u *unit) lockFollowed() error {
	var names []taskName
	for _, e := range u.byID {
		if n := u.followed(&e.Task); n.function != "" && n.name != "" && e.State == task.Running {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil
	}
	b := u.t.batch()
	u.lock(b, nil, names)
	return u.t.send(b)
}

func (u *unit) report(r *task.Report) task.Reported {
	e := u.byID[r.ID]
	if e == nil || e.change == inserted {
		return task.Reported{Err: missing(r.ID)}
	}
	again, lock, policies := e.Again != nil, e.Lock, u.q.cfg.Policies
	if err := e.Apply(r, policies.For(e.Function), u.now, u.steady); err != nil {
		return task.Reported{Function: e.Function, State: e.State, Err: err}
	}
	u.settle(e, again)
	u.follow(&e.Task)
	u.done.left(policies, &e.Task, lock)
	answer := task.Reported{Function: e.Function, State: e.State, Until: e.Until}
	for _, n := range r.Next {
		u.submit(n)
	}
	return answer
}
