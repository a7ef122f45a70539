package postgres

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/breaker"
	"safelight/internal/fault"
)

// awayAgain is the time between probes of a server that has stopped answering.
const awayAgain = 250 * time.Millisecond

// watch makes the watch that ends calls when the server is silent.
func (db *DB) watchServer(settings *pgx.ConnConfig) *breaker.Watch {
	doubt := db.cfg.AwayAfter / 3
	p := &prober{config: settings.Copy()}
	hosts := 1 + len(p.config.Fallbacks)
	p.config.ConnectTimeout = min(p.config.ConnectTimeout, (db.cfg.AwayAfter-doubt)/time.Duration(hosts))
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

// prober asks a server for something small, over a connection of its own.
type prober struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn // nil or closed until it is needed
}

func (p *prober) probe(ctx context.Context) error {
	if p.conn != nil && !p.conn.IsClosed() {
		if err := p.conn.Ping(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, p.config)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !slices.Contains([]string{"57P01", "57P02", "57P03"}, refused.Code) {
		return nil // it refuses this connection, and so it is there
	}
	if err != nil {
		return err
	}
	p.conn = conn
	return nil
}

func (p *prober) close() {
	if p.conn != nil {
		_ = closeConn(p.conn)
	}
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
