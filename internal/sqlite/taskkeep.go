package sqlite

import (
	"context"
	"database/sql"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
	"safelight/internal/task"
)

// tickBatch bounds the tasks that one transaction of upkeep moves, so that
// others get their turn.
const tickBatch = 1000

// Tick implements task.Keeper.
func (q *Tasks) Tick(ctx context.Context) (time.Time, error) {
	for {
		now, steady := q.clock()
		due, expires, err := q.upcoming(ctx)
		if err != nil {
			return time.Time{}, err
		}
		isDue, isOver := due != 0 && due <= now.UnixMilli(), expires != 0 && expires <= steady.UnixMilli()
		if !isDue && !isOver {
			return earlier(stored.TimeOrZero(due), stored.TimeOrZero(expires).Add(now.Sub(steady)), expires != 0), nil
		}
		err = q.change(ctx, func(t *tx, done *effects) error {
			if err := q.makeDue(t, now, done); err != nil {
				return err
			}
			_, err := q.takeBack(t, now, steady, done, sqlExpired, steady.UnixMilli(), tickBatch)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
	}
}

// earlier is the earlier of two times; zero is never, and b counts only where
// there is one.
func earlier(a, b time.Time, isB bool) time.Time {
	if isB && (a.IsZero() || b.Before(a)) {
		return b
	}
	return a
}

// upcoming reads the times of the next due task and the next end of a lease; 0
// is none.
func (q *Tasks) upcoming(ctx context.Context) (due, expires int64, err error) {
	for _, look := range []struct {
		text string
		into *int64
	}{{selectDue, &due}, {selectLease, &expires}} {
		var at sql.NullInt64
		if err := q.db.reads[look.text].QueryRowContext(ctx).Scan(&at); err != nil {
			return 0, 0, classify(err, "looking for due tasks")
		}
		*look.into = at.Int64
	}
	return due, expires, nil
}

func (q *Tasks) makeDue(t *tx, now time.Time, done *effects) error {
	rows, err := t.rows(sqlMakeDue, now.UnixMilli(), tickBatch)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		k := task.Task{State: task.Ready}
		var id []byte
		if err := rows.Scan(&id, &k.Function); err != nil {
			return err
		}
		copy(k.ID[:], id)
		done.note(&k)
	}
	return rows.Err()
}

// takeBack ends the leases of the tasks that a statement selects, and tells how
// many there were.
func (q *Tasks) takeBack(t *tx, now, steady time.Time, done *effects, statement int, args ...any) (int, error) {
	lost, err := t.tasks(statement, args...)
	if err != nil {
		return 0, err
	}
	for i := range lost {
		again := lost[i].Again != nil
		q.left(&task.Task{Function: lost[i].Function, State: task.Ready}, lost[i].Lock, done)
		lost[i].Expire(q.cfg.Policies.For(lost[i].Function), now, steady)
		if err := t.store(&lost[i], again, done); err != nil {
			return 0, err
		}
	}
	for i := range lost { // not before all are stored: what follows may change one of them
		if err := q.follow(t, &lost[i], now, done); err != nil {
			return 0, err
		}
	}
	return len(lost), nil
}

// Abandon implements task.Keeper.
func (q *Tasks) Abandon(ctx context.Context, worker string) (int, error) {
	total := 0
	for {
		n := 0
		err := q.change(ctx, func(t *tx, done *effects) (err error) {
			now, steady := q.clock()
			n, err = q.takeBack(t, now, steady, done, sqlHeldBy, worker, tickBatch)
			return err
		})
		if err != nil || n == 0 {
			return total, err
		}
		total += n
	}
}

// Prune implements task.Keeper.
func (q *Tasks) Prune(ctx context.Context, done, dead time.Time, limit int) (int, error) {
	total := 0
	for _, kind := range []struct {
		state  task.State
		before time.Time
	}{{task.Done, done}, {task.Cancelled, done}, {task.Dead, dead}} {
		if kind.before.IsZero() || total >= limit {
			continue
		}
		var n int64
		err := q.db.writer.do(ctx, func(t *tx) (err error) {
			n, err = t.exec(sqlPrune, kind.state, kind.before.UnixMilli(), limit-total)
			return err
		})
		if err != nil {
			return total, err
		}
		total += int(n)
	}
	return total, nil
}

// Counts implements task.Keeper.
func (q *Tasks) Counts(ctx context.Context) ([]task.Count, error) {
	rows, err := q.db.reads[selectCounts].QueryContext(ctx)
	if err != nil {
		return nil, classify(err, "counting tasks")
	}
	defer rows.Close()
	var counts []task.Count
	for rows.Next() {
		var c task.Count
		var oldest int64
		if err := rows.Scan(&c.Function, &c.State, &c.Tasks, &oldest); err != nil {
			return nil, classify(err, "counting tasks")
		}
		if c.State == task.Ready {
			c.Oldest = stored.TimeOrZero(oldest)
		}
		counts = append(counts, c)
	}
	return counts, classify(rows.Err(), "counting tasks")
}

// maxFunctions bounds the functions that are remembered: workers may ask for
// whatever they like.
const maxFunctions = 1000

// announcementKept is how long it is remembered that a function was asked for.
const announcementKept = 30 * 24 * time.Hour

// Announce implements task.Keeper.
func (q *Tasks) Announce(ctx context.Context, functions []string) error {
	now, _ := q.clock()
	return q.db.writer.do(ctx, func(t *tx) error {
		if _, err := t.exec(sqlForgetFunctions, now.Add(-announcementKept).UnixMilli()); err != nil {
			return err
		}
		for _, f := range functions {
			if _, err := t.exec(sqlAnnounce, f, now.UnixMilli(), maxFunctions); err != nil {
				return err
			}
		}
		return nil
	})
}

// Announced implements task.Keeper.
func (q *Tasks) Announced(ctx context.Context) (map[string]time.Time, error) {
	rows, err := q.db.reads[selectAnnounced].QueryContext(ctx)
	if err != nil {
		return nil, classify(err, "listing functions")
	}
	defer rows.Close()
	asked := make(map[string]time.Time)
	for rows.Next() {
		var function string
		var at int64
		if err := rows.Scan(&function, &at); err != nil {
			return nil, classify(err, "listing functions")
		}
		asked[function] = stored.TimeOrZero(at)
	}
	return asked, classify(rows.Err(), "listing functions")
}

// UnknownOutputs implements task.Outputs.
func (q *Tasks) UnknownOutputs(ctx context.Context, digests []asset.Digest) ([]asset.Digest, error) {
	return q.db.unknown(ctx, selectOutput, digests)
}
