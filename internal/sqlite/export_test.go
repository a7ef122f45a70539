package sqlite

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"safelight/internal/format"

	"safelight/internal/catalog/stored"
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
	text, err := stored.Header(h)
	if err != nil {
		return h, err
	}
	return stored.ParseHeader([]byte(text))
}

// Query counts rows for a test.
func (db *DB) Query(ctx context.Context, text string) (n int, err error) {
	err = db.reading.QueryRowContext(ctx, text).Scan(&n)
	return n, err
}

// PingText is the one statement that may scan (a single row).
const PingText = selectPing

// Plans asks how each statement finds its rows.
func (db *DB) Plans(t *testing.T) map[string][]string {
	t.Helper()
	texts := writeSQL[sqlUseBlob:]
	for text := range db.reads {
		texts = append(texts, text)
	}
	plans := map[string][]string{}
	for _, text := range texts {
		args := strings.Count(text, "?")
		for n := 1; n <= 6 && strings.Contains(text, "?1"); n++ {
			if strings.Contains(text, fmt.Sprint("?", n)) {
				args = n
			}
		}
		rows, err := db.reading.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, args)...)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plans[text] = append(plans[text], detail)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return plans
}
