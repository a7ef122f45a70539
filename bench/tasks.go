package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	taskWorkers  = 16
	taskFunction = "bench"
	taskArgs     = `{"image":"06gzvn65r8xx4z79gs6y9fqadc","preset":"thumb","quality":84}`
	taskResult   = `{"bytes":31337}`
	taskLease    = time.Minute
)

// taskSystem is something that takes tasks and hands them out. Its methods are
// called by several workers at once.
type taskSystem interface {
	// submit stores n tasks in one call.
	submit(worker, n int) error
	// finish claims n tasks and reports them done, in two calls.
	finish(worker, n int) error
}

// tasks measures the queue of tasks: at the port (SQLite, every answer synced)
// against bare SQLite with the same group commit, over HTTP against the port,
// and how soon tasks reach workers.
func (b *bench) tasks() ([]row, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var rows []row
	for _, part := range []func(context.Context) ([]row, error){b.taskRates, b.taskTimes, b.taskCrowds} {
		got, err := part(ctx)
		b.stopAll()
		if err != nil {
			return nil, err
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

// taskRates measures how many tasks go through in a second.
func (b *bench) taskRates(ctx context.Context) ([]row, error) {
	bare, err := openBare(b.dir)
	if err != nil {
		return nil, err
	}
	defer bare.close()
	port, err := openPort(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	defer port.close()
	server, err := b.openTaskServer()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, c := range []struct {
		what       string
		ours, base taskSystem
		measure    func(s taskSystem, total, batch int) (float64, error)
		batch      int
		goal       string
	}{
		{"accepted at the port, 16 clients, 1 a call; against bare inserts", port, bare, accepted, 1, "≥ 10 thousand/s"},
		{"done at the port, 16 workers, 10 a call; against bare updates", port, bare, done, 10, "≥ 20 thousand/s"},
		{"done at the port, 16 workers, 100 a call; against bare updates", port, bare, done, 100, "≥ 20 thousand/s"},
		{"accepted over HTTP, 16 connections, 1 a call; against the port", server, port, accepted, 1, "≥ 10 thousand/s"},
		{"accepted over HTTP, 16 connections, 100 a call; against the port", server, port, accepted, 100, ""},
		{"done over HTTP, 16 connections, 100 a call; against the port", server, port, done, 100, "≥ 20 thousand/s"},
	} {
		const total = 16_000
		var us, them []float64
		for round := range b.rounds + 1 {
			o, err := c.measure(c.ours, total, c.batch)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.what, err)
			}
			t, err := c.measure(c.base, total, c.batch)
			if err != nil {
				return nil, fmt.Errorf("%s: the baseline: %w", c.what, err)
			}
			if round > 0 {
				us, them = append(us, o), append(them, t)
			}
		}
		rows = append(rows, paired("tasks "+c.what, "thousand/s", 1e-3, us, them, c.goal))
	}
	return rows, nil
}

// accepted is how many tasks a second a system stores.
func accepted(s taskSystem, total, batch int) (float64, error) {
	return crew(total, batch, s.submit)
}

// done is how many tasks a second it hands out and has reported.
func done(s taskSystem, total, batch int) (float64, error) {
	if _, err := crew(total, 1000, s.submit); err != nil {
		return 0, err
	}
	return crew(total, batch, s.finish)
}

// crew shares total among all workers, each of which calls one with at most
// batch, and answers how many went through in a second.
func crew(total, batch int, one func(worker, n int) error) (float64, error) {
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	var taken atomic.Int64
	start := time.Now()
	for w := range taskWorkers {
		all.Go(func() {
			for failed.Load() == nil {
				n := min(batch, total-int(taken.Add(int64(batch)))+batch)
				if n <= 0 {
					return
				}
				if err := one(w, n); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(total) / time.Since(start).Seconds(), nil
}
