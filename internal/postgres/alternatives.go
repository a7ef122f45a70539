package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
)

// PutAlternatives implements catalog.Renditions.
func (db *DB) PutAlternatives(ctx context.Context, owner string, main catalog.Rendition, list []catalog.Rendition) error {
	return db.transact(ctx, "storing other formats of a rendition", func(t *tx) error {
		image, rendition := false, false
		b := t.batch()
		digests := make([][]byte, len(list))
		for i := range list {
			digests[i] = list[i].Digest[:]
		}
		checkRemovals(b, digests)
		checkImage(b, &image, owner, main.Image)
		b.Queue(lockRendition, main.Image[:], main.Preset, main.Variant[:]).Query(func(rows pgx.Rows) error {
			rendition = rows.Next()
			return nil
		})
		if err := t.send(b); err != nil {
			return err
		}
		if !image {
			return noImage(main.Image)
		}
		if !rendition {
			return otherOptions(main.Preset)
		}
		b = t.batch()
		b.Queue(dropAlternatives, main.Image[:], main.Preset)
		for _, r := range list {
			r.Image, r.Preset = main.Image, main.Preset
			b.Queue(putAlternative, append(renditionRow(&r), main.Variant[:])...)
		}
		return t.finish(b)
	})
}

// AlternativesTo implements catalog.Renditions.
func (db *DB) AlternativesTo(ctx context.Context, main asset.VariantKey) ([]catalog.Rendition, error) {
	return collect(ctx, db, stored.ScanRendition, "listing other formats", selectAlternativesTo, main[:], catalog.MaxUses)
}

// AlternativesOf implements catalog.Renditions.
func (db *DB) AlternativesOf(ctx context.Context, owner string, image asset.ID) ([]catalog.Rendition, error) {
	return collect(ctx, db, stored.ScanRendition, "listing other formats", selectAlternativesOf, image[:], owner)
}
