package postgres

import (
	"context"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog/stored"
)

// scanDigest reads a row of one digest.
func scanDigest(s scanner) (d asset.Digest, err error) {
	var b []byte
	if err := s.Scan(&b); err != nil {
		return d, err
	}
	if len(b) != len(d) {
		return d, stored.Damaged(nil)
	}
	copy(d[:], b)
	return d, nil
}

// digestBytes are digests as an array of the database.
func digestBytes(digests []asset.Digest) [][]byte {
	all := make([][]byte, len(digests))
	for i := range digests {
		all[i] = digests[i][:]
	}
	return all
}

// Released implements catalog.Janitor; those released first come first.
func (db *DB) Released(ctx context.Context, before time.Time, limit int) ([]asset.Digest, error) {
	return collect(ctx, db, scanDigest, "listing released sources", selectReleased, before.UnixMilli(), limit)
}

// Forget implements catalog.Janitor.
func (db *DB) Forget(ctx context.Context, source asset.Digest, before time.Time) (bool, error) {
	n, err := db.exec(ctx, "forgetting a source", forgetBlob, source[:], before.UnixMilli())
	return n > 0, err
}

// Unknown implements catalog.Janitor.
func (db *DB) Unknown(ctx context.Context, sources []asset.Digest) ([]asset.Digest, error) {
	return collect(ctx, db, scanDigest, "looking for sources", selectUnknown, digestBytes(sources))
}

// Used implements catalog.Janitor.
func (db *DB) Used(ctx context.Context, source asset.Digest) (bool, error) {
	return one(ctx, db, value[bool], "looking for a source", selectUse, source[:])
}

// DropReplays implements catalog.Janitor.
func (db *DB) DropReplays(ctx context.Context, before time.Time) (int, error) {
	n, err := db.exec(ctx, "forgetting idempotency tokens", dropReplays, before.UnixMilli())
	return int(n), err
}
