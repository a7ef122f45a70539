package postgres

import (
	"context"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

const (
	putRecompression = `INSERT INTO recompressions (digest, bytes, reason, tried)
		SELECT digest, $2, $3, $4 FROM blobs WHERE digest = $1
		ON CONFLICT (digest) DO UPDATE SET (bytes, reason, tried) = (excluded.bytes, excluded.reason, excluded.tried)`
	selectRecompression = `SELECT bytes, reason, tried FROM recompressions WHERE digest = $1`
)

// PutRecompression implements catalog.Recompressions.
func (db *DB) PutRecompression(ctx context.Context, r catalog.Recompression) error {
	put, err := db.exec(ctx, "storing a recompression", putRecompression, r.Source[:], r.Bytes, r.Reason, r.Tried.UnixMilli())
	if err == nil && put == 0 {
		err = fault.New(fault.NotFound, "there is no source with the SHA-256 %s", r.Source)
	}
	return err
}

// RecompressionOf implements catalog.Recompressions.
func (db *DB) RecompressionOf(ctx context.Context, source asset.Digest) (catalog.Recompression, error) {
	scan := func(s scanner) (r catalog.Recompression, err error) {
		var tried int64
		err = s.Scan(&r.Bytes, &r.Reason, &tried)
		r.Source, r.Tried = source, stored.Time(tried)
		return r, err
	}
	r, err := one(ctx, db, scan, "looking for a recompression", selectRecompression, source[:])
	if fault.Of(err) == fault.NotFound {
		return catalog.Recompression{}, fault.New(fault.NotFound, "nobody has tried to recompress this source")
	}
	return r, err
}
