package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"safelight/internal/task"
)

// taskClock is a queue whose times are measured: tasks are submitted to it at
// one end and waited for at the other. Both ends may be in use at once.
type taskClock interface {
	// send stores tasks that are due at times; zero is at once.
	send(at ...time.Time) error
	// await waits for tasks, and answers when they were due and how to end them.
	await(worker, most int, lease, wait time.Duration) (due []time.Time, end func() error, err error)
}

// waitForTask is longer than a task lets wait for itself that is there at once.
const waitForTask = 20 * time.Second

func (p *port) send(at ...time.Time) error {
	tasks := newTasks(len(at))
	for i := range tasks {
		tasks[i].RunAt = at[i]
	}
	_, err := p.Submit(p.ctx, tasks)
	return err
}

func (p *port) await(_, most int, lease, wait time.Duration) ([]time.Time, func() error, error) {
	got, err := p.engine.Claim(p.ctx, task.Claim{Functions: []string{taskFunction}, Worker: "bench", Max: most, Lease: lease}, wait)
	due := make([]time.Time, len(got))
	for i := range got {
		due[i] = got[i].RunAt
	}
	return due, func() error { return p.report(got) }, err
}

// send uses the last connection; the others are for those who wait.
func (s *taskServer) send(at ...time.Time) error {
	body := []byte(`{"tasks":[`)
	for i, t := range at {
		if i > 0 {
			body = append(body, ',')
		}
		if t.IsZero() {
			t = time.Now()
		}
		body = fmt.Appendf(body, `{"function":%q,"args":%s,"run_at":%q}`, taskFunction, taskArgs, t.UTC().Format(time.RFC3339Nano))
	}
	return s.conns[taskWorkers-1].post("/v1/tasks", string(append(body, "]}"...)), nil)
}

func (s *taskServer) await(worker, most int, lease, wait time.Duration) ([]time.Time, func() error, error) {
	got, err := s.claim(worker, most, lease, wait)
	due := make([]time.Time, len(got.Tasks))
	for i := range due {
		due[i] = got.Tasks[i].RunAt
	}
	return due, func() error { return s.report(worker, got) }, err
}

// taskTimes measures how long tasks wait for workers that wait for them.
func (b *bench) taskTimes(ctx context.Context) ([]row, error) {
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
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- port.engine.Run(running) }() // it makes due what is due
	defer func() { stop(); <-ended }()
	server, err := b.openTaskServer()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, where := range []struct {
		name  string
		queue taskClock
	}{{"at the port", port}, {"over HTTP", server}} {
		picked, commits, err := pickup(where.queue, bare, 200)
		if err != nil {
			return nil, err
		}
		late, err := lateness(where.queue, 1000, 5*time.Second)
		if err != nil {
			return nil, err
		}
		again, err := redelivery(where.queue, 50)
		if err != nil {
			return nil, err
		}
		rows = append(rows,
			row{what: "tasks picked up by a waiting worker " + where.name + ", from before the submission; against two bare commits",
				ours: quantiles(picked), base: quantiles(commits), ratio: at(picked, 0.5) / at(commits, 0.5), goal: "p99 ≤ 50 ms"},
			row{what: "tasks due at random moments " + where.name + ": how late they are claimed", ours: quantiles(late), goal: "p99 ≤ 50 ms"},
			row{what: "tasks of a killed worker with a lease of 1 s " + where.name + ": claimed again after its end", ours: quantiles(again), goal: "p99 ≤ 50 ms"})
	}
	return rows, nil
}

// pickup is the time from submitting a task to a worker that waits having it,
// and that of two bare commits, in seconds.
func pickup(q taskClock, bare *bareSQLite, n int) (picked, commits []float64, err error) {
	type arrival struct {
		at  time.Time
		err error
	}
	for range n {
		arrived := make(chan arrival, 1)
		go func() {
			_, end, err := q.await(0, 1, taskLease, waitForTask)
			at := time.Now()
			if err == nil {
				err = end()
			}
			arrived <- arrival{at, err}
		}()
		time.Sleep(5*time.Millisecond + rand.N(5*time.Millisecond)) // it waits by now; nothing else happens
		start := time.Now()
		if err := q.send(time.Time{}); err != nil {
			return nil, nil, err
		}
		a := <-arrived
		if a.err != nil {
			return nil, nil, a.err
		}
		picked = append(picked, a.at.Sub(start).Seconds())
		start = time.Now()
		for range 2 {
			if err := bare.submit(0, 1); err != nil {
				return nil, nil, err
			}
		}
		commits = append(commits, time.Since(start).Seconds())
	}
	return picked, commits, nil
}

// lateness is how long after their time tasks are claimed by one of four
// workers that wait, in seconds.
func lateness(q taskClock, n int, spread time.Duration) ([]float64, error) {
	at := make([]time.Time, n)
	start := time.Now().Add(2 * time.Second)
	for i := range at {
		at[i] = start.Add(rand.N(spread)).Truncate(time.Millisecond)
	}
	if err := q.send(at...); err != nil {
		return nil, err
	}
	return collect(q, 4, n, func(due time.Time) float64 { return time.Since(due).Seconds() })
}

// redelivery is how long after the end of a lease of 1 s tasks are claimed
// again that a worker took with it, in seconds.
func redelivery(q taskClock, n int) ([]float64, error) {
	if err := q.send(make([]time.Time, n)...); err != nil {
		return nil, err
	}
	var ends time.Time
	for held := 0; held < n; {
		ends = time.Now().Add(time.Second)
		due, _, err := q.await(0, n, time.Second, waitForTask)
		if err != nil {
			return nil, err
		}
		held += len(due)
	}
	return collect(q, 4, n, func(time.Time) float64 { return time.Since(ends).Seconds() })
}

// collect has workers wait for n tasks in all and measures each on its arrival.
func collect(q taskClock, workers, n int, measure func(due time.Time) float64) ([]float64, error) {
	var mu sync.Mutex
	var arrived []float64
	var failed error
	more := func(seconds []float64, err error) bool {
		mu.Lock()
		defer mu.Unlock()
		arrived, failed = append(arrived, seconds...), errors.Join(failed, err)
		return len(arrived) < n && failed == nil
	}
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for more(nil, nil) {
				due, end, err := q.await(w, 10, taskLease, time.Second)
				seconds := make([]float64, len(due))
				for i := range due {
					seconds[i] = measure(due[i])
				}
				if err == nil && len(due) > 0 {
					err = end()
				}
				more(seconds, err)
			}
		})
	}
	all.Wait()
	return arrived, failed
}

// at is a quantile.
func at(seconds []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(seconds))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

func quantiles(seconds []float64) string {
	return fmt.Sprintf("p50 %.3g ms, p99 %.3g ms", at(seconds, 0.5)*1e3, at(seconds, 0.99)*1e3)
}
