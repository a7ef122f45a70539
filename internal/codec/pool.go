package codec

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"safelight/internal/codec/wire"
	"safelight/internal/fault"
)

// Pool is a set of codec processes. It is safe for concurrent use.
type Pool struct {
	cfg  Config
	log  *slog.Logger
	fork chan func() // runs on the one thread that all processes are children of

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // starting, running and ending processes

	mu       sync.Mutex
	closed   bool
	info     wire.Info
	idle     []*process // the last is the one used last
	live     int        // idle, busy and starting
	busy     [classes]int
	waiting  [classes][]*waiter
	turn     int // of interactive and verify jobs, while both wait
	failures int // starts that failed in a row
	lastErr  error
	retry    *time.Timer
	stats    Stats
	jobs     uint64
}

// waiter is a job in the queue. It is handed a process or an error, once.
type waiter struct {
	given chan struct{}
	p     *process
	err   error
}

// Stats counts what a pool does. The counters begin at Open.
type Stats struct {
	Processes int `json:"processes"` // alive or starting
	Busy      int `json:"busy"`
	Idle      int `json:"idle"`
	Waiting   int `json:"waiting"` // jobs in the queue

	Jobs       uint64         `json:"jobs"`   // begun
	Failed     uint64         `json:"failed"` // of these, answered with an error
	Crashes    uint64         `json:"crashes"`
	Kills      map[string]int `json:"kills"` // by reason: cpu, wall, memory, canceled, broken
	Recycles   uint64         `json:"recycles"`
	Starts     uint64         `json:"starts"` // processes that got ready
	CPUSeconds float64        `json:"cpu_seconds"`
}

// Open starts a pool and waits until its first process is ready; the others get
// ready meanwhile. The error is Unavailable where libvips can't be used, and
// says what to install. ctx bounds only the wait.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.resolved()
	p := &Pool{cfg: cfg, log: log, fork: make(chan func())}
	p.stats.Kills = map[string]int{}
	p.ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range p.fork {
			f()
		}
	}()
	p.live = 1
	first, err := start(ctx, cfg, log, p.onFork)
	if err != nil {
		p.stop()
		close(p.fork)
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info = first.info
	p.ready(first)
	p.grow()
	return p, nil
}

// Info says what the processes are made of and how they are confined.
func (p *Pool) Info() wire.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// Stats says what the pool does and has done.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Kills = make(map[string]int, len(p.stats.Kills))
	for k, v := range p.stats.Kills {
		s.Kills[k] = v
	}
	s.Processes, s.Idle = p.live, len(p.idle)
	for c := range classes {
		s.Busy += p.busy[c]
		s.Waiting += len(p.waiting[c])
	}
	return s
}

// Close kills the processes, running jobs included, and waits for them to end.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	if p.retry != nil {
		p.retry.Stop()
	}
	p.failAll(fault.New(fault.Unavailable, "the server is shutting down"))
	for _, one := range p.idle {
		p.wg.Go(func() { one.end(canceled) })
	}
	p.idle = nil
	p.mu.Unlock()
	p.stop()
	p.wg.Wait()
	close(p.fork)
	return nil
}

// onFork runs f on the pool's own thread.
func (p *Pool) onFork(f func() error) error {
	done := make(chan error, 1)
	p.fork <- func() { done <- f() }
	return <-done
}

// grow starts what is missing. The caller holds mu.
func (p *Pool) grow() {
	for !p.closed && p.retry == nil && p.live < p.cfg.Processes+p.cfg.Spares {
		p.live++
		p.wg.Go(p.add)
	}
}

// add starts one process. When that fails it is tried again later, and when
// there is no other process, those who wait are told.
func (p *Pool) add() {
	one, err := start(p.ctx, p.cfg, p.log, p.onFork)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.closed {
		p.mu.Unlock()
		one.end(canceled)
		p.mu.Lock()
		return
	}
	if err == nil {
		p.failures = 0
		p.ready(one)
		return
	}
	p.live--
	if p.closed {
		return
	}
	p.failures++
	p.lastErr = err
	p.log.Error("codec process did not start", "error", err, "failures", p.failures)
	if p.live == 0 {
		p.failAll(err)
	}
	if p.retry == nil {
		pause := min(100*time.Millisecond<<min(p.failures, 10), 10*time.Second)
		p.retry = time.AfterFunc(pause, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.retry = nil
			p.grow()
		})
	}
}

// ready takes a new process in. The caller holds mu.
func (p *Pool) ready(one *process) {
	p.stats.Starts++
	p.idle = append(p.idle, one)
	p.dispatch()
	p.wg.Go(func() {
		<-one.exited
		p.bury(one)
	})
}

// bury removes a process that died while it was idle.
func (p *Pool) bury(one *process) {
	p.mu.Lock()
	at := slices.Index(p.idle, one)
	if at < 0 || p.closed {
		p.mu.Unlock()
		return
	}
	p.idle = slices.Delete(p.idle, at, at+1)
	p.live--
	p.stats.Crashes++
	p.grow()
	p.mu.Unlock()
	one.end(broken)
}

// failAll tells everybody who waits. The caller holds mu.
func (p *Pool) failAll(err error) {
	for c := range p.waiting {
		for _, w := range p.waiting[c] {
			w.err = err
			close(w.given)
		}
		p.waiting[c] = nil
	}
}
