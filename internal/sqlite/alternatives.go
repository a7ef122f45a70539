package sqlite

import (
	"context"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// PutAlternatives implements catalog.Renditions.
func (db *DB) PutAlternatives(ctx context.Context, owner string, main catalog.Rendition, list []catalog.Rendition) error {
	return db.writer.do(ctx, func(t *tx) error {
		if err := t.checkImage(owner, main.Image); err != nil {
			return err
		}
		var there bool
		if err := t.row(sqlHasRendition, main.Image[:], main.Preset, main.Variant[:]).Scan(&there); err != nil {
			return err
		}
		if !there {
			return fault.New(fault.Conflict, "the preset %q has been rendered with other options meanwhile", main.Preset)
		}
		if _, err := t.exec(sqlDropAlternatives, main.Image[:], main.Preset); err != nil {
			return err
		}
		for _, r := range list {
			_, err := t.exec(sqlPutAlternative, main.Image[:], main.Preset, r.Variant[:], r.Source[:], r.Options, r.Format.String(),
				r.Width, r.Height, r.Pages, r.Bytes, r.Digest[:], r.Created.UnixMilli(), r.FirstBytes, r.Encoder, r.Note, main.Variant[:])
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// AlternativesTo implements catalog.Renditions.
func (db *DB) AlternativesTo(ctx context.Context, main asset.VariantKey) ([]catalog.Rendition, error) {
	return collect(ctx, db, stored.ScanRendition, selectAlternativesTo, main[:], catalog.MaxUses)
}

// AlternativesOf implements catalog.Renditions.
func (db *DB) AlternativesOf(ctx context.Context, owner string, image asset.ID) ([]catalog.Rendition, error) {
	return collect(ctx, db, stored.ScanRendition, selectAlternativesOf, image[:], owner)
}
