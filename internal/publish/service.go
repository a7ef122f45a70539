// Package publish copies sources and renditions to destinations, takes them
// back, removes home copies of what is safely published, brings those back
// when they are needed, and holds what the catalog says against what the
// destinations have.
//
// An object's row in the catalog is written before its first byte and removed
// after its last, so that no object is ever forgotten: whatever breaks off is
// found by Reconcile.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// Records is what the service needs of a catalog.
type Records interface {
	catalog.Renditions
	catalog.Publications
	catalog.Expiry
	catalog.Reconciliation
}

// Service publishes. It is safe for concurrent use.
type Service struct {
	destinations map[string]destination
	references   map[string]destination // of others
	home         *blob.Home
	records      Records
	log          *slog.Logger
	turns        turns
	settle       time.Duration // a state that is older is not taken for work under way
}

type destination struct {
	blob.Store
	template *template
	sources  bool
	only     Rule
	foreign  bool // nothing of ours: it is only read
}

// takes tells whether an image's source (preset "") or rendition is published
// there.
func (d destination) takes(img asset.Image, preset string) bool {
	return (preset != "" || d.sources) && d.only.meets(img)
}

// New makes a service over its parts. stores has one for each destination of
// the configuration.
func New(config Config, stores map[string]blob.Store, home *blob.Home, records Records, log *slog.Logger) (*Service, error) {
	s := &Service{destinations: map[string]destination{}, references: map[string]destination{}, home: home, records: records, log: log, settle: time.Hour}
	s.turns.init()
	for name, d := range config.Destinations {
		t, err := d.template()
		if err != nil {
			return nil, fmt.Errorf("destinations.%s: %w", name, err)
		}
		if stores[name] == nil {
			return nil, fault.New(fault.Internal, "the destination %s has no store", name)
		}
		s.destinations[name] = destination{Store: stores[name], template: t, sources: d.takesSources(), only: d.Only}
	}
	return s, nil
}

// Destinations are the names of those that there are, in order.
func (s *Service) Destinations() []string { return slices.Sorted(maps.Keys(s.destinations)) }

// For are the names of the destinations that an image's source (preset "") or
// rendition is published to, in order.
func (s *Service) For(img asset.Image, preset string) []string {
	return slices.DeleteFunc(s.Destinations(), func(name string) bool { return !s.destinations[name].takes(img, preset) })
}

// SweepTemp removes the temporary files that publishing has left at
// destinations when a node died, and tells how many there were; those of other
// nodes when they are older than a time. Every destination is tried.
func (s *Service) SweepTemp(ctx context.Context, olderThan time.Duration) (int, error) {
	removed := 0
	var failed failures
	for _, name := range s.Destinations() {
		sweeper, ok := s.destinations[name].Store.(blob.Sweeper)
		if !ok {
			continue
		}
		n, err := sweeper.SweepTemp(ctx, olderThan)
		removed += n
		if err != nil {
			failed.add(name, err)
		}
	}
	return removed, failed.err("temporary files could not be removed from a destination")
}

// ObjectName is the name that an image's source (preset "") or rendition gets at
// a destination.
func (s *Service) ObjectName(destination string, img asset.Image, preset string, f format.Format) string {
	return s.destinations[destination].template.name(img, preset, f)
}

// destination finds one by its name. One that is not configured (any more) is
// fault.Unavailable: it may come back.
func (s *Service) destination(name string) (destination, error) {
	d, ok := s.destinations[name]
	if !ok {
		d, ok = s.references[name]
	}
	if !ok {
		return d, fault.New(fault.Unavailable, "there is no destination %q in the configuration", name)
	}
	return d, nil
}

// Unpublish withdraws an image's publications and deletes their objects: all of
// them, or those of a preset, a destination, or both where they are not nil. The
// image may be gone. It may be called as often as one likes. Every object is
// tried; rows stay until Reconcile has looked once more. Objects that are too
// young to be removed are fault.Unavailable with TooYoung.
func (s *Service) Unpublish(ctx context.Context, image asset.ID, preset, destination *string) error {
	withdrawn, err := s.records.Withdraw(ctx, image, preset, destination)
	if err != nil {
		return err
	}
	var failed failures
	young := error(nil)
	for _, p := range withdrawn {
		gone, err := s.remove(ctx, p)
		if err == nil && !gone {
			young, err = s.spared(ctx, p, young)
		}
		if err != nil {
			failed.add(p.Destination, err)
		}
	}
	if err := failed.err("an object could not be removed from its destination"); err != nil {
		return err
	}
	return young
}

// TooYoung is the code of an error: an object was left at its destination, since
// by the destination's clock it may have been published again meanwhile. A few
// seconds later that is known.
const TooYoung = "object-too-young"

// spared gives the error of an object that was not removed although nobody has
// published it again, and otherwise the error that was there before.
func (s *Service) spared(ctx context.Context, p catalog.Publication, before error) (young, err error) {
	row, ok, err := s.row(ctx, p)
	if err != nil || !ok || row.State != catalog.Withdrawn {
		return before, err
	}
	return &fault.Error{Kind: fault.Unavailable, Code: TooYoung, Message: "an object is too young to be removed from its destination"}, nil
}

// Forget gives the names of an image's withdrawn publications free, after it has
// removed their objects once more. The caller makes sure that nobody is writing
// one: otherwise they wait for Reconcile.
func (s *Service) Forget(ctx context.Context, image asset.ID) error {
	rows, err := s.records.PublicationsOf(ctx, image)
	if err != nil {
		return err
	}
	for _, p := range rows {
		if p.State != catalog.Withdrawn {
			continue
		}
		gone, err := s.remove(ctx, p)
		young := error(nil)
		switch {
		case err == nil && gone:
			_, err = s.records.ForgetPublication(ctx, p)
		case err == nil:
			young, err = s.spared(ctx, p, nil)
		}
		if err = errors.Join(err, young); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the object of a withdrawn publication, unless it has been
// published again. It tells whether the object is gone.
//
// The clock is read before the row: an object that is committed later than that
// is spared by Delete, and one that was committed before had its row changed
// before, so that a publication which goes on is seen here. That holds between
// processes too, as far as their clocks agree.
func (s *Service) remove(ctx context.Context, p catalog.Publication) (bool, error) {
	d, err := s.destination(p.Destination)
	if err != nil {
		return false, err
	}
	leave, err := s.turns.take(ctx, p)
	if err != nil {
		return false, err
	}
	defer leave()
	looked := time.Now()
	row, ok, err := s.row(ctx, p)
	if err != nil || !ok || row.State != catalog.Withdrawn { // without a row the name may be another's
		return false, err
	}
	if d.foreign {
		return true, nil // the object was never ours: it stays, and the row goes
	}
	return d.Delete(ctx, p.Name, looked)
}

// row is a publication's present row, if there is one.
func (s *Service) row(ctx context.Context, p catalog.Publication) (catalog.Publication, bool, error) {
	rows, err := s.records.PublicationsOf(ctx, p.Image)
	if err != nil {
		return catalog.Publication{}, false, err
	}
	for _, r := range rows {
		if r.Preset == p.Preset && r.Destination == p.Destination {
			return r, true, nil
		}
	}
	return catalog.Publication{}, false, nil
}
