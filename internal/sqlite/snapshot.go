package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// Snapshot reads a database as it was at one moment, while a server may go on
// using it; nothing is written. It is for one goroutine. While it is open the
// write-ahead log can't be cut back.
type Snapshot struct {
	db      *sql.DB
	reading *sql.Conn // in a transaction
	outside *sql.Conn // which sees what others write
	version int64     // what others had written before the moment
}

// OpenSnapshot opens the file at path. A schema that is not this program's is
// fault.Unavailable, a missing file fault.NotFound.
func OpenSnapshot(ctx context.Context, path string) (*Snapshot, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, classify(err, "opening the database")
	}
	if _, err := os.Stat(path); err != nil { // SQLite's own message would not name it
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Wrap(fault.NotFound, err, "there is no database at %s", path)
		}
		return nil, classify(err, "opening the database")
	}
	s := &Snapshot{db: sql.OpenDB(connector(path, Config{BusyTimeout: 10 * time.Second}, "ro"))}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(classify(err, "reading the database"), s.Close())
	}
	return s, nil
}

func (s *Snapshot) begin(ctx context.Context) (err error) {
	if s.outside, err = s.db.Conn(ctx); err != nil {
		return err
	}
	if s.version, err = s.written(ctx); err != nil {
		return err
	}
	if s.reading, err = s.db.Conn(ctx); err != nil {
		return err
	}
	if _, err = s.reading.ExecContext(ctx, `BEGIN`); err != nil {
		return err
	}
	var schema, known int64 // this read is the moment
	if err = s.reading.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&schema); err != nil {
		return fault.Wrap(fault.Unavailable, err, "this is not a catalog of Safelight")
	}
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	for _, f := range files {
		version, err := goose.NumericComponent(f.Name())
		if err != nil {
			return err
		}
		known = max(known, version)
	}
	switch {
	case schema < known:
		return fault.New(fault.Unavailable, "the database has the schema %d of an older version of Safelight; start the server of this version once, which brings it to %d", schema, known)
	case schema > known:
		return fault.New(fault.Unavailable, "the database has the schema %d of a newer version of Safelight; this one knows %d at most and must be updated", schema, known)
	}
	return nil
}

// written changes whenever another connection has committed something.
func (s *Snapshot) written(ctx context.Context) (version int64, err error) {
	err = s.outside.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version)
	return version, err
}

// Stale tells whether anything was written since the moment.
func (s *Snapshot) Stale(ctx context.Context) (bool, error) {
	now, err := s.written(ctx)
	return now != s.version, classify(err, "reading the database")
}

// Identity is a digest of the secret of ids: it tells installations apart.
func (s *Snapshot) Identity(ctx context.Context) (string, error) {
	var secret []byte
	err := s.reading.QueryRowContext(ctx, `SELECT value FROM secrets WHERE name = 'ids'`).Scan(&secret)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fault.New(fault.Unavailable, "the database was never used by a server: there is nothing to carry over")
	}
	if err != nil {
		return "", classify(err, "reading the database")
	}
	sum := sha256.Sum256(append([]byte("safelight installation\n"), secret...))
	return hex.EncodeToString(sum[:]), nil
}

// Count is how many rows a table has.
func (s *Snapshot) Count(ctx context.Context, t stored.Table) (n int64, err error) {
	err = s.reading.QueryRowContext(ctx, `SELECT count(*) FROM `+t.Name).Scan(&n)
	return n, classify(err, "counting rows")
}

// Rows reads a table in the order of its primary key.
func (s *Snapshot) Rows(ctx context.Context, t stored.Table) iter.Seq2[stored.Row, error] {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	text := `SELECT ` + strings.Join(names, ", ") + ` FROM ` + t.Name + ` ORDER BY ` + strings.Join(names[:t.Key], ", ")
	return func(yield func(stored.Row, error) bool) {
		rows, err := s.reading.QueryContext(ctx, text)
		if err != nil {
			yield(nil, classify(err, "reading the table "+t.Name))
			return
		}
		defer func() { _ = rows.Close() }()
		targets := make([]any, len(names))
		for rows.Next() {
			row := make(stored.Row, len(names))
			for i := range row {
				targets[i] = &row[i]
			}
			if err = rows.Scan(targets...); err == nil {
				err = fits(t, row)
			}
			if err != nil {
				break
			}
			if !yield(row, nil) {
				return
			}
		}
		if err == nil {
			err = rows.Err()
		}
		if err != nil {
			yield(nil, classify(err, "reading the table "+t.Name))
		}
	}
}

// fits refuses values of other types than the table's.
func fits(t stored.Table, row stored.Row) error {
	for i, c := range t.Columns {
		ok := row[i] == nil && c.Optional
		switch row[i].(type) {
		case int64:
			ok = c.Kind == stored.Integer || c.Kind == stored.Flag
		case string:
			ok = c.Kind == stored.Text || c.Kind == stored.Token
		case []byte:
			ok = c.Kind == stored.Bytes
		}
		if !ok {
			return stored.Damaged(nil)
		}
	}
	return nil
}

// Close ends the reading.
func (s *Snapshot) Close() error {
	var errs []error
	for _, conn := range []*sql.Conn{s.reading, s.outside} {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	return errors.Join(append(errs, s.db.Close())...)
}
