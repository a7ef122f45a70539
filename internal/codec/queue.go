package codec

import (
	"context"
	"errors"
	"slices"

	"safelight/internal/fault"
)

// acquire waits for a process of a kind: first come, first served within a class, and
// those that somebody waits for before background ones, which never take the
// last process.
func (p *Pool) acquire(ctx context.Context, class Class, k *kind) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, gone(err)
	}
	w := &waiter{kind: k, given: make(chan struct{})}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, fault.New(fault.Unavailable, "the server is shutting down")
	case k.live == 0:
		err := k.lastErr
		p.mu.Unlock()
		return nil, err
	}
	p.waiting[class] = append(p.waiting[class], w)
	p.dispatch()
	p.mu.Unlock()
	select {
	case <-w.given:
		return w.p, w.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := slices.Index(p.waiting[class], w); at >= 0 {
		p.waiting[class] = slices.Delete(p.waiting[class], at, at+1)
	} else if w.p != nil { // handed over in this very moment
		p.put(w.p, class, true)
	}
	return nil, gone(ctx.Err())
}

// gone classifies the end of a caller's context.
func gone(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, err, "the picture was not ready in time")
	}
	return fault.Wrap(fault.Canceled, err, "the request was canceled")
}

// dispatch hands idle processes to those who wait. The caller holds mu.
func (p *Pool) dispatch() {
	for {
		class, at := p.next()
		if at < 0 {
			return
		}
		w := p.waiting[class][at]
		p.waiting[class] = slices.Delete(p.waiting[class], at, at+1)
		k := w.kind
		last := len(k.idle) - 1
		w.p, k.idle = k.idle[last], k.idle[:last]
		k.jobs++
		p.busy[class]++
		if class == Background {
			k.slow++
		}
		p.wg.Add(1) // until put: Close waits for it; idle processes there are only while it has not begun
		close(w.given)
	}
}

// next chooses the class whose turn it is, and whose turn it is in its queue: the
// first for whose kind a process is idle. The place is negative where nobody can
// go now. The caller holds mu.
func (p *Pool) next() (Class, int) {
	total := 0
	for _, n := range p.busy {
		total += n
	}
	if total >= p.cfg.Processes {
		return 0, -1
	}
	interactive, verify := p.first(Interactive), p.first(Verify)
	switch {
	case interactive >= 0 && verify >= 0:
		if p.turn++; p.turn%verifyShare == 0 {
			return Verify, verify
		}
		return Interactive, interactive
	case interactive >= 0:
		return Interactive, interactive
	case verify >= 0:
		return Verify, verify
	case p.busy[Background] < p.cfg.Background:
		return Background, p.first(Background)
	}
	return 0, -1
}

// first is the place of the first waiter of a class that a process is idle for.
func (p *Pool) first(class Class) int {
	if !slices.ContainsFunc(p.kinds, func(k *kind) bool { return k.spare(class) }) {
		return -1
	}
	return slices.IndexFunc(p.waiting[class], func(w *waiter) bool { return w.kind.spare(class) })
}

// release takes a process back after a job. keep says whether it can do another.
func (p *Pool) release(one *process, class Class, keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(one, class, keep)
}

// put is release; the caller holds mu.
func (p *Pool) put(one *process, class Class, keep bool) {
	defer p.wg.Done()
	p.busy[class]--
	if class == Background {
		one.kind.slow--
	}
	if keep && !p.closed {
		one.kind.idle = append(one.kind.idle, one)
		p.dispatch()
		return
	}
	one.kind.live--
	p.wg.Go(func() { one.end(broken) })
	if !p.closed {
		p.dispatch() // a spare may be waiting
		p.grow()
	}
}
