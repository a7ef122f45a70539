package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// unit is what one transaction does with tasks. It loads and locks those that it
// may change, follows the rules of package task on them in memory, in the order
// that the caller asks for, and writes what they have become. It is for one
// goroutine.
type unit struct {
	q           *Tasks
	t           *tx
	now, steady time.Time
	byID        map[asset.ID]*entry
	byName      map[taskName]*entry // those that were looked for; nil where there is none
	order       []*entry            // those to write, in the order of their first change
	done        effects
}

// entry is a task in a unit.
type entry struct {
	task.Task
	change change
}

// change is what has to be written of a task; a greater one holds the lesser.
type change uint8

const (
	unchanged change = iota
	moved            // movedColumns
	replaced         // all
	inserted
)

// taskName is what is unique among live tasks.
type taskName struct{ owner, function, name string }

func nameOf(k *task.Task) taskName { return taskName{k.Owner, k.Function, k.Name} }

func (q *Tasks) unit(t *tx) *unit {
	now, steady := q.clocks.now()
	return &unit{q: q, t: t, now: now, steady: steady, byID: make(map[asset.ID]*entry), byName: make(map[taskName]*entry)}
}

// lock adds to a batch the loading of tasks by their ids, and of the live ones
// by their names; what is loaded already is left as it is.
func (u *unit) lock(b *pgx.Batch, ids []asset.ID, names []taskName) {
	var raw [][]byte
	for _, id := range ids {
		if u.byID[id] == nil {
			raw = append(raw, id[:])
		}
	}
	var owners, functions, texts []string
	for _, n := range names {
		if _, known := u.byName[n]; known || n.name == "" || !storable(n.owner, n.function, n.name) {
			continue
		}
		u.byName[n] = nil
		owners, functions, texts = append(owners, n.owner), append(functions, n.function), append(texts, n.name)
	}
	if len(raw)+len(owners) == 0 {
		return
	}
	b.Queue(lockTasks, raw, owners, functions, texts).Query(u.load)
}

// load takes rows of taskColumns into the unit.
func (u *unit) load(rows pgx.Rows) error {
	list, err := gather(rows, scanTask)
	for _, k := range list {
		u.add(&entry{Task: k})
	}
	return err
}

func (u *unit) add(e *entry) {
	if u.byID[e.ID] != nil {
		return
	}
	u.byID[e.ID] = e
	if e.Name != "" && e.State.Live() {
		u.byName[nameOf(&e.Task)] = e
	}
}

// namesOf are the names of tasks to submit.
func namesOf(tasks []task.New) []taskName {
	var names []taskName
	for _, n := range tasks {
		if n.Name != "" {
			names = append(names, taskName{n.Owner, n.Function, n.Name})
		}
	}
	return names
}

// live is the live task of a name that was locked, or nil.
func (u *unit) live(n taskName) *entry {
	if e := u.byName[n]; e != nil && n.name != "" && e.State.Live() {
		return e
	}
	return nil
}

// store notes that a task has changed.
func (u *unit) store(e *entry, c change) {
	if e.change == unchanged {
		u.order = append(u.order, e)
	}
	e.change = max(e.change, c)
	if e.Name != "" && e.State.Live() {
		u.byName[nameOf(&e.Task)] = e
	}
	u.done.note(&e.Task)
}

// submit stores a checked task, or changes the live one of its name, which must
// have been locked.
func (u *unit) submit(n task.New) task.Task {
	if e := u.live(taskName{n.Owner, n.Function, n.Name}); e != nil {
		e.Resubmit(n, u.now)
		u.store(e, replaced)
		return e.Task
	}
	e := &entry{Task: n.Fresh(u.now)}
	e.ID = u.q.cfg.Mint.New(u.now)
	u.byID[e.ID] = e
	u.store(e, inserted)
	return e.Task
}

// settle stores what a transition has made of a task; again tells whether the
// task was submitted again before, and so may have become another one.
func (u *unit) settle(e *entry, again bool) {
	if again {
		u.store(e, replaced)
	} else {
		u.store(e, moved)
	}
}

// followed is the name of what the policy wants to be submitted if a task dies.
func (u *unit) followed(k *task.Task) taskName {
	return taskName{k.Owner, u.q.cfg.Policies.For(k.Function).OnDead, k.Name}
}

// follow submits what the policy wants when a task has ended dead. Its name must
// have been locked.
func (u *unit) follow(k *task.Task) {
	next := u.q.cfg.Policies.For(k.Function).OnDead
	if next == "" || k.State != task.Dead {
		return
	}
	u.submit(task.New{Owner: k.Owner, Function: next, Name: k.Name, Args: k.Args, Image: k.Image, RunAt: u.now})
}

// write adds to a batch what the tasks have become. Names are given up before
// they are taken.
func (u *unit) write(b *pgx.Batch) error {
	by := make(map[change][]*task.Task)
	for _, e := range u.order {
		by[e.change] = append(by[e.change], &e.Task)
	}
	if list := by[moved]; len(list) > 0 {
		b.Queue(moveTasks, movedArrays(list)...)
	}
	for _, kind := range []struct {
		change change
		text   string
	}{{replaced, replaceTasks}, {inserted, insertTasks}} {
		list := by[kind.change]
		if len(list) == 0 {
			continue
		}
		arrays, err := taskArrays(list)
		if err != nil {
			return err
		}
		b.Queue(kind.text, arrays...)
	}
	return nil
}

func missing(id asset.ID) error {
	return fault.New(fault.NotFound, "there is no task with the id %s", id)
}
