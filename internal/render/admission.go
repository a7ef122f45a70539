package render

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"safelight/internal/fault"
)

// admission lets renders in by the bytes of pixels that they will hold, and
// keeps a bounded number waiting; the rest are told to come back.
type admission struct {
	budget  int64
	bytes   *semaphore.Weighted
	queue   int64
	wait    time.Duration
	waiting atomic.Int64
	refused atomic.Int64
}

func newAdmission(budget int64, queue int, wait time.Duration) *admission {
	return &admission{budget: budget, bytes: semaphore.NewWeighted(budget), queue: int64(queue), wait: wait}
}

// enter takes cost bytes of the budget (at most all of it), waiting its turn.
// The returned function gives them back. What nobody awaits waits for as long
// as ctx lets it, and takes no place in the queue.
func (a *admission) enter(ctx context.Context, cost int64, urgency Urgency) (func(), error) {
	cost = min(max(cost, 1), a.budget)
	leave := func() { a.bytes.Release(cost) }
	if a.bytes.TryAcquire(cost) { // it gives way to those who wait
		return leave, nil
	}
	if urgency == Unawaited {
		if err := a.bytes.Acquire(ctx, cost); err != nil {
			return nil, fault.Wrap(fault.Timeout, err, "the render could not be started in time")
		}
		return leave, nil
	}
	if a.waiting.Add(1) > a.queue {
		a.waiting.Add(-1)
		return nil, a.refuse("%d renders are already waiting; try again soon", a.queue)
	}
	defer a.waiting.Add(-1)
	waitCtx, cancel := context.WithTimeout(ctx, a.wait)
	defer cancel()
	if err := a.bytes.Acquire(waitCtx, cost); err != nil {
		if ctx.Err() != nil {
			return nil, fault.Wrap(fault.Canceled, ctx.Err(), "the client went away")
		}
		return nil, a.refuse("no render could be started within %s; try again soon", a.wait)
	}
	return leave, nil
}

func (a *admission) refuse(message string, args ...any) error {
	a.refused.Add(1)
	err := fault.New(fault.Unavailable, message, args...)
	err.Code, err.RetryAfter = "overloaded", time.Second
	return err
}
