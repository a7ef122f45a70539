package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"safelight/internal/catalog/stored"
)

// channel is where nodes tell each other what has changed.
const channel = "safelight_tasks"

// Timing of the connection that listens.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
	quietTime    = 30 * time.Second // after which it is tried whether it is still there
	proveTime    = 5 * time.Second  // for the answer
)

// start begins to listen, to look at times, and to tell other nodes.
func (q *Tasks) start(ctx context.Context) error {
	conn, err := q.listen(ctx)
	if err != nil {
		return classify(err, "listening to other nodes")
	}
	q.outbox = newOutbox(q.db.node)
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	q.ended = cancel
	q.idle.Go(func() { q.hear(background, conn) })
	q.idle.Go(func() { q.keepLooking(background) })
	q.idle.Go(func() { q.keepTelling(background) })
	return nil
}

// stop ends what start began.
func (q *Tasks) stop() {
	q.ended()
	q.idle.Wait()
}

// listen makes the connection that listens. It is none of the pool's.
func (q *Tasks) listen(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, q.db.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `LISTEN `+channel+`; LISTEN `+movesChannel); err != nil {
		return nil, errors.Join(err, closeConn(conn))
	}
	return conn, nil
}

func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), proveTime)
	defer cancel()
	return conn.Close(ctx)
}

// hear passes on what other nodes tell, and connects again where the connection
// was lost.
func (q *Tasks) hear(ctx context.Context, conn *pgx.Conn) {
	for {
		hearing, cancel := context.WithCancel(ctx)
		q.db.deaf.Store(&cancel)
		err := q.receive(hearing, conn)
		cancel()
		_ = closeConn(conn)
		if ctx.Err() != nil {
			return
		}
		q.db.log.Warn("the connection that listens to other nodes was lost; they are looked at from time to time until it is back", "error", err)
		if conn = q.relisten(ctx); conn == nil {
			return
		}
		q.db.log.Info("listening to other nodes again")
		q.db.moves.Load().lost() // what was told meanwhile
		_ = q.look(ctx)
	}
}

// relisten tries until it listens again, or ctx ends: then it is nil.
func (q *Tasks) relisten(ctx context.Context) *pgx.Conn {
	for backoff := firstBackoff; ctx.Err() == nil; backoff = min(2*backoff, lastBackoff) {
		if conn, err := q.listen(ctx); err == nil {
			return conn
		}
		rest(ctx, backoff)
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// receive passes on what is told until the connection is lost.
func (q *Tasks) receive(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, quietTime)
		n, err := conn.WaitForNotification(waiting)
		quiet := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil && n.Channel == movesChannel:
			q.db.passMoves(n.Payload)
		case err == nil:
			q.pass(n.Payload)
		case !quiet || conn.IsClosed():
			return err
		default:
			proving, cancel := context.WithTimeout(ctx, proveTime)
			err := conn.Ping(proving)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// keepLooking looks for what no notification came about.
func (q *Tasks) keepLooking(ctx context.Context) {
	for failed := false; ctx.Err() == nil; {
		rest(ctx, q.db.cfg.PollInterval)
		err := q.look(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			q.db.log.Warn("tasks of other nodes can't be looked for; trying again and again", "error", err)
		}
		failed = err != nil
	}
}

// selectWaiting goes from function to function in the index of ready tasks. More
// than $1 tasks of one are not counted.
const selectWaiting = `WITH RECURSIVE f AS (
		SELECT (SELECT function FROM tasks WHERE state = 1 ORDER BY function LIMIT 1) AS function
		UNION ALL
		SELECT (SELECT t.function FROM tasks t WHERE t.state = 1 AND t.function > f.function ORDER BY t.function LIMIT 1) FROM f WHERE f.function IS NOT NULL)
	SELECT function, (SELECT count(*) FROM (SELECT 1 FROM tasks t WHERE t.state = 1 AND t.function = f.function LIMIT $1) w)
	FROM f WHERE function IS NOT NULL`

// wakeMost bounds how many of those who wait for a function one look wakes: as a
// rule they have been told, and what is ready is held back by a limit.
const wakeMost = 32

// look tells this process what is ready, and when something will be.
func (q *Tasks) look(ctx context.Context) error {
	type waiting struct {
		function string
		tasks    int
	}
	scan := func(s scanner) (w waiting, err error) {
		err = s.Scan(&w.function, &w.tasks)
		return w, err
	}
	list, err := collect(ctx, q.db, scan, "looking for tasks", selectWaiting, wakeMost)
	if err != nil {
		return err
	}
	for _, w := range list {
		q.cfg.Signals.Ready(w.function, w.tasks)
	}
	due, expires, err := q.upcoming(ctx)
	if err == nil {
		q.soon(stored.TimeOrZero(due), stored.TimeOrZero(expires))
	}
	return err
}
