package sqlite_test

import (
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/sqlite"
	"safelight/internal/task"
	"safelight/internal/task/tasktest"
)

// queue is a queue with the directory of its database.
type queue struct {
	*sqlite.Tasks
	db  *sqlite.DB
	dir string
}

func openQueue(t *testing.T, dir string, cfg task.Config) *queue {
	t.Helper()
	db := open(t, dir)
	tasks, err := db.Tasks(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &queue{tasks, db, dir}
}

// Reopen implements tasktest.Reopener.
func (q *queue) Reopen(t *testing.T, cfg task.Config) tasktest.Queue {
	t.Helper()
	if err := q.db.Close(); err != nil {
		t.Fatal(err)
	}
	return openQueue(t, q.dir, cfg)
}

// withTasks is a catalog that shows its tasks.
type withTasks struct {
	*sqlite.DB
	tasks *sqlite.Tasks
}

// Queue implements catalogtest.Queued.
func (c withTasks) Queue() task.Queue { return c.tasks }

func openCatalog(t *testing.T, signals *task.Signals) withTasks {
	t.Helper()
	q := openQueue(t, t.TempDir(), task.Config{
		Mint: asset.NewMint([]byte("a secret for tests")), Signals: signals, Policies: task.Policies{Default: task.DefaultPolicy()},
	})
	return withTasks{q.db, q.Tasks}
}

// TestCommitSendsSignals: who waits for tasks is woken by those that come with
// an image, after the commit, and not by those of a change that failed.
func TestCommitSendsSignals(t *testing.T) {
	signals := task.NewSignals()
	c := openCatalog(t, signals)
	w := signals.Wait([]string{"x"})
	defer signals.Leave(w)
	for _, bad := range []bool{true, false} {
		n := catalogtest.NewImage("main", 1, "a")
		if n.Tasks = []task.New{{Function: "x"}}; bad {
			n.Tasks = append(n.Tasks, task.New{Function: "?"})
		}
		if _, err := c.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}}); (err != nil) != bad {
			t.Fatal(err)
		}
		select {
		case <-w.C:
			if bad {
				t.Fatal("a change that failed sent a signal")
			}
		default:
			if !bad {
				t.Fatal("no signal was sent")
			}
		}
	}
}

// TestClockThatStoodWrong: leases that were given while the clock was years
// ahead end after the longest time that a lease can have.
func TestClockThatStoodWrong(t *testing.T) {
	right := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now := right.AddDate(5, 0, 0)
	cfg := task.Config{
		Mint: asset.NewMint([]byte("a secret for tests")), Signals: task.NewSignals(),
		Policies: task.Policies{Default: task.DefaultPolicy()}, Now: func() time.Time { return now },
	}
	dir := t.TempDir()
	q := openQueue(t, dir, cfg)
	if _, err := q.Submit(t.Context(), []task.New{{Owner: "main", Function: "x"}}); err != nil {
		t.Fatal(err)
	}
	held, err := q.Claim(t.Context(), task.Claim{Functions: []string{"x"}, Max: 1, Lease: time.Minute})
	if err != nil || len(held) != 1 {
		t.Fatalf("Claim gave %d tasks, %v", len(held), err)
	}
	now = right
	again := q.Reopen(t, cfg)
	for _, c := range []struct {
		after time.Duration
		state task.State
	}{{0, task.Running}, {task.MaxLease - time.Millisecond, task.Running}, {task.MaxLease, task.Ready}} {
		now = right.Add(c.after)
		if _, err := again.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if k, err := again.Task(t.Context(), "", held[0].ID); err != nil || k.State != c.state {
			t.Fatalf("after %s the task is %s, %v; expected %s", c.after, k.State, err, c.state)
		}
	}
}

func TestTasksConformance(t *testing.T) {
	tasktest.Run(t, func(t *testing.T, cfg task.Config) tasktest.Queue { return openQueue(t, t.TempDir(), cfg) })
}
