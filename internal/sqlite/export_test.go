package sqlite

import (
	"context"
	"fmt"

	"safelight/internal/format"
)

// LimitPages makes the database full beyond a number of pages.
func (db *DB) LimitPages(ctx context.Context, pages int) error {
	return db.writer.do(ctx, func(t *tx) error {
		var n int
		return t.conn.QueryRowContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(&n)
	})
}

// Pages is how many pages the database has.
func (db *DB) Pages(ctx context.Context) (n int, err error) {
	err = db.reading.QueryRowContext(ctx, "PRAGMA page_count").Scan(&n)
	return n, err
}

// Hold runs fn inside the writer, while everything else queues up behind it.
func (db *DB) Hold(ctx context.Context, fn func()) error {
	return db.writer.do(ctx, func(*tx) error { fn(); return nil })
}

// Queued is how many jobs wait.
func (db *DB) Queued() int { return len(db.writer.jobs) }

// RoundTrip stores and reads a header.
func RoundTrip(h format.Header) (format.Header, error) {
	text, err := encodeHeader(h)
	if err != nil {
		return h, err
	}
	return decodeHeader([]byte(text))
}

// Query counts rows for a test.
func (db *DB) Query(ctx context.Context, text string) (n int, err error) {
	err = db.reading.QueryRowContext(ctx, text).Scan(&n)
	return n, err
}
