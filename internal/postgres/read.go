package postgres

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// maxList is the most images of one page.
const maxList = 1000

// storable tells text that a row may have. The server refuses any other, even
// to look for; so nothing is looked for.
func storable(texts ...string) bool {
	for _, s := range texts {
		if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

// one reads one row; none is pgx.ErrNoRows.
func one[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), doing, text string, args ...any) (found T, err error) {
	err = db.read(ctx, doing, func(r reader) (err error) {
		found, err = scan(r.row(text, args...))
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.Wrap(fault.NotFound, err, "there is no such image")
		}
		return err
	})
	return found, err
}

// collect reads all rows.
func collect[T any](ctx context.Context, db *DB, scan func(scanner) (T, error), doing, text string, args ...any) (list []T, err error) {
	err = db.read(ctx, doing, func(r reader) error {
		rows, err := r.query(text, args...)
		if err != nil {
			return err
		}
		list, err = gather(rows, scan)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// gather reads all rows and closes them.
func gather[T any](rows pgx.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	var list []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}

// value reads a row of one column.
func value[T any](s scanner) (v T, err error) {
	err = s.Scan(&v)
	return v, err
}

// Image implements catalog.Catalog.
func (db *DB) Image(ctx context.Context, owner string, id asset.ID) (asset.Image, error) {
	return one(ctx, db, scanImage, "looking for an image", selectImage, id[:], owner)
}

// Resolve implements catalog.Catalog.
func (db *DB) Resolve(ctx context.Context, owner, key string) (asset.Image, error) {
	if !storable(key) {
		return asset.Image{}, fault.New(fault.NotFound, "there is no such image")
	}
	return one(ctx, db, scanImage, "looking for a key", selectByKey, owner, key)
}

// List implements catalog.Catalog.
func (db *DB) List(ctx context.Context, q catalog.Query) (catalog.Page, error) {
	if err := checkLimit(q.Limit); err != nil {
		return catalog.Page{}, err
	}
	first, end, ok := prefixRange(q.Prefix)
	if !ok || !storable(q.Tag) {
		return catalog.Page{}, nil
	}
	before := q.Before[:]
	if q.Before == (asset.ID{}) {
		before = bytes.Repeat([]byte{0xff}, len(q.Before)+1) // above every id
	}
	text, args := listAll, []any{q.Owner, before, q.Limit + 1}
	switch {
	case q.Prefix != "" && q.Tag != "":
		text, args = listPrefixTag, append(args, first, end, q.Tag)
	case q.Prefix != "":
		text, args = listPrefix, append(args, first, end)
	case q.Tag != "":
		text, args = listTag, append(args, q.Tag)
	}
	images, err := collect(ctx, db, scanImage, "listing images", text, args...)
	if err != nil {
		return catalog.Page{}, err
	}
	more := len(images) > q.Limit
	return catalog.Page{Images: images[:min(len(images), q.Limit)], More: more}, nil
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxList {
		return fault.New(fault.Invalid, "the limit is %d; it must be between 1 and %d", limit, maxList)
	}
	return nil
}

// CountImages implements catalog.Census.
func (db *DB) CountImages(ctx context.Context, owner string) (int, error) {
	return one(ctx, db, value[int], "counting images", countImages, owner)
}

// Secret implements catalog.Catalog.
func (db *DB) Secret(ctx context.Context, name string, fresh func() []byte) ([]byte, error) {
	stored, err := one(ctx, db, value[[]byte], "reading a secret", selectSecret, name)
	if fault.Of(err) != fault.NotFound {
		return stored, err
	}
	if _, err := db.exec(ctx, "storing a secret", putSecret, name, fresh()); err != nil {
		return nil, err
	}
	return one(ctx, db, value[[]byte], "reading a secret", selectSecret, name)
}
