package sqlite_test

import (
	"testing"

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

func TestTasksConformance(t *testing.T) {
	tasktest.Run(t, func(t *testing.T, cfg task.Config) tasktest.Queue { return openQueue(t, t.TempDir(), cfg) })
}
