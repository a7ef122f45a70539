package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Task implements task.Queue.
func (q *Tasks) Task(ctx context.Context, owner string, id asset.ID) (task.Task, error) {
	k, err := scanTask(q.db.reads[selectTask].QueryRowContext(ctx, id[:]))
	if errors.Is(err, sql.ErrNoRows) || err == nil && owner != "" && k.Owner != owner {
		return task.Task{}, missing(id)
	}
	return k, classify(err, "looking for a task")
}

// List implements task.Queue.
func (q *Tasks) List(ctx context.Context, query task.Query) (task.Page, error) {
	if query.Limit < 1 || query.Limit > maxList {
		return task.Page{}, fault.New(fault.Invalid, "the limit is %d; it must be between 1 and %d", query.Limit, maxList)
	}
	where, args := conditions(query.Filter)
	if query.Before != (asset.ID{}) {
		where, args = append(where, "id < ?"), append(args, query.Before[:])
	}
	text := `SELECT ` + taskColumns + ` FROM tasks WHERE ` + strings.Join(append(where, "1"), " AND ") + ` ORDER BY id DESC LIMIT ?`
	rows, err := q.db.reading.QueryContext(ctx, text, append(args, query.Limit+1)...)
	if err != nil {
		return task.Page{}, classify(err, "listing tasks")
	}
	found, more, err := collectTasks(rows, query.Limit)
	if err != nil {
		return task.Page{}, classify(err, "listing tasks")
	}
	return task.Page{Tasks: found, More: more}, nil
}

// conditions are those of a filter, as parts of a WHERE with their arguments.
func conditions(f task.Filter) (where []string, args []any) {
	add := func(text string, values ...any) {
		where, args = append(where, text), append(args, values...)
	}
	if f.Owner != "" {
		add("owner = ?", f.Owner)
	}
	if f.ID != (asset.ID{}) {
		add("id = ?", f.ID[:])
	}
	if len(f.States) > 0 {
		states := make([]any, len(f.States))
		for i, s := range f.States {
			states[i] = int(s)
		}
		add("state IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
	}
	if f.Function != "" {
		add("function = ?", f.Function)
	}
	if f.Name != "" {
		add("name = ?", f.Name)
	}
	if f.Image != (asset.ID{}) {
		add("image = ? AND image <> x''", f.Image[:])
	}
	return where, args
}

// alterBatch is how many tasks one transaction of Alter looks at.
const alterBatch = 500

// Alter implements task.Queue. A filter that selects many is carried out in
// several transactions.
func (q *Tasks) Alter(ctx context.Context, action task.Action, f task.Filter) (int, error) {
	if f.ID != (asset.ID{}) {
		return q.alterOne(ctx, action, f)
	}
	if len(f.States) == 0 {
		f.States = []task.State{task.Scheduled, task.Ready, task.Running}
		if action == task.Retry {
			f.States = []task.State{task.Dead, task.Cancelled}
		}
	}
	total := 0
	query := task.Query{Filter: f, Limit: alterBatch}
	for {
		page, err := q.List(ctx, query)
		if err != nil {
			return total, err
		}
		n := 0
		err = q.change(ctx, func(t *tx, done *effects) error {
			n = 0
			for i := range page.Tasks {
				err := q.alter(t, action, page.Tasks[i].ID, f, done)
				switch fault.Of(err) {
				case fault.Conflict, fault.NotFound:
					continue
				}
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += n
		if !page.More {
			return total, nil
		}
		query.Before = page.Tasks[len(page.Tasks)-1].ID
	}
}

func (q *Tasks) alterOne(ctx context.Context, action task.Action, f task.Filter) (int, error) {
	err := q.change(ctx, func(t *tx, done *effects) error { return q.alter(t, action, f.ID, f, done) })
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// alter cancels or retries one task, if it (still) is what the filter selects.
func (q *Tasks) alter(t *tx, action task.Action, id asset.ID, f task.Filter, done *effects) error {
	k, err := scanTask(t.row(sqlLoadTask, id[:]))
	if errors.Is(err, sql.ErrNoRows) || err == nil && !f.Matches(&k) {
		return missing(id)
	}
	if err != nil {
		return err
	}
	now, _ := q.clock()
	switch action {
	case task.Cancel:
		running := k.State == task.Running
		if err = k.Cancel(now); err == nil && running {
			q.left(&k, k.Lock, done)
		}
	case task.Retry:
		err = q.retry(t, &k, now)
	default:
		err = fault.New(fault.Internal, "there is no such action")
	}
	if err != nil {
		return err
	}
	done.note(&k)
	return t.replaceTask(&k)
}

func (q *Tasks) retry(t *tx, k *task.Task, now time.Time) error {
	if !k.State.Live() && k.Name != "" {
		live, err := scanTask(t.row(sqlLiveTask, k.Owner, k.Function, k.Name))
		if err == nil {
			return fault.New(fault.Conflict, "the task %s has the same name and is %s; cancel it first", live.ID, live.State)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return k.Retry(now)
}
