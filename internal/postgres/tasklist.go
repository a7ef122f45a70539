package postgres

import (
	"context"
	"fmt"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Task implements task.Queue.
func (q *Tasks) Task(ctx context.Context, owner string, id asset.ID) (task.Task, error) {
	k, err := one(ctx, q.db, scanTask, "looking for a task", selectTask, id[:])
	if fault.Of(err) == fault.NotFound || err == nil && owner != "" && k.Owner != owner {
		return task.Task{}, missing(id)
	}
	return k, err
}

// List implements task.Queue.
func (q *Tasks) List(ctx context.Context, query task.Query) (page task.Page, err error) {
	if err := checkLimit(query.Limit); err != nil {
		return task.Page{}, err
	}
	if !storable(query.Owner, query.Function, query.Name) {
		return task.Page{}, nil
	}
	where, args := conditions(query)
	// The limit stands in the text, as the plan depends on it.
	text := fmt.Sprintf(`SELECT %s FROM tasks WHERE %s ORDER BY id DESC LIMIT %d`, taskColumns, strings.Join(append(where, "true"), " AND "), query.Limit+1)
	err = q.db.read(ctx, "listing tasks", func(r reader) error {
		rows, err := r.query(text, args...)
		if err != nil {
			return err
		}
		page.Tasks, page.More, err = collectTasks(rows, query.Limit)
		return err
	})
	if err != nil {
		return task.Page{}, err
	}
	return page, nil
}

// conditions are those of a query, as parts of a WHERE with their arguments.
func conditions(q task.Query) (where []string, args []any) {
	add := func(text string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf(text, len(args)))
	}
	if q.Owner != "" {
		add("owner = $%d", q.Owner)
	}
	if q.ID != (asset.ID{}) {
		add("id = $%d", q.ID[:])
	}
	if len(q.States) == 1 { // which has an index in this order
		add("state = $%d", int16(q.States[0]))
	} else if len(q.States) > 1 {
		states := make([]int16, len(q.States))
		for i, s := range q.States {
			states[i] = int16(s)
		}
		add("state = ANY ($%d)", states)
	}
	if q.Function != "" {
		add("function = $%d", q.Function)
	}
	if q.Name != "" {
		add("name = $%d", q.Name)
	}
	if q.Image != (asset.ID{}) {
		add("image = $%d AND image <> ''", q.Image[:])
	}
	if q.Before != (asset.ID{}) {
		add("id < $%d", q.Before[:])
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
		n, err := q.alterPage(ctx, action, f, page.Tasks)
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

// alterPage alters those of a page that can be, and tells how many.
func (q *Tasks) alterPage(ctx context.Context, action task.Action, f task.Filter, page []task.Task) (n int, err error) {
	if len(page) == 0 {
		return 0, nil
	}
	ids := make([]asset.ID, len(page))
	for i := range page {
		ids[i] = page[i].ID
	}
	err = q.change(ctx, "altering tasks", func(u *unit) error {
		n = 0
		if err := u.openToAlter(action, ids); err != nil {
			return err
		}
		for _, id := range ids {
			switch err := u.alter(action, id, f); fault.Of(err) {
			case fault.Conflict, fault.NotFound:
			default:
				if err != nil {
					return err
				}
				n++
			}
		}
		return u.finish()
	})
	return n, err
}

func (q *Tasks) alterOne(ctx context.Context, action task.Action, f task.Filter) (int, error) {
	err := q.change(ctx, "altering a task", func(u *unit) error {
		if err := u.openToAlter(action, []asset.ID{f.ID}); err != nil {
			return err
		}
		if err := u.alter(action, f.ID, f); err != nil {
			return err
		}
		return u.finish()
	})
	if err != nil {
		return 0, err
	}
	return 1, nil
}

// openToAlter locks tasks, and the live ones that have their names if they are
// to be retried.
func (u *unit) openToAlter(action task.Action, ids []asset.ID) error {
	if err := u.open(ids, nil); err != nil || action != task.Retry {
		return err
	}
	var names []taskName
	for _, e := range u.byID {
		if !e.State.Live() && e.Name != "" {
			names = append(names, nameOf(&e.Task))
		}
	}
	if len(names) == 0 {
		return nil
	}
	b := u.t.batch()
	u.lock(b, nil, names)
	return u.t.send(b)
}

// alter cancels or retries one task, if it (still) is what the filter selects.
func (u *unit) alter(action task.Action, id asset.ID, f task.Filter) error {
	e := u.byID[id]
	if e == nil || !f.Matches(&e.Task) {
		return missing(id)
	}
	switch action {
	case task.Cancel:
		running := e.State == task.Running
		if err := e.Cancel(u.now); err != nil {
			return err
		}
		if running {
			u.done.left(u.q.cfg.Policies, &e.Task, e.Lock)
		}
	case task.Retry:
		if live := u.live(nameOf(&e.Task)); live != nil && live.ID != e.ID {
			return fault.New(fault.Conflict, "the task %s has the same name and is %s; cancel it first", live.ID, live.State)
		}
		if err := e.Retry(u.now); err != nil {
			return err
		}
	default:
		return fault.New(fault.Internal, "there is no such action")
	}
	u.store(e, replaced)
	return nil
}
