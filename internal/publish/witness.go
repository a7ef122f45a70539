package publish

import (
	"context"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Witness confirms an object that a worker outside was to write: it reads it
// back. Before that, Intended must have been called. Errors are those of
// Publish; other bytes than the image's are fault.Internal.
func (s *Service) Witness(ctx context.Context, img asset.Image, preset, destination string) (catalog.Publication, error) {
	p, d, leave, err := s.outside(ctx, img, preset, destination)
	if err != nil {
		return p, err
	}
	defer leave()
	if err := verify(ctx, d, p); err != nil {
		return p, err
	}
	return s.confirm(ctx, d, p)
}

// Intended notes that a worker outside is going to write an object, and tells
// its name and which bytes it must have.
func (s *Service) Intended(ctx context.Context, img asset.Image, preset, destination string) (catalog.Publication, error) {
	p, _, leave, err := s.outside(ctx, img, preset, destination)
	if err != nil {
		return p, err
	}
	defer leave()
	row, known, err := s.row(ctx, p)
	if err != nil {
		return p, err
	}
	if known && row.State == catalog.Confirmed && row.Digest == p.Digest && row.Name == p.Name {
		return row, nil // it may be the only copy: it stays confirmed
	}
	return p, s.records.Intend(ctx, p)
}

// outside finds what is to be published, under the name that it has or gets,
// and waits for its turn.
func (s *Service) outside(ctx context.Context, img asset.Image, preset, at string) (p catalog.Publication, d destination, leave func(), err error) {
	p = catalog.Publication{Image: img.ID, Owner: img.Owner, Preset: preset, Destination: at}
	if d, err = s.destination(at); err != nil {
		return p, d, nil, err
	}
	if d.foreign {
		return p, d, nil, fault.New(fault.Invalid, "%s is a place of somebody else's, where nothing is published", at)
	}
	if leave, err = s.turns.take(ctx, p); err != nil {
		return p, d, nil, err
	}
	c, err := s.content(ctx, img, preset)
	if err == nil {
		_, _, err = s.aim(ctx, img, d, c, &p)
	}
	if err != nil {
		leave()
		return p, d, nil, err
	}
	return p, d, leave, nil
}
