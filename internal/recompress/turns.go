package recompress

import (
	"context"

	"safelight/internal/asset"
	"safelight/internal/fault"
)

// turns lets one at a time work on a source. They are striped by the first byte
// of the digest.
type turns [256]chan struct{}

func newTurns() turns {
	var t turns
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for the turn of a source; leave ends it.
func (t *turns) take(ctx context.Context, d asset.Digest) (leave func(), err error) {
	c := t[d[0]]
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Canceled, ctx.Err(), "recompressing was cancelled")
	}
}
