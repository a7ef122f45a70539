package recall

import (
	"context"

	"safelight/internal/asset"
	"safelight/internal/blob"
)

// forgetter keeps files, and can let go of them.
type forgetter interface {
	Forget(place, name string)
	ForgetPlace(place string)
}

// Purger removes from a cache of blobs what it has of a source, as caches of
// renditions do.
type Purger struct{ Cache forgetter }

// Purge forgets a source in all its forms, and what was recalled of it.
func (p Purger) Purge(_ context.Context, source asset.Digest) error {
	p.Cache.Forget("", blob.SourceName(source.String()))
	p.Cache.Forget("", blob.RecompressedName(source.String()))
	p.Cache.ForgetPlace(Place(source))
	return nil
}
