package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/fault"
)

// Stats is the state of the pool, and what it has counted since Open.
type Stats struct {
	Acquired, Idle, Total, Max int // connections

	Acquires      int64         // calls that got a connection
	AcquireWait   time.Duration // how long they waited, in all
	EmptyAcquires int64         // those that had to wait, as none was idle
	Timeouts      int64         // calls that got none in time
	Stops         int64         // times that the server stopped answering
}

// Stats reads the pool's state.
func (db *DB) Stats() Stats {
	s := db.pool.Stat()
	return Stats{
		Acquired: int(s.AcquiredConns()), Idle: int(s.IdleConns()), Total: int(s.TotalConns()), Max: int(s.MaxConns()),
		Acquires: s.AcquireCount(), AcquireWait: s.AcquireDuration(), EmptyAcquires: s.EmptyAcquireCount(), Timeouts: db.waits.timeouts.Load(), Stops: db.watch.Stops(),
	}
}

// longWait is from when on waiting for a connection is worth a warning, and
// warnEvery how often there is one.
const (
	longWait  = 200 * time.Millisecond
	warnEvery = time.Minute
)

// waits notes how calls wait for connections.
type waits struct {
	timeouts atomic.Int64
	warned   atomic.Int64 // when the last warning was, in nanoseconds
}

// acquire takes a connection from the pool; it must be released.
func (db *DB) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if db.closed.Load() {
		return nil, errClosed
	}
	start := time.Now()
	waiting, cancel := context.WithTimeout(ctx, db.cfg.AcquireTimeout)
	defer cancel()
	conn, err := db.pool.Acquire(waiting)
	if waited := time.Since(start); ctx.Err() == nil && (waited >= longWait || err != nil) {
		db.warn(waited, err)
	}
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return conn, err
	}
	db.waits.timeouts.Add(1)
	if s := db.pool.Stat(); s.AcquiredConns() < s.MaxConns() { // they are not in use: none can be made
		return nil, fault.Wrap(fault.Unavailable, err, "%s: no connection within %s (database.acquire_timeout)", messageGone, db.cfg.AcquireTimeout)
	}
	return nil, fault.Wrap(fault.Unavailable, err, "no connection to the database became free within %s (database.acquire_timeout); database.max_conns is %d",
		db.cfg.AcquireTimeout, db.cfg.MaxConns)
}

// warn logs that a call had to wait, now and then.
func (db *DB) warn(waited time.Duration, err error) {
	now, last := time.Now().UnixNano(), db.waits.warned.Load()
	if now-last < int64(warnEvery) || !db.waits.warned.CompareAndSwap(last, now) {
		return
	}
	s := db.pool.Stat()
	attrs := []any{slog.Duration("waited", waited), slog.Int("in_use", int(s.AcquiredConns())), slog.Int("max_conns", int(s.MaxConns()))}
	if err != nil && s.AcquiredConns() < s.MaxConns() {
		db.log.Warn("no connection to the database can be made", append(attrs, slog.Any("error", err))...)
		return
	}
	db.log.Warn("calls wait for a connection to the database; see database.max_conns", attrs...)
}
