package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/breaker"
	"safelight/internal/fault"
)

// awayAgain is the time between probes of a server that has stopped answering.
const awayAgain = 250 * time.Millisecond

// watch makes the watch that ends calls when the server is silent.
func (db *DB) watchServer(settings *pgx.ConnConfig) *breaker.Watch {
	doubt := db.cfg.AwayAfter / 3
	p := newProber(settings, db.cfg.AwayAfter-doubt, &db.received)
	return breaker.NewWatch(breaker.WatchConfig{
		Doubt: doubt, Patience: db.cfg.AwayAfter - doubt, Again: awayAgain, Probe: p.probe,
		Stopped: func(err error) {
			db.log.Warn("the database server does not answer; calls fail until it does", slog.Any("error", err))
		},
		Back: func() {
			db.pool.Reset()
			if deaf := db.deaf.Load(); deaf != nil { // what was told meanwhile may be lost
				(*deaf)()
			}
			db.log.Info("the database server answers again")
		},
		Closed: p.close,
	})
}

// begin starts a call: it takes a connection, as long as ctx lasts, and gives the
// context in which to use it, which outlives ctx. Both end when the server is
// taken to have stopped answering. end must be called.
func (db *DB) begin(ctx context.Context) (conn *pgxpool.Conn, running context.Context, end func(), err error) {
	running, leave, err := db.watch.Enter(context.WithoutCancel(ctx))
	if err != nil {
		return nil, nil, nil, away(err)
	}
	acquiring, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(running, cancel)()
	conn, err = db.acquire(acquiring)
	if err != nil {
		defer leave()
		return nil, nil, nil, awayOr(running, err)
	}
	return conn, running, func() {
		conn.Release()
		leave()
	}, nil
}

func away(cause error) error {
	e := fault.Wrap(fault.Unavailable, cause, messageGone)
	e.RetryAfter = time.Second
	return e
}

// awayOr is an error of a call, or what has ended the call.
func awayOr(running context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(running), breaker.ErrAway) {
		return away(err)
	}
	return err
}
