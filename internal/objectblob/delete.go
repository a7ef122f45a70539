package objectblob

import (
	"context"
	"time"

	"safelight/internal/fault"
)

// Delete implements blob.Store. Where it can't be sure that an object was
// committed before unless, it leaves the object and tells false; a second or two
// later, a call with a later unless will delete it.
//
// Three clocks are involved. What the caller means by unless is its own; Modified
// is the service's, in whole seconds; and the two need not agree. So the object's
// age is taken from one answer of the service, as the difference between the
// clock of that answer and Modified, and counted back from when the answer came,
// which is too early by no more than the rounding. Modified of an object that
// came in parts may be when its upload began. That is early enough: whoever wants
// to keep an object says so (in its publication's row) before the upload begins,
// and whoever deletes it reads the clock before it looks whether anybody does.
//
// Between the look and the deletion the object may be written once more. The
// deletion is tied to the version that was seen where the service can do that;
// S3's entity tag is the same for the same bytes, and OSS has no such condition.
// What is left is a matter of milliseconds between two processes, since within
// one the writers of an object take turns (package publish), and the next
// reconciliation writes again what is missing.
func (s *Store) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	key, err := s.key(name)
	if err != nil {
		return false, err
	}
	o, err := s.head(ctx, key)
	if fault.Of(err) == fault.NotFound {
		if err := s.missing(ctx, err); fault.Of(err) != fault.NotFound {
			return false, err
		}
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !latest(o, time.Now()).Before(unless) {
		return false, nil
	}
	err = s.call(ctx, func(ctx context.Context) error { return s.driver.Delete(ctx, key, o.Version) })
	switch {
	case err == nil || fault.Of(err) == fault.NotFound:
		return true, nil
	case fault.Of(err) == fault.Precondition:
		return false, nil
	}
	return false, err
}

const (
	// rounding is by how much an age can be too large: both clocks are cut to
	// seconds, and those of a service's machines are not quite the same.
	rounding = 2 * time.Second
	// strange is how far a service's clock is taken to be off that does not tell.
	strange = 5 * time.Minute
)

// latest is when an object was committed at the latest, by our clock, if the
// service told of it by the time answered.
func latest(o Object, answered time.Time) time.Time {
	if o.Asked.IsZero() {
		return o.Modified.Add(strange)
	}
	return answered.Add(o.Modified.Sub(o.Asked)).Add(rounding)
}
