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

	kinds []*kind // one or two, in the order in which they are asked

	mu      sync.Mutex
	closed  bool
	busy    [classes]int
	waiting [classes][]*waiter
	turn    int // of interactive and verify jobs, while both wait
	stats   Stats
	jobs    uint64
}

// waiter is a job in the queue. It is handed a process or an error, once.
type waiter struct {
	kind  *kind
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

	Jobs       uint64         `json:"jobs"`     // begun
	Fallback   uint64         `json:"fallback"` // of these, by processes with codec.vips_fallback
	Failed     uint64         `json:"failed"`   // of these, answered with an error
	Crashes    uint64         `json:"crashes"`
	Kills      map[string]int `json:"kills"` // by reason: cpu, wall, memory, canceled, broken
	Recycles   uint64         `json:"recycles"`
	Starts     uint64         `json:"starts"` // processes that got ready
	CPUSeconds float64        `json:"cpu_seconds"`
}

// Open starts a pool and waits until a process of each kind is ready; the others
// get ready meanwhile. The error is Unavailable where libvips can't be used, and
// says what to install. ctx bounds only the wait.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.resolved()
	p := &Pool{cfg: cfg, log: log, fork: make(chan func()), kinds: newKinds(cfg)}
	p.stats.Kills = map[string]int{}
	p.ctx, p.stop = context.WithCancel(context.Background())
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range p.fork {
			f()
		}
	}()
	for _, k := range p.kinds {
		first, err := start(ctx, k, log, p.onFork)
		if err != nil {
			_ = p.Close() // never fails
			return nil, err
		}
		k.info = first.info
		log.Info("codec processes", "kind", k.name, "libvips", k.info.Libvips, "reads", k.info.Reads, "writes", k.info.Writes)
		p.mu.Lock()
		k.live++
		p.ready(first)
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grow()
	return p, nil
}

// Info says what the processes are made of and how they are confined.
func (p *Pool) Info() wire.Info {
	info := p.kinds[0].info
	if len(p.kinds) > 1 {
		second := p.kinds[1].info
		info.Fallback = &second
	}
	return info
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
	for i, k := range p.kinds {
		s.Processes += k.live
		s.Idle += len(k.idle)
		if i > 0 {
			s.Fallback += k.jobs
		}
	}
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
	for _, k := range p.kinds {
		if k.retry != nil {
			k.retry.Stop()
		}
		p.failAll(k, fault.New(fault.Unavailable, "the server is shutting down"))
		for _, one := range k.idle {
			p.wg.Go(func() { one.end(canceled) })
		}
		k.idle = nil
	}
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
	for _, k := range p.kinds {
		for !p.closed && k.retry == nil && k.live < k.want {
			k.live++
			p.wg.Go(func() { p.add(k) })
		}
	}
}

// add starts one process. When that fails it is tried again later, and when
// there is no other process of its kind, those who wait for one are told.
func (p *Pool) add(k *kind) {
	one, err := start(p.ctx, k, p.log, p.onFork)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.closed {
		p.mu.Unlock()
		one.end(canceled)
		p.mu.Lock()
		return
	}
	if err == nil {
		k.failures = 0
		p.ready(one)
		return
	}
	k.live--
	if p.closed {
		return
	}
	k.failures++
	k.lastErr = err
	p.log.Error("codec process did not start", "kind", k.name, "error", err, "failures", k.failures)
	if k.live == 0 {
		p.failAll(k, err)
	}
	if k.retry == nil {
		pause := min(100*time.Millisecond<<min(k.failures, 10), 10*time.Second)
		k.retry = time.AfterFunc(pause, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			k.retry = nil
			p.grow()
		})
	}
}

// ready takes a new process in. The caller holds mu.
func (p *Pool) ready(one *process) {
	p.stats.Starts++
	one.kind.idle = append(one.kind.idle, one)
	p.dispatch()
	p.wg.Go(func() {
		<-one.exited
		p.bury(one)
	})
}

// bury removes a process that died while it was idle.
func (p *Pool) bury(one *process) {
	p.mu.Lock()
	k := one.kind
	at := slices.Index(k.idle, one)
	if at < 0 || p.closed {
		p.mu.Unlock()
		return
	}
	k.idle = slices.Delete(k.idle, at, at+1)
	k.live--
	p.stats.Crashes++
	p.grow()
	p.mu.Unlock()
	one.end(broken)
}

// failAll tells everybody who waits for a process of a kind. The caller holds mu.
func (p *Pool) failAll(k *kind, err error) {
	for c := range p.waiting {
		p.waiting[c] = slices.DeleteFunc(p.waiting[c], func(w *waiter) bool {
			if w.kind == k {
				w.err = err
				close(w.given)
			}
			return w.kind == k
		})
	}
}
