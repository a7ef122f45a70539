package publish

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// turns lets one at a time write or remove an object, so that of two who write
// different bytes each reads back its own. They are striped: two objects may
// have to wait for each other.
type turns struct {
	seed  maphash.Seed
	taken [1024]chan struct{}
}

func (t *turns) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.taken {
		t.taken[i] = make(chan struct{}, 1)
	}
}

// take waits for the turn of a publication; leave ends it.
func (t *turns) take(ctx context.Context, p catalog.Publication) (leave func(), err error) {
	h := maphash.Comparable(t.seed, [3]string{string(p.Image[:]), p.Preset, p.Destination})
	c := t.taken[h%uint64(len(t.taken))]
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, canceled(ctx)
	}
}

// canceled classifies the end of a context.
func canceled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, ctx.Err(), "publishing took too long")
	}
	return fault.Wrap(fault.Canceled, ctx.Err(), "publishing was cancelled")
}

// failures gathers what went wrong at several destinations.
type failures struct{ errs []error }

func (f *failures) add(where string, err error) {
	f.errs = append(f.errs, fmt.Errorf("%s: %w", where, err))
}

// err is nil where nothing failed, and otherwise of the first kind that may
// pass, or else of the first.
func (f *failures) err(message string) error {
	if len(f.errs) == 0 {
		return nil
	}
	kind := fault.Of(f.errs[0])
	for _, err := range f.errs {
		if fault.Retryable(err) {
			kind = fault.Of(err)
			break
		}
	}
	return fault.Wrap(kind, errors.Join(f.errs...), "%s", message)
}
