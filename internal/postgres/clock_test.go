package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"safelight/internal/postgres"
	"safelight/internal/task"
)

// TestClocksDiffer: nodes whose clocks are hours apart agree on what is due, keep
// their leases while they last, and take back what a node that died has held.
// Not parallel: it sets the clock of what is opened meanwhile.
func TestClocksDiffer(t *testing.T) {
	for _, off := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			cfg := config(fresh(t))
			ours := tasksConfig()
			ours.Now = nil
			theirs := ours
			theirs.Signals = task.NewSignals()
			right := openQueue(t, cfg, ours)
			var wrong *queue
			postgres.WithClock(off, func() { wrong = openQueue(t, cfg, theirs) })
			ctx := t.Context()

			begin := time.Now()
			stored, err := wrong.Submit(ctx, []task.New{{Owner: "o", Function: "now"}, {Owner: "o", Function: "later", RunAt: begin.Add(400 * time.Millisecond)}})
			if err != nil {
				t.Fatal(err)
			}
			if d := stored[0].RunAt.Sub(begin); d.Abs() > 10*time.Second {
				t.Errorf("a task that is due at once is due in %v", d)
			}
			for _, q := range []*queue{wrong, right} {
				next, err := q.Tick(ctx)
				if err != nil {
					t.Fatal(err)
				}
				own := time.Now()
				if q == wrong {
					own = own.Add(off)
				}
				if d := next.Sub(own); d <= -time.Second || d > 2*time.Second {
					t.Errorf("the next task is looked for in %v", d)
				}
			}
			held, err := wrong.Claim(ctx, task.Claim{Functions: []string{"now"}, Max: 1, Lease: 700 * time.Millisecond})
			if err != nil || len(held) != 1 {
				t.Fatalf("claimed %d tasks, %v", len(held), err)
			}
			if _, err := right.Tick(ctx); err != nil {
				t.Fatal(err)
			}
			if got, err := right.Claim(ctx, task.Claim{Functions: []string{"now"}, Max: 1, Lease: time.Minute}); err != nil || len(got) != 0 {
				t.Errorf("a task was claimed twice: %d, %v", len(got), err)
			}
			for _, function := range []string{"later", "now"} { // due, and lost
				claimInTime(t, right, function)
			}
		})
	}
}

// claimInTime ticks until a task may be claimed.
func claimInTime(t *testing.T, q *queue, function string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		next, err := q.Tick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Claim(t.Context(), task.Claim{Functions: []string{function}, Max: 1, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no task %s can be claimed", function)
		}
		if !next.IsZero() {
			time.Sleep(min(max(time.Until(next), time.Millisecond), time.Second))
		}
	}
}
