package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/fault"
)

// Bounds of a transaction.
const (
	callTime      = 60 * time.Second // for the server to answer
	maxAttempts   = 20               // where others change the same
	maxReconnects = 3
)

// reader carries out statements outside of a transaction.
type reader struct {
	ctx  context.Context
	conn *pgxpool.Conn
}

func (r reader) query(text string, args ...any) (pgx.Rows, error) {
	return r.conn.Query(r.ctx, text, args...)
}

func (r reader) row(text string, args ...any) pgx.Row { return r.conn.QueryRow(r.ctx, text, args...) }

// read lets fn read over a connection of the pool, and once more over another
// if that one was broken: fn sets its results and does not add to them. Once it
// has begun it is cut short by ctx's deadline only, since a statement that is
// cancelled costs its connection.
func (db *DB) read(ctx context.Context, doing string, fn func(reader) error) error {
	var err error
	for range maxReconnects {
		if err = db.readOnce(ctx, fn); !broken(err) || ctx.Err() != nil {
			break
		}
		db.pool.Reset() // the others are as old
	}
	if err != nil && ctx.Err() != nil && fault.As(err) == nil {
		err = ctx.Err()
	}
	return classify(err, doing)
}

func (db *DB) readOnce(ctx context.Context, fn func(reader) error) error {
	conn, running, leave, err := db.begin(ctx)
	if err != nil {
		return err
	}
	defer leave()
	end := time.Now().Add(callTime)
	if at, bounded := ctx.Deadline(); bounded && at.Before(end) {
		end = at
	}
	reading, cancel := context.WithDeadline(running, end)
	defer cancel()
	return awayOr(running, fn(reader{reading, conn}))
}

// tx is a transaction under way. Its statements go in batches: the first one
// begins it, and finish commits it. It is for one goroutine.
type tx struct {
	ctx   context.Context
	conn  *pgxpool.Conn
	slow  bool // others have changed the same before
	begun bool
	ended bool // the commit was sent
}

// slowLock is the key of the advisory lock that transactions hold which had to
// begin anew: one after the other they get through.
const slowLock int64 = 0x5afe_1197_0002

// transact carries out work in a transaction, which work must end with finish.
// It runs anew where others have changed the same meanwhile: so it sets its
// results and does not add to them. It is not cut short when ctx ends after it
// has begun.
func (db *DB) transact(ctx context.Context, doing string, work func(*tx) error) error {
	var err error
	for attempt, reconnects := 0, 0; attempt < maxAttempts; attempt++ {
		var ended bool
		if ended, err = db.attempt(ctx, attempt > 0, work); err == nil {
			return nil
		}
		if broken(err) {
			db.pool.Reset() // the others are as old
			if reconnects++; reconnects < maxReconnects && (!ended || refused(err)) && ctx.Err() == nil {
				continue
			}
		}
		if !conflict(err) || ctx.Err() != nil {
			break
		}
		if attempt > 1 {
			time.Sleep(rand.N(time.Duration(attempt) * time.Millisecond))
		}
	}
	var failed *pgconn.PgError
	if conflict(err) && errors.As(err, &failed) {
		return fault.Wrap(fault.Unavailable, err, "too many change the same at once")
	}
	return classify(err, doing)
}

// attempt carries out work once; ended tells that the commit was sent, so that
// after an error nobody knows what became of it.
func (db *DB) attempt(ctx context.Context, slow bool, work func(*tx) error) (ended bool, err error) {
	conn, watched, leave, err := db.begin(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	running, cancel := context.WithTimeout(watched, callTime)
	defer cancel()
	t := &tx{ctx: running, conn: conn, slow: slow}
	if err = work(t); err == nil && t.begun && !t.ended {
		err = fault.New(fault.Internal, "a transaction was not finished")
	}
	if err != nil && t.begun && !conn.Conn().IsClosed() {
		_, _ = conn.Exec(running, `ROLLBACK`)
	}
	return t.ended, awayOr(watched, err)
}

// batch begins a batch of statements.
func (t *tx) batch() *pgx.Batch {
	b := &pgx.Batch{}
	if !t.begun {
		b.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
		if t.slow {
			b.Queue(`SELECT pg_advisory_xact_lock($1)`, slowLock)
		}
	}
	return b
}

// send carries out a batch; its functions have been called when it returns.
func (t *tx) send(b *pgx.Batch) error {
	t.begun = true
	return t.conn.SendBatch(t.ctx, b).Close()
}

// finish carries out a batch and commits.
func (t *tx) finish(b *pgx.Batch) error {
	b.Queue(`COMMIT`)
	t.ended = true
	return t.send(b)
}

// exec carries out one statement in a transaction of its own and tells how many
// rows it changed.
func (db *DB) exec(ctx context.Context, doing, text string, args ...any) (changed int64, err error) {
	err = db.transact(ctx, doing, func(t *tx) error {
		b := t.batch()
		b.Queue(text, args...).Exec(func(tag pgconn.CommandTag) error {
			changed = tag.RowsAffected()
			return nil
		})
		return t.finish(b)
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}
