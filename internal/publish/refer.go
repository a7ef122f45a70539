package publish

import (
	"context"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// Refer adds places that are somebody else's: their objects may be what sources
// are read from (Adopt), and are never written or deleted. It is called before
// the service is used.
func (s *Service) Refer(places map[string]blob.Store) {
	for name, store := range places {
		s.references[name] = destination{Store: blob.ReadOnly{Store: store}, foreign: true}
	}
}

// Places is how many destinations and places of others there are.
func (s *Service) Places() int { return len(s.destinations) + len(s.references) }

// Adopt notes that an object of somebody else's has an image's source, after it
// has read it back. Other bytes than the image's are fault.Unavailable: then the
// object is another by now. A name that is taken is an error of Intend's.
func (s *Service) Adopt(ctx context.Context, img asset.Image, place, name string) error {
	p := catalog.Publication{
		Image: img.ID, Owner: img.Owner, Destination: place, Name: name, Digest: img.Source.Digest, Bytes: img.Source.Bytes,
	}
	d, err := s.destination(place)
	if err != nil {
		return err
	}
	if !d.foreign {
		return fault.New(fault.Internal, "the destination %s is our own", place)
	}
	leave, err := s.turns.take(ctx, p)
	if err != nil {
		return err
	}
	defer leave()
	row, known, err := s.row(ctx, p)
	if err != nil || known && row.State == catalog.Confirmed && row.Digest == p.Digest && row.Name == p.Name {
		return err
	}
	if err := verify(ctx, d, p); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the object has changed since it was read")
	}
	if known && row.Name != p.Name { // the object was renamed, or the place's address changed
		if err := s.letGo(ctx, row); err != nil {
			return err
		}
	}
	if err := s.records.Intend(ctx, p); err != nil {
		return err
	}
	ok, err := s.records.Confirm(ctx, p)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "the image was deleted meanwhile")
	}
	return err
}

// letGo takes out the row of an object that is not ours.
func (s *Service) letGo(ctx context.Context, row catalog.Publication) error {
	withdrawn, err := s.records.Withdraw(ctx, row.Image, &row.Preset, &row.Destination)
	for _, p := range withdrawn {
		if err == nil {
			_, err = s.records.ForgetPublication(ctx, p)
		}
	}
	return err
}

// ExpireSource is Expire for an image's source only.
func (s *Service) ExpireSource(ctx context.Context, img asset.Image, before time.Time) (Expired, error) {
	var out Expired
	c := HomeCopy{Digest: img.Source.Digest}
	err := s.expire(ctx, &out, c, blob.SourceName(c.Digest.String()), before, s.sourceUses)
	return out, err
}
