package redis

import (
	"context"
	"sync/atomic"
	"time"
)

// budget is how long a request may still wait for Redis.
type budget struct{ left atomic.Int64 } // nanoseconds

type contextKey struct{}

// WithBudget gives a request the time that it may wait for Redis in all: every
// call under ctx takes from it what it has waited.
func (c *Client) WithBudget(ctx context.Context) context.Context {
	b := &budget{}
	b.left.Store(int64(c.config.Timeout))
	return context.WithValue(ctx, contextKey{}, b)
}

// patience is how many times the usual limit calls have that nobody waits for.
const patience = 20

// Unhurried is for calls that nobody waits for.
func Unhurried(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, (*budget)(nil))
}

// limit is how long a call may take, and the budget that it takes from. whole
// tells that the limit is not what others have left of a budget.
func (c *Client) limit(ctx context.Context) (limit time.Duration, b *budget, whole bool) {
	limit = c.config.Timeout
	b, set := ctx.Value(contextKey{}).(*budget)
	switch {
	case !set:
		return limit, nil, true
	case b == nil:
		return limit * patience, nil, true
	}
	left := time.Duration(b.left.Load())
	return min(limit, left), b, left > limit/2
}
