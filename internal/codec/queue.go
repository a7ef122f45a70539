package codec

import (
	"context"
	"errors"
	"slices"

	"safelight/internal/fault"
)

// acquire waits for a process: first come, first served within a class, and
// those that somebody waits for before background ones, which never take the
// last process.
func (p *Pool) acquire(ctx context.Context, class Class) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, gone(err)
	}
	w := &waiter{given: make(chan struct{})}
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return nil, fault.New(fault.Unavailable, "the server is shutting down")
	case p.live == 0:
		err := p.lastErr
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
	for len(p.idle) > 0 {
		class, ok := p.next()
		if !ok {
			return
		}
		w := p.waiting[class][0]
		p.waiting[class] = p.waiting[class][1:]
		last := len(p.idle) - 1
		w.p, p.idle = p.idle[last], p.idle[:last]
		p.busy[class]++
		p.wg.Add(1) // until put: Close waits for it; idle processes there are only while it has not begun
		close(w.given)
	}
}

// next chooses the class whose turn it is. The caller holds mu.
func (p *Pool) next() (Class, bool) {
	total := 0
	for _, n := range p.busy {
		total += n
	}
	interactive, verify := len(p.waiting[Interactive]) > 0, len(p.waiting[Verify]) > 0
	switch {
	case total >= p.cfg.Processes:
		return 0, false
	case interactive && verify:
		if p.turn++; p.turn%verifyShare == 0 {
			return Verify, true
		}
		return Interactive, true
	case interactive:
		return Interactive, true
	case verify:
		return Verify, true
	}
	return Background, len(p.waiting[Background]) > 0 && p.busy[Background] < p.cfg.Background
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
	if keep && !p.closed {
		p.idle = append(p.idle, one)
		p.dispatch()
		return
	}
	p.live--
	p.wg.Go(func() { one.end(broken) })
	if !p.closed {
		p.dispatch() // a spare may be waiting
		p.grow()
	}
}
