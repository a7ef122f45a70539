package codec

import (
	"sync"
	"time"
)

// watch looks at a process while it works. It begins late, so that short jobs
// pay for a timer and nothing else.
type watch struct {
	one    *process
	number uint64
	every  time.Duration
	cpu    time.Duration // the process' clock at which the job is over its limit
	wall   time.Time
	memory int64

	mu    sync.Mutex
	ended bool
	timer *time.Timer
}

func (p *Pool) watch(one *process, number uint64, cpu, wall time.Duration, memory int64) *watch {
	w := &watch{one: one, number: number, every: p.cfg.WatchAfter, memory: memory,
		cpu: one.cpu + cpu, wall: time.Now().Add(wall)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.every, w.look)
	return w
}

// look kills the process if it is over a limit, and comes again otherwise.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	switch {
	case w.one.clock() > w.cpu:
		w.one.kill(w.number, overCPU)
	case time.Now().After(w.wall):
		w.one.kill(w.number, overWall)
	case w.one.memory() > w.memory:
		w.one.kill(w.number, overMemory)
	default:
		w.timer.Reset(w.every)
	}
}

// end stops looking. When it returns, no look is under way.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}
