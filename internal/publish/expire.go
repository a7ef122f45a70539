package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
)

// Expired says what became of an image's home copies.
type Expired struct {
	Removed []HomeCopy
	Kept    []HomeCopy // with the reason
	Damaged []Due      // objects that were found to have other bytes, and must be published again
}

// HomeCopy is a source or rendition in the home store, in one of its forms.
type HomeCopy struct {
	Preset string // "" is the source
	Digest asset.Digest
	Bytes  int64  // of the file
	Reason string // why it was kept
}

// Reasons that hold until another publication, or the end of a use, changes them.
const notPublished = "not published yet for every image that uses it"

var tooManyUses = fmt.Sprintf("used by %d images or more, which is too many to be sure of", catalog.MaxUses)

// Waits tells of a copy that was kept whether it may go later by itself, without
// another publication.
func (c HomeCopy) Waits() bool { return c.Reason != notPublished && c.Reason != tooManyUses }

// use is an object that must be published before the bytes may go from home:
// an image's source (preset "") or a rendition.
type use struct {
	image  asset.ID
	preset string
}

// Expire removes the home copies of an image's source and kept renditions that
// were written before a time. Each goes only if, for every image of any owner
// that uses these bytes, a destination has them: confirmed, and now read back
// whole and held against their SHA-256. Copies that are gone already are in
// neither list.
func (s *Service) Expire(ctx context.Context, img asset.Image, before time.Time) (Expired, error) {
	var out Expired
	renditions, err := s.records.RenditionsOf(ctx, img.Owner, img.ID)
	if err != nil {
		return out, err
	}
	source := HomeCopy{Digest: img.Source.Digest}
	err = s.expire(ctx, &out, source, blob.SourceName(source.Digest.String()), before, s.sourceUses)
	for _, r := range renditions {
		if err != nil {
			return out, err
		}
		c := HomeCopy{Preset: r.Preset, Digest: r.Digest}
		err = s.expire(ctx, &out, c, blob.RenditionName(c.Digest.String()), before, s.renditionUses)
	}
	return out, err
}

func (s *Service) sourceUses(ctx context.Context, d asset.Digest) ([]use, error) {
	images, err := s.records.ImagesOf(ctx, d)
	uses := make([]use, len(images))
	for i, img := range images {
		uses[i] = use{img.ID, ""}
	}
	return uses, err
}

func (s *Service) renditionUses(ctx context.Context, d asset.Digest) ([]use, error) {
	renditions, err := s.records.RenditionsWith(ctx, d)
	uses := make([]use, len(renditions))
	for i, r := range renditions {
		uses[i] = use{r.Image, r.Preset}
	}
	return uses, err
}

// expire decides on the home copies of some bytes, of which a source has one in
// each form. A recompressed one is made only while the source itself is here,
// and so none comes after the source has gone.
func (s *Service) expire(ctx context.Context, out *Expired, c HomeCopy, name string, before time.Time, list func(context.Context, asset.Digest) ([]use, error)) error {
	copies, err := s.home.Copies(ctx, name)
	if err != nil {
		return err
	}
	keep := func(reason string) {
		c.Reason = reason
		out.Kept = append(out.Kept, c)
	}
	var sound map[use]catalog.Publication // read back already
	for _, info := range copies {
		c.Bytes = info.Bytes
		if !info.Modified.Before(before) {
			keep("not old enough")
			return nil
		}
		if sound == nil {
			var reason string
			if sound, reason, err = s.prove(ctx, out, c.Digest, list); err != nil {
				return err
			}
			if reason != "" {
				keep(reason)
				return nil
			}
		}
		gone, err := s.removeCopy(ctx, c.Digest, info.Name, before, list, sound)
		switch {
		case err != nil:
			return err
		case !gone:
			keep("changed meanwhile")
			return nil
		}
		out.Removed = append(out.Removed, c)
	}
	return nil
}

// removeCopy removes a home copy. The slow part, reading objects back, came
// before the lock that holds off uploads of the same bytes; under the lock the
// catalog must still say what it said.
func (s *Service) removeCopy(ctx context.Context, digest asset.Digest, name string, before time.Time, list func(context.Context, asset.Digest) ([]use, error), sound map[use]catalog.Publication) (bool, error) {
	return s.home.Remove(ctx, name, before, func() (bool, error) {
		return s.unchanged(ctx, digest, list, sound)
	})
}

// prove reads back an object for every use of some bytes. It gives the
// publications that were seen to be sound, or the reason why there is none for
// some use.
func (s *Service) prove(ctx context.Context, out *Expired, digest asset.Digest, list func(context.Context, asset.Digest) ([]use, error)) (sound map[use]catalog.Publication, reason string, err error) {
	uses, err := list(ctx, digest)
	if err != nil {
		return nil, "", err
	}
	if len(uses) >= catalog.MaxUses {
		return nil, tooManyUses, nil
	}
	published, err := s.records.Published(ctx, digest)
	if err != nil {
		return nil, "", err
	}
	sound = map[use]catalog.Publication{}
	for _, u := range uses {
		reason = notPublished
		for _, p := range published {
			if p.Image != u.image || p.Preset != u.preset {
				continue
			}
			err := s.verified(ctx, p)
			if err == nil {
				sound[u], reason = p, ""
				break
			}
			if ctx.Err() != nil {
				return nil, "", err
			}
			reason = "its object at " + p.Destination + " could not be read back"
			s.log.Warn("a published object could not be read back", "destination", p.Destination, "object", p.Name, "error", err)
			if wrong := (*damaged)(nil); errors.As(err, &wrong) {
				demoted, err := s.demote(ctx, p)
				if err != nil {
					return nil, "", err
				}
				if demoted {
					out.Damaged = append(out.Damaged, Due{p.Image, p.Owner, p.Preset, p.Destination, Damaged})
				}
			}
		}
		if reason != "" {
			return nil, reason, nil
		}
	}
	return sound, "", nil
}

func (s *Service) verified(ctx context.Context, p catalog.Publication) error {
	d, err := s.destination(p.Destination)
	if err != nil {
		return err
	}
	return verify(ctx, d, p)
}

// unchanged tells whether every present use still has the publication that was
// seen to be sound.
func (s *Service) unchanged(ctx context.Context, digest asset.Digest, list func(context.Context, asset.Digest) ([]use, error), sound map[use]catalog.Publication) (bool, error) {
	uses, err := list(ctx, digest)
	if err != nil || len(uses) == 0 || len(uses) >= catalog.MaxUses {
		return false, err
	}
	published, err := s.records.Published(ctx, digest)
	if err != nil {
		return false, err
	}
	still := map[catalog.Publication]bool{}
	for _, p := range published {
		still[p] = true
	}
	for _, u := range uses {
		if p, ok := sound[u]; !ok || !still[p] {
			return false, nil
		}
	}
	return true, nil
}
