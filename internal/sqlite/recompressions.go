package sqlite

import (
	"context"
	"database/sql"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

var _ catalog.Recompressions = (*DB)(nil)

// The statements; the first has its number in statements.go.
const (
	textPutRecompression = `INSERT INTO recompressions (digest, bytes, reason, tried)
		SELECT digest, ?2, ?3, ?4 FROM blobs WHERE digest = ?1
		ON CONFLICT (digest) DO UPDATE SET (bytes, reason, tried) = (excluded.bytes, excluded.reason, excluded.tried)`
	selectRecompression = `SELECT bytes, reason, tried FROM recompressions WHERE digest = ?`
)

// PutRecompression implements catalog.Recompressions.
func (db *DB) PutRecompression(ctx context.Context, r catalog.Recompression) error {
	return db.writer.do(ctx, func(t *tx) error {
		put, err := t.exec(sqlPutRecompression, r.Source[:], r.Bytes, r.Reason, r.Tried.UnixMilli())
		if err == nil && put == 0 {
			err = fault.New(fault.NotFound, "there is no source with the SHA-256 %s", r.Source)
		}
		return err
	})
}

// RecompressionOf implements catalog.Recompressions.
func (db *DB) RecompressionOf(ctx context.Context, source asset.Digest) (catalog.Recompression, error) {
	var r catalog.Recompression
	var tried int64
	err := db.reads[selectRecompression].QueryRowContext(ctx, source[:]).Scan(&r.Bytes, &r.Reason, &tried)
	switch {
	case err == sql.ErrNoRows:
		return catalog.Recompression{}, fault.New(fault.NotFound, "nobody has tried to recompress this source")
	case err != nil:
		return catalog.Recompression{}, classify(err, "looking for a recompression")
	}
	r.Source, r.Tried = source, stored.Time(tried)
	return r, nil
}
