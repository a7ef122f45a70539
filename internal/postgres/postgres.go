// Package postgres is the catalog and the queue of tasks in a PostgreSQL
// database, which several nodes may share.
//
// A change is one transaction of two round trips, however much it changes: the
// first reads and locks what the change depends on, the second writes what the
// rules of the ports make of it, in arrays, and commits (tx.go). What another
// transaction has changed in between shows as a unique violation or a deadlock,
// and the change begins anew. Nodes tell each other of new tasks by NOTIFY, and
// look for themselves too (listen.go).
package postgres

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/breaker"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	cfg    Config
	log    *slog.Logger
	pool   *pgxpool.Pool
	waits  waits
	watch  *breaker.Watch
	closed atomic.Bool

	received atomic.Int64 // bytes over all connections

	node  string // tells our own notifications from others'
	moves atomic.Pointer[Moves]
	deaf  atomic.Pointer[context.CancelFunc] // has the connection that listens given up for another
	tasks *Tasks                             // nil until Tasks is called
}

var (
	_ catalog.Catalog = (*DB)(nil)
	_ catalog.Janitor = (*DB)(nil)
	_ catalog.Census  = (*DB)(nil)

	_ catalog.Renditions     = (*DB)(nil)
	_ catalog.Publications   = (*DB)(nil)
	_ catalog.Expiry         = (*DB)(nil)
	_ catalog.Reconciliation = (*DB)(nil)
	_ catalog.Recompressions = (*DB)(nil)
)

// Open connects to the database and brings its schema up to date. Several nodes
// may do so at the same time. A server that can't be reached is
// fault.Unavailable.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*DB, error) {
	if cfg.URL == "" {
		return nil, fault.New(fault.Invalid, "database.url is not set")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the database's settings are wrong")
	}
	settings, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, settings.ConnConfig, log, admit); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg, log: log, node: rand.Text()}
	settings.ConnConfig.DialFunc = counting(settings.ConnConfig.DialFunc, &db.received)
	if db.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), settings); err != nil {
		return nil, classify(err, "connecting to the database")
	}
	db.watch = db.watchServer(settings.ConnConfig)
	if err := db.Ping(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// Close waits for the calls under way and closes the connections. Later calls
// fail with fault.Unavailable.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	if db.tasks != nil {
		db.tasks.stop()
	}
	db.pool.Close()
	db.watch.Close()
	return nil
}

// pingTime bounds how long Ping waits for an answer.
const pingTime = 5 * time.Second

// Ping implements catalog.Catalog.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	var n int
	return db.read(ctx, "asking the database", func(r reader) error {
		return r.row(selectPing).Scan(&n)
	})
}
