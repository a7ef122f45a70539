package postgres

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
	"safelight/internal/task"
)

// tickBatch bounds the tasks that one transaction of upkeep moves, so that
// others get their turn.
const tickBatch = 1000

// Tick implements task.Keeper. Nodes that tick at the same time wait for each
// other.
func (q *Tasks) Tick(ctx context.Context) (time.Time, error) {
	for {
		now, steady := q.clocks.now()
		due, expires, err := q.upcoming(ctx)
		if err != nil {
			return time.Time{}, err
		}
		isDue, isOver := due != 0 && due <= now.UnixMilli(), expires != 0 && expires <= steady.UnixMilli()
		if !isDue && !isOver {
			return sooner(q.clocks.wait(now, stored.TimeOrZero(due)), q.clocks.wait(steady, stored.TimeOrZero(expires))), nil
		}
		err = q.change(ctx, "making tasks ready that are due", func(u *unit) error {
			b := u.t.batch()
			b.Queue(makeDue, u.now.UnixMilli(), tickBatch).Query(u.noteDue)
			_, err := u.takeBack(b, lockExpired, u.steady.UnixMilli(), tickBatch)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
	}
}

// upcoming reads the times of the next due task and the next end of a lease; 0
// is none. On the way the clocks are compared.
func (q *Tasks) upcoming(ctx context.Context) (due, expires int64, err error) {
	var before, after time.Time
	var server int64
	err = q.db.read(ctx, "looking for due tasks", func(r reader) error {
		before = q.clocks.own()
		err := r.row(selectUpcoming).Scan(&due, &expires, &server)
		after = q.clocks.own()
		return err
	})
	if err == nil {
		q.compare(ctx, before, after, time.UnixMilli(server))
	}
	return due, expires, err
}

func (u *unit) noteDue(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		k := task.Task{State: task.Ready}
		var id []byte
		if err := rows.Scan(&id, &k.Function); err != nil {
			return err
		}
		copy(k.ID[:], id)
		u.done.note(&k)
	}
	return rows.Err()
}

// takeBack ends the leases of the tasks that a statement selects and locks, with
// what is in the batch before it, commits, and tells how many there were.
func (u *unit) takeBack(b *pgx.Batch, text string, args ...any) (int, error) {
	var lost []*entry
	b.Queue(text, args...).Query(func(rows pgx.Rows) error {
		err := u.load(rows)
		lost = slices.SortedFunc(maps.Values(u.byID), func(a, b *entry) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		return err
	})
	if err := u.t.send(b); err != nil {
		return 0, err
	}
	if err := u.lockFollowed(); err != nil {
		return 0, err
	}
	policies := u.q.cfg.Policies
	for _, e := range lost {
		again := e.Again != nil
		u.done.left(policies, &task.Task{Function: e.Function, State: task.Ready}, e.Lock)
		e.Expire(policies.For(e.Function), u.now, u.steady)
		u.settle(e, again)
	}
	for _, e := range lost { // not before all are stored: what follows may change one of them
		u.follow(&e.Task)
	}
	return len(lost), u.finish()
}

// Abandon implements task.Keeper.
func (q *Tasks) Abandon(ctx context.Context, worker string) (int, error) {
	if !storable(worker) {
		return 0, nil
	}
	total := 0
	for {
		n := 0
		err := q.change(ctx, "giving up a worker's tasks", func(u *unit) (err error) {
			n, err = u.takeBack(u.t.batch(), lockHeldBy, worker, tickBatch)
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
		n, err := q.db.exec(ctx, "forgetting finished tasks", pruneTasks, int16(kind.state), kind.before.UnixMilli(), limit-total)
		if err != nil {
			return total, err
		}
		total += int(n)
	}
	return total, nil
}

// Counts implements task.Keeper.
func (q *Tasks) Counts(ctx context.Context) ([]task.Count, error) {
	scan := func(s scanner) (c task.Count, err error) {
		var oldest int64
		err = s.Scan(&c.Function, &c.State, &c.Tasks, &oldest)
		if c.State == task.Ready {
			c.Oldest = stored.TimeOrZero(oldest)
		}
		return c, err
	}
	return collect(ctx, q.db, scan, "counting tasks", selectCounts)
}

// maxFunctions bounds the functions that are remembered: workers may ask for
// whatever they like.
const maxFunctions = 1000

// announcementKept is how long it is remembered that a function was asked for.
const announcementKept = 30 * 24 * time.Hour

// Announce implements task.Keeper.
func (q *Tasks) Announce(ctx context.Context, functions []string) error {
	now, _ := q.clocks.now()
	return q.db.transact(ctx, "noting what workers ask for", func(t *tx) error {
		b := t.batch()
		b.Queue(forgetFunctions, now.Add(-announcementKept).UnixMilli())
		for _, f := range slices.Compact(slices.Sorted(slices.Values(functions))) {
			b.Queue(announceFunction, f, now.UnixMilli(), maxFunctions)
		}
		return t.finish(b)
	})
}

// Announced implements task.Keeper.
func (q *Tasks) Announced(ctx context.Context) (map[string]time.Time, error) {
	type announced struct {
		function string
		at       int64
	}
	scan := func(s scanner) (a announced, err error) {
		err = s.Scan(&a.function, &a.at)
		return a, err
	}
	list, err := collect(ctx, q.db, scan, "listing functions", selectAnnounced)
	if err != nil {
		return nil, err
	}
	asked := make(map[string]time.Time, len(list))
	for _, a := range list {
		asked[a.function] = stored.TimeOrZero(a.at)
	}
	return asked, nil
}

// UnknownOutputs implements task.Outputs.
func (q *Tasks) UnknownOutputs(ctx context.Context, digests []asset.Digest) ([]asset.Digest, error) {
	return collect(ctx, q.db, scanDigest, "looking for outputs", selectUnknownOutput, digestBytes(digests))
}
