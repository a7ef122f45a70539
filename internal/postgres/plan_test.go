package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"safelight/internal/postgres"
)

// TestNoStatementScans checks that every statement finds its rows by an index,
// however many finished tasks there are.
func TestNoStatementScans(t *testing.T) {
	q := openQueue(t, config(fresh(t)), tasksConfig())
	fill(t, q, 20_000)
	for text, plan := range q.db.Plans(t) {
		for _, line := range plan {
			table, scans := strings.CutPrefix(strings.TrimLeft(line, " ->"), "Seq Scan on ")
			if table, _, _ = strings.Cut(table, " "); scans && table != "task_functions" && !postgres.Whole[text] {
				t.Errorf("%s\n  %s", text, strings.Join(plan, "\n  "))
				break
			}
		}
	}
}

// fill stores many finished tasks, and some of every other state.
func fill(t testing.TB, q *queue, finished int) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), string(q.cfg.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, part := range []struct{ state, n int }{{3, finished}, {4, finished / 10}, {0, 100}, {1, 100}, {2, 100}} {
		_, err := conn.Exec(context.Background(), `INSERT INTO tasks SELECT decode(md5(n::text || '/' || $1::smallint::text), 'hex'), 'main', 'render', '', '{}',
			'', '', 0, '', 0, 0, 0, 0, $1::smallint, 0, 0, '', '', '', n, n, 0, '', '', '', '', 0, '', 0, 0, n, 0 FROM generate_series(1, $2::integer) n ON CONFLICT DO NOTHING`, part.state, part.n)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(context.Background(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
}

// TestClaimTouchesNoFinishedTask: what a claim reads doesn't grow with the tasks
// that are finished.
func TestClaimTouchesNoFinishedTask(t *testing.T) {
	q := openQueue(t, config(fresh(t)), tasksConfig())
	fill(t, q, 0)
	few := q.db.ClaimPages(t, "render", "main")
	fill(t, q, 50_000)
	many := q.db.ClaimPages(t, "render", "main")
	for name, pages := range many {
		if pages > 2*few[name]+10 { // the indexes are higher
			t.Errorf("%s reads %d pages with 50,000 finished tasks, and %d without", name, pages, few[name])
		}
	}
	if len(many) == 0 {
		t.Fatal("nothing was measured")
	}
}
