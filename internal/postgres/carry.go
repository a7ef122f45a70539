package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/catalog/stored"
	"safelight/internal/fault"
)

// Filling is a database that is filled with what another one has, before any
// server uses it. It is for one goroutine.
type Filling struct {
	pool *pgxpool.Pool
	held *pgxpool.Conn // has the lock under which databases are filled
}

// fillingLock is the key of the advisory lock that one who fills a database
// holds.
const fillingLock int64 = 0x5afe_1197_0010

// OpenFilling connects to the database and brings its schema up to date. Errors
// are those of Open; another one that fills it is fault.Conflict.
func OpenFilling(ctx context.Context, cfg Config, log *slog.Logger) (*Filling, error) {
	settings, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, settings.ConnConfig, log, func(context.Context, *pgx.Conn) error { return nil }); err != nil {
		return nil, err
	}
	settings.MinConns, settings.MaxConns = 0, 3                               // the lock's, one that reads and one that writes
	settings.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { // tables are read whole here
		_, err := conn.Exec(ctx, `SET synchronous_commit = off`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), settings)
	if err != nil {
		return nil, classify(err, "connecting to the database")
	}
	f := &Filling{pool: pool}
	if err := f.lock(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Filling) lock(ctx context.Context) (err error) {
	if f.held, err = f.pool.Acquire(ctx); err != nil {
		return classify(err, "connecting to the database")
	}
	var got bool
	if err := f.held.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, fillingLock).Scan(&got); err != nil {
		return classify(err, "locking the database")
	}
	if !got {
		return fault.New(fault.Conflict, "another safelight migrate is filling this database")
	}
	return nil
}

// Close gives the lock back and closes the connections.
func (f *Filling) Close() {
	if f.held != nil { // its connection is not used again: the lock goes with it
		_ = f.held.Hijack().Close(context.Background())
	}
	f.pool.Close()
}

// Begin notes from where the database is being filled, so that no server uses it
// before Finish. One that has rows from elsewhere, or that servers use, is
// fault.Conflict.
func (f *Filling) Begin(ctx context.Context, identity string) error {
	return f.change(ctx, func(tx pgx.Tx) error {
		var source string
		var served *int64
		err := tx.QueryRow(ctx, `SELECT source, served FROM carried FOR UPDATE`).Scan(&source, &served)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			if err := f.nothing(ctx); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO carried (source, started) VALUES ($1, $2)`, identity, time.Now().UnixMilli())
			return err
		case err != nil:
			return err
		case source != identity:
			return fault.New(fault.Conflict, "the database was filled from another installation; an empty one is needed")
		case served != nil:
			return fault.New(fault.Conflict, "servers use this database since %s: carrying over once more would undo what they wrote; an empty one is needed",
				time.UnixMilli(*served).UTC().Format(time.RFC3339))
		}
		_, err = tx.Exec(ctx, `UPDATE carried SET finished = NULL`)
		return err
	})
}

// nothing makes sure that the database is empty.
func (f *Filling) nothing(ctx context.Context) error {
	for _, t := range stored.Tables() {
		empty, err := f.Empty(ctx, t)
		if err != nil {
			return err
		}
		if !empty {
			return fault.New(fault.Conflict, "the database is not empty (%s has rows), as a server has used it; an empty one is needed", t.Name)
		}
	}
	return nil
}

// Finish lets servers use the database.
func (f *Filling) Finish(ctx context.Context) error {
	return f.change(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = on`)
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE carried SET finished = $1`, time.Now().UnixMilli())
		}
		return err
	})
}

// Empty tells whether a table has no rows.
func (f *Filling) Empty(ctx context.Context, t stored.Table) (empty bool, err error) {
	err = f.pool.QueryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM `+t.Name+`)`).Scan(&empty)
	return empty, classify(err, "reading the table "+t.Name)
}

// Rows reads a table in the order of its primary key, texts by their bytes.
func (f *Filling) Rows(ctx context.Context, t stored.Table) iter.Seq2[stored.Row, error] {
	read, order := make([]string, len(t.Columns)), make([]string, t.Key)
	for i, c := range t.Columns {
		read[i] = c.Name
		if c.Kind == stored.Integer {
			read[i] += "::bigint"
		}
		if i < t.Key {
			order[i] = c.Name
			if c.Kind == stored.Text {
				order[i] += ` COLLATE "C"`
			}
		}
	}
	text := `SELECT ` + strings.Join(read, ", ") + ` FROM ` + t.Name + ` ORDER BY ` + strings.Join(order, ", ")
	return func(yield func(stored.Row, error) bool) {
		rows, err := f.pool.Query(ctx, text)
		if err != nil {
			yield(nil, classify(err, "reading the table "+t.Name))
			return
		}
		defer rows.Close()
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				yield(nil, classify(err, "reading the table "+t.Name))
				return
			}
			if !yield(fromColumns(t, values), nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, classify(err, "reading the table "+t.Name))
		}
	}
}

// fromColumns makes a row of what the driver gives, in its place.
func fromColumns(t stored.Table, values []any) stored.Row {
	for i, c := range t.Columns {
		switch v := values[i].(type) {
		case bool:
			values[i] = int64(0)
			if v {
				values[i] = int64(1)
			}
		case []byte:
			if c.Kind == stored.Token {
				values[i] = string(v)
			}
		}
	}
	return values
}

// toColumns is the reverse, in new places.
func toColumns(t stored.Table, row stored.Row) []any {
	values := append([]any(nil), row...)
	for i, c := range t.Columns {
		switch v := values[i].(type) {
		case int64:
			if c.Kind == stored.Flag {
				values[i] = v != 0
			}
		case string:
			if c.Kind == stored.Token {
				values[i] = []byte(v)
			}
		}
	}
	return values
}

// Add stores rows that are not there.
func (f *Filling) Add(ctx context.Context, t stored.Table, rows []stored.Row) error {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return f.change(ctx, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{t.Name}, names, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return toColumns(t, rows[i]), nil }))
		return err
	})
}

// Change overwrites rows that are there.
func (f *Filling) Change(ctx context.Context, t stored.Table, rows []stored.Row) error {
	var set []string
	for i, c := range t.Columns[t.Key:] {
		set = append(set, fmt.Sprintf("%s = $%d", c.Name, t.Key+i+1))
	}
	return f.each(ctx, t, `UPDATE `+t.Name+` SET `+strings.Join(set, ", "), len(t.Columns), rows)
}

// Remove deletes rows by their primary keys.
func (f *Filling) Remove(ctx context.Context, t stored.Table, rows []stored.Row) error {
	return f.each(ctx, t, `DELETE FROM `+t.Name, t.Key, rows)
}

// each carries out a statement for each row, with its first columns as arguments.
func (f *Filling) each(ctx context.Context, t stored.Table, text string, columns int, rows []stored.Row) error {
	var where []string
	for i, c := range t.Columns[:t.Key] {
		where = append(where, fmt.Sprintf("%s = $%d", c.Name, i+1))
	}
	text += ` WHERE ` + strings.Join(where, " AND ")
	return f.change(ctx, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for _, row := range rows {
			batch.Queue(text, toColumns(t, row)[:columns]...)
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}

// change carries out a transaction. It is durable once Finish's is, which waits
// for the disk.
func (f *Filling) change(ctx context.Context, fn func(pgx.Tx) error) error {
	return classify(pgx.BeginFunc(ctx, f.pool, fn), "filling the database")
}

// admit refuses a database that is being filled, and notes that servers use one
// that was.
func admit(ctx context.Context, conn *pgx.Conn) error {
	var finished, served *int64
	err := conn.QueryRow(ctx, `SELECT finished, served FROM carried`).Scan(&finished, &served)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && served != nil:
		return nil
	case err != nil:
		return classify(err, "reading from where the database was filled")
	case finished == nil:
		return fault.New(fault.Unavailable, "the database is being filled by safelight migrate, or that was interrupted; finish it first (run it again), or use an empty database")
	}
	done, err := conn.Exec(ctx, `UPDATE carried SET served = $1 WHERE finished IS NOT NULL`, time.Now().UnixMilli())
	if err == nil && done.RowsAffected() == 0 {
		return fault.New(fault.Unavailable, "safelight migrate has just begun to fill the database")
	}
	return classify(err, "noting that the database is in use")
}
