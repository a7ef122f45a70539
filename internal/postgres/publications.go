package postgres

import (
	"context"
	"errors"
	"math"
	"path"
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// named are the columns that name a publication.
func named(p catalog.Publication, more ...any) []any {
	return append([]any{p.Image[:], p.Preset, p.Destination}, more...)
}

// taken is who has a name at a destination.
type taken struct {
	id    []byte
	owner string
	state catalog.PublicationState
}

// Intend implements catalog.Publications.
func (db *DB) Intend(ctx context.Context, p catalog.Publication) error {
	return db.transact(ctx, "noting a publication", func(t *tx) error {
		var (
			there   bool
			earlier *catalog.Publication
			other   *taken
		)
		b := t.batch()
		checkImage(b, &there, p.Owner, p.Image)
		b.Queue(loadPublication, named(p)...).QueryRow(optional(&earlier, stored.ScanPublication))
		var folders []string
		b.Queue(lockObject, p.Destination+"\n"+p.Name)
		for folder := path.Dir(p.Name); folder != "."; folder = path.Dir(folder) {
			folders = append(folders, folder)
			b.Queue(shareObject, p.Destination+"\n"+folder)
		}
		b.Queue(nameTaken, p.Destination, p.Name, p.Name+"/", p.Name+"0", folders).QueryRow(optional(&other, scanTaken)) // "0" follows "/"
		if err := t.send(b); err != nil {
			return err
		}
		now := time.Now().UnixMilli()
		b = t.batch()
		switch {
		case !there:
			return noImage(p.Image)
		case earlier == nil && other != nil:
			return other.refuse(p)
		case earlier == nil:
			b.Queue(insertPublication, named(p, p.Owner, p.Name, p.Digest[:], p.Bytes, int16(catalog.Writing), now)...)
		case earlier.Name != p.Name:
			return fault.New(fault.Conflict, "this is published at %s under the name %q already, not %q", p.Destination, earlier.Name, p.Name)
		default:
			b.Queue(movePublication, named(p, p.Digest[:], p.Bytes, int16(catalog.Writing), now)...)
		}
		return t.finish(b)
	})
}

// optional makes a function that reads a row if there is one.
func optional[T any](into **T, scan func(scanner) (T, error)) func(pgx.Row) error {
	return func(row pgx.Row) error {
		found, err := scan(row)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			*into = nil
			return nil
		case err != nil:
			return err
		}
		*into = &found
		return nil
	}
}

func scanTaken(s scanner) (who taken, err error) {
	err = s.Scan(&who.id, &who.owner, &who.state)
	return who, err
}

// refuse is the error for a name that another object of the destination has.
// Whose it is, only its owner is told.
func (who *taken) refuse(p catalog.Publication) error {
	if who.state == catalog.Withdrawn {
		return &fault.Error{Kind: fault.Unavailable, Code: catalog.NameWithdrawn,
			Message: "the name " + p.Name + " at the destination " + p.Destination + " belonged to an image that is gone, and is not free yet"}
	}
	other := "an image of another owner"
	if who.owner == p.Owner && len(who.id) == len(asset.ID{}) {
		other = "the image " + asset.ID(who.id).String()
	}
	return &fault.Error{Kind: fault.Conflict, Code: "name-taken",
		Message: "the name " + p.Name + " at the destination " + p.Destination + " belongs to " + other + "; a name template with {id} gives each image its own"}
}

// Confirm implements catalog.Publications.
func (db *DB) Confirm(ctx context.Context, p catalog.Publication) (bool, error) {
	var confirmed bool
	err := db.transact(ctx, "confirming a publication", func(t *tx) error {
		confirmed = false
		var row *catalog.Publication
		b := t.batch()
		b.Queue(loadPublication, named(p)...).QueryRow(optional(&row, stored.ScanPublication))
		if err := t.send(b); err != nil {
			return err
		}
		b = t.batch()
		switch {
		case row == nil || row.State == catalog.Withdrawn:
			return t.finish(b)
		case row.Digest != p.Digest:
			return fault.New(fault.Conflict, "other bytes are being published under the name %q at %s", row.Name, row.Destination)
		}
		confirmed = true
		b.Queue(movePublication, named(p, p.Digest[:], p.Bytes, int16(catalog.Confirmed), time.Now().UnixMilli())...)
		return t.finish(b)
	})
	return confirmed && err == nil, err
}

// PublicationsOf implements catalog.Publications.
func (db *DB) PublicationsOf(ctx context.Context, image asset.ID) ([]catalog.Publication, error) {
	return collect(ctx, db, stored.ScanPublication, "listing publications", selectPublicationsOf, image[:])
}

// Published implements catalog.Publications.
func (db *DB) Published(ctx context.Context, d asset.Digest) ([]catalog.Publication, error) {
	return collect(ctx, db, stored.ScanPublication, "listing publications", selectPublished, d[:])
}

// Withdraw implements catalog.Publications.
func (db *DB) Withdraw(ctx context.Context, image asset.ID, preset, destination *string) (withdrawn []catalog.Publication, err error) {
	err = db.transact(ctx, "withdrawing publications", func(t *tx) error {
		b := t.batch()
		b.Queue(withdrawSome, image[:], time.Now().UnixMilli(), preset, destination)
		b.Queue(selectWithdrawn, image[:], preset, destination).Query(func(rows pgx.Rows) (err error) {
			withdrawn, err = gather(rows, stored.ScanPublication)
			return err
		})
		return t.finish(b)
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
		text, args = listPublicationsIn, append(args, int16(*q.State))
	}
	return collect(ctx, db, stored.ScanPublication, "listing publications", text, args...)
}

// CountPublications implements catalog.Reconciliation.
func (db *DB) CountPublications(ctx context.Context) (int, error) {
	return one(ctx, db, value[int], "counting publications", countPublications)
}

// ForgetPublication implements catalog.Reconciliation.
func (db *DB) ForgetPublication(ctx context.Context, p catalog.Publication) (bool, error) {
	n, err := db.exec(ctx, "forgetting a publication", forgetPublication, named(p, p.Updated.UnixMilli())...)
	return n > 0, err
}

// UnknownNames implements catalog.Reconciliation.
func (db *DB) UnknownNames(ctx context.Context, destination string, names []string) ([]string, error) {
	var known []string // to the server
	for _, name := range names {
		if storable(name) {
			known = append(known, name)
		}
	}
	unknown, err := collect(ctx, db, value[string], "looking for published names", selectUnknownNames, destination, known)
	if err != nil || len(known) == len(names) {
		return unknown, err
	}
	for _, name := range names {
		if !storable(name) {
			unknown = append(unknown, name)
		}
	}
	return unknown, nil
}
