package cdkblob

import (
	"context"
	"time"
)

type clockKey struct{}

// withClock makes a context in which the clock of the last answer is noted, by
// transports that do so.
func withClock(ctx context.Context) (context.Context, *time.Time) {
	at := new(time.Time)
	return context.WithValue(ctx, clockKey{}, at), at
}
