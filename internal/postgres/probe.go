package postgres

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// prober asks a server for something small, over a connection of its own. One that
// takes long to make, as over a slow network, is gone on with by the next probe. It
// is for one goroutine at a time.
type prober struct {
	config   *pgx.ConnConfig
	received *atomic.Int64 // bytes over all connections
	conn     *pgx.Conn     // nil or closed until it is needed
	making   chan made     // a connection, under way; nil is none
	give     func()        // it up
}

type made struct {
	conn *pgx.Conn
	err  error
}

// newProber makes a prober whose probes have patience. Of several hosts each must
// get its turn within that.
func newProber(settings *pgx.ConnConfig, patience time.Duration, received *atomic.Int64) *prober {
	p := &prober{config: settings.Copy(), received: received}
	if several(p.config) {
		p.config.ConnectTimeout = min(p.config.ConnectTimeout, patience/time.Duration(1+len(p.config.Fallbacks)))
	}
	return p
}

// probe fails where neither an answer comes in time nor any byte over any
// connection: a server whose bytes come slowly is there.
func (p *prober) probe(ctx context.Context) error {
	before := p.received.Load()
	err := p.ask(ctx)
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case p.received.Load() > before:
		return nil
	}
	p.giveUp() // the next may come through
	return err
}

func (p *prober) ask(ctx context.Context) error {
	if p.conn != nil && !p.conn.IsClosed() {
		if err := p.conn.Ping(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	if p.making == nil {
		p.making = make(chan made, 1)
		making, give := context.WithCancel(context.WithoutCancel(ctx))
		p.give = give
		go func(done chan<- made) {
			conn, err := pgx.ConnectConfig(making, p.config)
			done <- made{conn, err}
		}(p.making)
	}
	select {
	case m := <-p.making:
		p.give()
		p.making = nil
		var refused *pgconn.PgError
		if errors.As(m.err, &refused) && !slices.Contains([]string{"57P01", "57P02", "57P03"}, refused.Code) {
			return nil // it refuses this connection, and so it is there
		}
		if m.err == nil {
			p.conn = m.conn
		}
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveUp ends the making of a connection.
func (p *prober) giveUp() {
	if p.making == nil {
		return
	}
	p.give()
	if m := <-p.making; m.conn != nil {
		_ = closeConn(m.conn)
	}
	p.making = nil
}

func (p *prober) close() {
	p.giveUp()
	if p.conn != nil {
		_ = closeConn(p.conn)
	}
}

// counting has all bytes counted that connections receive.
func counting(dial pgconn.DialFunc, received *atomic.Int64) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{conn, received}, nil
	}
}

type countedConn struct {
	net.Conn
	received *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}
