package sqlite

import (
	"context"
	"time"

	"safelight/internal/asset"
)

// Released implements catalog.Janitor; those released first come first.
func (db *DB) Released(ctx context.Context, before time.Time, limit int) ([]asset.Digest, error) {
	rows, err := db.reads[selectReleased].QueryContext(ctx, before.UnixMilli(), limit)
	if err != nil {
		return nil, classify(err, "listing released sources")
	}
	defer rows.Close()
	var digests []asset.Digest
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, classify(err, "listing released sources")
		}
		var d asset.Digest
		copy(d[:], b)
		digests = append(digests, d)
	}
	return digests, classify(rows.Err(), "listing released sources")
}

// Forget implements catalog.Janitor.
func (db *DB) Forget(ctx context.Context, source asset.Digest, before time.Time) (bool, error) {
	var forgot bool
	err := db.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(sqlForgetBlob, source[:], before.UnixMilli())
		forgot = n > 0
		return err
	})
	return forgot && err == nil, err
}

// Unknown implements catalog.Janitor.
func (db *DB) Unknown(ctx context.Context, sources []asset.Digest) ([]asset.Digest, error) {
	return db.unknown(ctx, selectBlob, sources)
}

// unknown picks those digests for which a statement finds no row.
func (db *DB) unknown(ctx context.Context, text string, digests []asset.Digest) ([]asset.Digest, error) {
	var unknown []asset.Digest
	for _, d := range digests {
		known, err := db.exists(ctx, text, d)
		if err != nil {
			return nil, err
		}
		if !known {
			unknown = append(unknown, d)
		}
	}
	return unknown, nil
}

// Used implements catalog.Janitor.
func (db *DB) Used(ctx context.Context, source asset.Digest) (bool, error) {
	return db.exists(ctx, selectUse, source)
}

func (db *DB) exists(ctx context.Context, text string, d asset.Digest) (bool, error) {
	var found bool
	err := db.reads[text].QueryRowContext(ctx, d[:]).Scan(&found)
	return found, classify(err, "looking for a source")
}

// DropReplays implements catalog.Janitor.
func (db *DB) DropReplays(ctx context.Context, before time.Time) (int, error) {
	var dropped int64
	err := db.writer.do(ctx, func(t *tx) (err error) {
		dropped, err = t.exec(sqlDropReplays, before.UnixMilli())
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(dropped), nil
}
