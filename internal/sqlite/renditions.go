package sqlite

import (
	"context"
	"database/sql"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// PutRendition implements catalog.Renditions.
func (db *DB) PutRendition(ctx context.Context, owner string, r catalog.Rendition) error {
	if r.Preset == "" {
		return fault.New(fault.Internal, "a rendition to keep has no preset")
	}
	return db.writer.do(ctx, func(t *tx) error {
		if err := t.checkImage(owner, r.Image); err != nil {
			return err
		}
		put, err := t.exec(sqlPutRendition, r.Image[:], r.Preset, r.Variant[:], r.Source[:], r.Options, r.Format.String(),
			r.Width, r.Height, r.Pages, r.Bytes, r.Digest[:], r.Created.UnixMilli(), r.FirstBytes, r.Encoder, r.Note)
		if err == nil && put == 0 {
			return fault.New(fault.Conflict, "the preset %q has been rendered with other options meanwhile", r.Preset)
		}
		if err == nil {
			_, err = t.exec(sqlOutdateAlternatives, r.Image[:], r.Preset, r.Variant[:])
		}
		return err
	})
}

// checkImage refuses an image that the owner does not have.
func (t *tx) checkImage(owner string, id asset.ID) error {
	var there bool
	if err := t.row(sqlHasImage, id[:], owner).Scan(&there); err != nil {
		return err
	}
	if !there {
		return fault.New(fault.NotFound, "there is no image with the id %s", id)
	}
	return nil
}

// RenditionOf implements catalog.Renditions.
func (db *DB) RenditionOf(ctx context.Context, owner string, image asset.ID, preset string) (catalog.Rendition, error) {
	r, err := stored.ScanRendition(db.reads[selectRendition].QueryRowContext(ctx, image[:], preset, owner))
	return r, noRendition(err)
}

// KeptVariant implements catalog.Renditions.
func (db *DB) KeptVariant(ctx context.Context, v asset.VariantKey) (catalog.Rendition, error) {
	r, err := stored.ScanRendition(db.reads[selectKept].QueryRowContext(ctx, v[:]))
	if err == sql.ErrNoRows {
		r, err = stored.ScanRendition(db.reads[selectKeptAlternative].QueryRowContext(ctx, v[:]))
	}
	return r, noRendition(err)
}

func noRendition(err error) error {
	if err == sql.ErrNoRows {
		return fault.New(fault.NotFound, "there is no such rendition")
	}
	return classify(err, "looking for a rendition")
}

// RenditionsOf implements catalog.Renditions.
func (db *DB) RenditionsOf(ctx context.Context, owner string, image asset.ID) ([]catalog.Rendition, error) {
	return collect(ctx, db, stored.ScanRendition, selectRenditions, image[:], owner)
}

// RenditionsWith implements catalog.Expiry.
func (db *DB) RenditionsWith(ctx context.Context, d asset.Digest) ([]catalog.Rendition, error) {
	list, err := collect(ctx, db, stored.ScanRendition, selectRenditionsWith, d[:], catalog.MaxUses)
	if err != nil {
		return nil, err
	}
	more, err := collect(ctx, db, stored.ScanRendition, selectAlternativesWith, d[:], catalog.MaxUses)
	return append(list, more...), err
}

// ImagesOf implements catalog.Expiry.
func (db *DB) ImagesOf(ctx context.Context, source asset.Digest) ([]asset.Image, error) {
	return collect(ctx, db, scanImage, selectImagesOf, source[:], catalog.MaxUses)
}

// ImagesAfter implements catalog.Reconciliation.
func (db *DB) ImagesAfter(ctx context.Context, after asset.ID, limit int) ([]asset.Image, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	return collect(ctx, db, scanImage, selectImagesAfter, after[:], limit)
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxList {
		return fault.New(fault.Invalid, "the limit is %d; it must be between 1 and %d", limit, maxList)
	}
	return nil
}

// UnknownRenditions implements catalog.Janitor.
func (db *DB) UnknownRenditions(ctx context.Context, digests []asset.Digest) ([]asset.Digest, error) {
	return db.unknown(ctx, selectRenditionDigest, digests)
}

// collect runs a readers' statement and reads all of its rows.
func collect[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := db.reads[text].QueryContext(ctx, args...)
	if err != nil {
		return nil, classify(err, "reading the catalog")
	}
	return gatherRows(rows, scan)
}

// gatherRows reads all rows and closes them.
func gatherRows[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var list []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, classify(err, "reading the catalog")
		}
		list = append(list, item)
	}
	return list, classify(rows.Err(), "reading the catalog")
}
