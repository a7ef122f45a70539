package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"path"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// Intend implements catalog.Publications.
func (db *DB) Intend(ctx context.Context, p catalog.Publication) error {
	return db.writer.do(ctx, func(t *tx) error { return t.intend(p) })
}

func (t *tx) intend(p catalog.Publication) error {
	if err := t.checkImage(p.Owner, p.Image); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	earlier, err := stored.ScanPublication(t.row(sqlLoadPublication, p.Image[:], p.Preset, p.Destination))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if err := t.checkName(p); err != nil {
			return err
		}
		_, err = t.exec(sqlInsertPublication, p.Image[:], p.Preset, p.Destination, p.Owner, p.Name, p.Digest[:], p.Bytes, catalog.Writing, now)
	case err == nil && earlier.Name != p.Name:
		return fault.New(fault.Conflict, "this is published at %s under the name %q already, not %q", p.Destination, earlier.Name, p.Name)
	case err == nil:
		_, err = t.exec(sqlMovePublication, p.Digest[:], p.Bytes, catalog.Writing, now, p.Image[:], p.Preset, p.Destination)
	}
	return err
}

// checkName refuses a name that another object of the destination has. Whose it
// is, only its owner is told.
func (t *tx) checkName(p catalog.Publication) error {
	var id []byte
	var owner string
	var state catalog.PublicationState
	err := t.row(sqlNameTaken, p.Destination, p.Name, p.Name+"/", p.Name+"0").Scan(&id, &owner, &state) // "0" follows "/"
	for folder := path.Dir(p.Name); errors.Is(err, sql.ErrNoRows) && folder != "."; folder = path.Dir(folder) {
		err = t.row(sqlNameTaken, p.Destination, folder, folder, folder).Scan(&id, &owner, &state)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if state == catalog.Withdrawn {
		return &fault.Error{Kind: fault.Unavailable, Code: catalog.NameWithdrawn,
			Message: "the name " + p.Name + " at the destination " + p.Destination + " belonged to an image that is gone, and is not free yet"}
	}
	other := "an image of another owner"
	if owner == p.Owner && len(id) == len(asset.ID{}) {
		other = "the image " + asset.ID(id).String()
	}
	return &fault.Error{Kind: fault.Conflict, Code: "name-taken",
		Message: "the name " + p.Name + " at the destination " + p.Destination + " belongs to " + other + "; a name template with {id} gives each image its own"}
}

// Confirm implements catalog.Publications.
func (db *DB) Confirm(ctx context.Context, p catalog.Publication) (bool, error) {
	var confirmed bool
	err := db.writer.do(ctx, func(t *tx) error {
		confirmed = false
		row, err := stored.ScanPublication(t.row(sqlLoadPublication, p.Image[:], p.Preset, p.Destination))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return err
		case row.State == catalog.Withdrawn:
			return nil
		case row.Digest != p.Digest:
			return fault.New(fault.Conflict, "other bytes are being published under the name %q at %s", row.Name, row.Destination)
		}
		confirmed = true
		_, err = t.exec(sqlMovePublication, p.Digest[:], p.Bytes, catalog.Confirmed, time.Now().UnixMilli(), p.Image[:], p.Preset, p.Destination)
		return err
	})
	return confirmed && err == nil, err
}

// PublicationsOf implements catalog.Publications.
func (db *DB) PublicationsOf(ctx context.Context, image asset.ID) ([]catalog.Publication, error) {
	return collect(ctx, db, stored.ScanPublication, selectPublicationsOf, image[:])
}

// Published implements catalog.Publications.
func (db *DB) Published(ctx context.Context, d asset.Digest) ([]catalog.Publication, error) {
	return collect(ctx, db, stored.ScanPublication, selectPublished, d[:])
}

// Withdraw implements catalog.Publications.
func (db *DB) Withdraw(ctx context.Context, image asset.ID, preset, destination *string) ([]catalog.Publication, error) {
	var withdrawn []catalog.Publication
	err := db.writer.do(ctx, func(t *tx) error {
		withdrawn = nil
		rows, err := t.rows(sqlPublicationsOf, image[:])
		if err != nil {
			return err
		}
		list, err := gatherRows(rows, stored.ScanPublication)
		if err != nil {
			return err
		}
		now := time.Now().UnixMilli()
		for _, p := range list {
			if preset != nil && p.Preset != *preset || destination != nil && p.Destination != *destination {
				continue
			}
			if p.State != catalog.Withdrawn {
				if _, err := t.exec(sqlWithdrawOne, now, p.Image[:], p.Preset, p.Destination); err != nil {
					return err
				}
				p.State, p.Updated = catalog.Withdrawn, stored.Time(now)
			}
			withdrawn = append(withdrawn, p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return withdrawn, nil
}

// ListPublications implements catalog.Reconciliation.
func (db *DB) ListPublications(ctx context.Context, q catalog.PublicationQuery) ([]catalog.Publication, error) {
	if err := checkLimit(q.Limit); err != nil {
		return nil, err
	}
	before := int64(math.MaxInt64)
	if !q.Before.IsZero() {
		before = q.Before.UnixMilli()
	}
	text, args := listPublications, []any{q.After.Image[:], q.After.Preset, q.After.Destination, before, q.Limit}
	if q.State != nil {
		text, args = listPublicationsIn, append(args, *q.State)
	}
	return collect(ctx, db, stored.ScanPublication, text, args...)
}

// CountPublications implements catalog.Reconciliation.
func (db *DB) CountPublications(ctx context.Context) (n int, err error) {
	err = db.reads[countPublications].QueryRowContext(ctx).Scan(&n)
	return n, classify(err, "counting publications")
}

// ForgetPublication implements catalog.Reconciliation.
func (db *DB) ForgetPublication(ctx context.Context, p catalog.Publication) (bool, error) {
	var forgot bool
	err := db.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(sqlForgetPublication, p.Image[:], p.Preset, p.Destination, p.Updated.UnixMilli())
		forgot = n > 0
		return err
	})
	return forgot && err == nil, err
}

// UnknownNames implements catalog.Reconciliation.
func (db *DB) UnknownNames(ctx context.Context, destination string, names []string) ([]string, error) {
	var unknown []string
	for _, name := range names {
		var found bool
		if err := db.reads[selectPublishedName].QueryRowContext(ctx, destination, name).Scan(&found); err != nil {
			return nil, classify(err, "looking for a published name")
		}
		if !found {
			unknown = append(unknown, name)
		}
	}
	return unknown, nil
}
