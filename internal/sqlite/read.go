package sqlite

import (
	"bytes"
	"context"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// maxList is the most images of one page.
const maxList = 1000

// Image implements catalog.Catalog.
func (db *DB) Image(ctx context.Context, owner string, id asset.ID) (asset.Image, error) {
	img, err := scanImage(db.reads[selectImage].QueryRowContext(ctx, id[:], owner))
	return img, classify(err, "looking for an image")
}

// Resolve implements catalog.Catalog.
func (db *DB) Resolve(ctx context.Context, owner, key string) (asset.Image, error) {
	img, err := scanImage(db.reads[selectByKey].QueryRowContext(ctx, owner, key))
	return img, classify(err, "looking for a key")
}

// List implements catalog.Catalog.
func (db *DB) List(ctx context.Context, q catalog.Query) (catalog.Page, error) {
	if q.Limit < 1 || q.Limit > maxList {
		return catalog.Page{}, fault.New(fault.Invalid, "the limit is %d; it must be between 1 and %d", q.Limit, maxList)
	}
	before := q.Before[:]
	if q.Before == (asset.ID{}) {
		before = bytes.Repeat([]byte{0xff}, len(q.Before)+1) // above every id
	}
	text := listAll
	args := []any{q.Owner, before, q.Limit + 1, nil, nil, nil}
	if q.Prefix != "" {
		text = listPrefix
		args[3], args[4] = q.Prefix, afterPrefix(q.Prefix)
	}
	if q.Tag != "" {
		args[5] = q.Tag
		if text = listTag; q.Prefix != "" {
			text = listPrefixTag
		}
	}
	rows, err := db.reads[text].QueryContext(ctx, args[:parameters(text)]...)
	if err != nil {
		return catalog.Page{}, classify(err, "listing images")
	}
	defer rows.Close()
	var page catalog.Page
	for rows.Next() {
		if len(page.Images) == q.Limit {
			page.More = true
			break
		}
		img, err := scanImage(rows)
		if err != nil {
			return catalog.Page{}, classify(err, "listing images")
		}
		page.Images = append(page.Images, img)
	}
	if err := rows.Err(); err != nil {
		return catalog.Page{}, classify(err, "listing images")
	}
	return page, nil
}

// parameters is how many parameters a listing has: the highest of its numbers.
func parameters(text string) int {
	switch text {
	case listAll:
		return 3
	case listPrefix:
		return 5
	}
	return 6
}

// afterPrefix is a value that sorts right after every key with the prefix: the
// prefix with its last byte counted up. Where that can't be done it is an
// empty blob, which SQLite sorts after all text.
func afterPrefix(prefix string) any {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return string(end[:i+1])
		}
	}
	return []byte{}
}

// CountImages implements catalog.Census.
func (db *DB) CountImages(ctx context.Context, owner string) (n int, err error) {
	err = db.reads[countImages].QueryRowContext(ctx, owner).Scan(&n)
	return n, classify(err, "counting images")
}
