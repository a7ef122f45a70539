package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"safelight/internal/task"
)

// clocks are this node's and the server's. The times of tasks are the server's,
// so that nodes whose clocks differ agree on when a task is due and a lease ends.
// It is safe for concurrent use.
type clocks struct {
	own   func() time.Time
	base  time.Time    // of a clock that goes on evenly when the own one is set
	ahead atomic.Int64 // by which the server's is ahead of that, a time.Duration
	alone bool         // the server's is not looked at
}

// Bounds of what counts as a difference.
const (
	clockNoise = 50 * time.Millisecond // beyond what the way to the server explains
	clockOff   = time.Second           // worth a warning
)

// newClocks makes clocks of a given one, which is then alone, or of this node's.
func newClocks(own func() time.Time) *clocks {
	c := &clocks{own: own, alone: own != nil}
	if own == nil {
		c.own = nodeClock
	}
	c.base = c.own()
	return c
}

// nodeClock is this node's clock.
var nodeClock = time.Now

// even is a time of the own clock on the one that goes on evenly.
func (c *clocks) even(own time.Time) time.Time { return c.base.Add(own.Sub(c.base)) }

// now gives the time of day, and the time for leases, both in milliseconds.
func (c *clocks) now() (now, steady time.Time) {
	t := c.own()
	even := c.even(t).Add(time.Duration(c.ahead.Load())).UTC().Truncate(time.Millisecond)
	if c.alone {
		return t.UTC().Truncate(time.Millisecond), even
	}
	return even, even
}

// wait is when this node's own clock will show what now shows at a time; zero
// is never.
func (c *clocks) wait(now, until time.Time) time.Time {
	if until.IsZero() {
		return until
	}
	return until.Add(c.own().Sub(now))
}

// observe takes note of what the server's clock showed at some time between two
// of the own one, and tells by how much that differs from what was known; 0 is
// no more than it may by chance.
func (c *clocks) observe(before, after, server time.Time) (change time.Duration) {
	way := after.Sub(before)
	known := c.ahead.Load()
	change = server.Sub(c.even(before).Add(way/2)) - time.Duration(known)
	if c.alone || change.Abs() <= way/2+clockNoise || !c.ahead.CompareAndSwap(known, known+int64(change)) {
		return 0
	}
	return change
}

// compare holds this node's clock against the server's.
func (q *Tasks) compare(ctx context.Context, before, after, server time.Time) {
	change := q.clocks.observe(before, after, server)
	if change.Abs() < clockOff {
		return
	}
	q.db.log.Warn("the clocks of this node and of the database's server differ; for tasks the server's counts", "server_ahead", server.Sub(after).Round(time.Millisecond))
	if err := q.clampLeases(ctx); err != nil {
		q.db.log.Warn("leases could not be held against the clock", "error", err)
	}
}

// clampLeases ends leases that end later than any can: a clock stood wrong when
// they were given.
func (q *Tasks) clampLeases(ctx context.Context) error {
	_, steady := q.clocks.now()
	_, err := q.db.exec(ctx, "bounding leases", clampLeases, steady.Add(task.MaxLease).UnixMilli(), steady.Add(task.MaxTimeout).UnixMilli())
	return err
}
