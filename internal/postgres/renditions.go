package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// checkImage adds to a batch that an image of the owner must be there, and
// stays until the transaction has ended.
func checkImage(b *pgx.Batch, there *bool, owner string, id asset.ID) {
	b.Queue(lockImage, id[:], owner).Query(func(rows pgx.Rows) error {
		*there = rows.Next()
		return nil
	})
}

func noImage(id asset.ID) error {
	return fault.New(fault.NotFound, "there is no image with the id %s", id)
}

func otherOptions(preset string) error {
	return fault.New(fault.Conflict, "the preset %q has been rendered with other options meanwhile", preset)
}

// renditionRow are the values of stored.RenditionColumns.
func renditionRow(r *catalog.Rendition) []any {
	return []any{
		r.Image[:], r.Preset, r.Variant[:], r.Source[:], r.Options, r.Format.String(), r.Width, r.Height, r.Pages, r.Bytes,
		r.Digest[:], r.Created.UnixMilli(), r.FirstBytes, r.Encoder, r.Note,
	}
}

// PutRendition implements catalog.Renditions.
func (db *DB) PutRendition(ctx context.Context, owner string, r catalog.Rendition) error {
	if r.Preset == "" {
		return fault.New(fault.Internal, "a rendition to keep has no preset")
	}
	return db.transact(ctx, "storing a rendition", func(t *tx) error {
		there, put := false, false
		b := t.batch()
		checkRemovals(b, [][]byte{r.Digest[:]})
		checkImage(b, &there, owner, r.Image)
		b.Queue(putRendition, append(renditionRow(&r), owner)...).Query(func(rows pgx.Rows) error {
			put = rows.Next()
			return nil
		})
		if err := t.send(b); err != nil {
			return err
		}
		if !there {
			return noImage(r.Image)
		}
		if !put {
			return otherOptions(r.Preset)
		}
		b = t.batch()
		b.Queue(outdateAlternatives, r.Image[:], r.Preset, r.Variant[:])
		return t.finish(b)
	})
}

// RenditionOf implements catalog.Renditions.
func (db *DB) RenditionOf(ctx context.Context, owner string, image asset.ID, preset string) (catalog.Rendition, error) {
	if !storable(preset) {
		return catalog.Rendition{}, noRendition()
	}
	return db.rendition(ctx, selectRendition, image[:], preset, owner)
}

// KeptVariant implements catalog.Renditions.
func (db *DB) KeptVariant(ctx context.Context, v asset.VariantKey) (catalog.Rendition, error) {
	r, err := db.rendition(ctx, selectKept, v[:])
	if fault.Of(err) == fault.NotFound {
		r, err = db.rendition(ctx, selectKeptAlternative, v[:])
	}
	return r, err
}

func (db *DB) rendition(ctx context.Context, text string, args ...any) (catalog.Rendition, error) {
	r, err := one(ctx, db, stored.ScanRendition, "looking for a rendition", text, args...)
	if fault.Of(err) == fault.NotFound {
		err = noRendition()
	}
	return r, err
}

func noRendition() error { return fault.New(fault.NotFound, "there is no such rendition") }

// RenditionsOf implements catalog.Renditions.
func (db *DB) RenditionsOf(ctx context.Context, owner string, image asset.ID) ([]catalog.Rendition, error) {
	return collect(ctx, db, stored.ScanRendition, "listing renditions", selectRenditions, image[:], owner)
}

// RenditionsWith implements catalog.Expiry.
func (db *DB) RenditionsWith(ctx context.Context, d asset.Digest) ([]catalog.Rendition, error) {
	list, err := collect(ctx, db, stored.ScanRendition, "listing renditions", selectRenditionsWith, d[:], catalog.MaxUses)
	if err != nil {
		return nil, err
	}
	more, err := collect(ctx, db, stored.ScanRendition, "listing renditions", selectAlternativesWith, d[:], catalog.MaxUses)
	return append(list, more...), err
}

// ImagesOf implements catalog.Expiry.
func (db *DB) ImagesOf(ctx context.Context, source asset.Digest) ([]asset.Image, error) {
	return collect(ctx, db, scanImage, "listing images", selectImagesOf, source[:], catalog.MaxUses)
}

// ImagesAfter implements catalog.Reconciliation.
func (db *DB) ImagesAfter(ctx context.Context, after asset.ID, limit int) ([]asset.Image, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	return collect(ctx, db, scanImage, "listing images", selectImagesAfter, after[:], limit)
}

// UnknownRenditions implements catalog.Janitor.
func (db *DB) UnknownRenditions(ctx context.Context, digests []asset.Digest) ([]asset.Digest, error) {
	return collect(ctx, db, scanDigest, "looking for renditions", selectUnknownRenditions, digestBytes(digests))
}
