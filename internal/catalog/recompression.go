package catalog

import (
	"context"
	"time"

	"safelight/internal/asset"
)

// Recompression is what became of a source that was to be kept in a smaller
// form. It goes with the source's row.
type Recompression struct {
	Source asset.Digest
	Bytes  int64     // of the smaller form; 0 where there is none
	Reason string    // why the source stays as it is; "" where it does not
	Tried  time.Time // UTC, milliseconds
}

// Recompressions remembers them, so that what can't be made smaller is not tried
// again and again. Sources are those of any owner. Which forms there are only
// the store can tell: a row is no promise.
type Recompressions interface {
	// PutRecompression stores or replaces what is known of a source. A source
	// that has no row (any more) is fault.NotFound.
	PutRecompression(ctx context.Context, r Recompression) error
	// RecompressionOf finds it; where there is none it is fault.NotFound.
	RecompressionOf(ctx context.Context, source asset.Digest) (Recompression, error)
}
