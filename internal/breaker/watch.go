package breaker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrAway is the cause of a context that a Watch has ended, and the error of
// calls that it did not let through.
var ErrAway = errors.New("the server has stopped answering")

// WatchConfig says when a server is taken to have stopped answering.
type WatchConfig struct {
	// Probe asks the server for something that it can answer at once, whatever
	// else it does. It is called by one goroutine at a time.
	Probe func(context.Context) error
	// Doubt is how long a call may be under way before the server is probed, and
	// between probes while it is; Patience is what the probe gets. So calls to a
	// server that is silent end after about the sum of both.
	Doubt, Patience time.Duration
	// Again is the time between probes of a server that has stopped answering.
	Again time.Duration
	// Stopped and Back, if not nil, are told of changes, one at a time, and must
	// not call the watch.
	Stopped func(failure error)
	Back    func()
	// Closed, if not nil, is called by Close, after all others.
	Closed func()
}

// Watch tells a server that does not answer any more, to which connections just
// stand still, from one that takes its time over a call: that a call takes long
// says nothing, so something small is asked for beside it. When that fails too,
// all calls are ended, and later ones fail at once until a probe gets an answer.
// Nothing is asked while calls are short. It is safe for concurrent use.
type Watch struct {
	config WatchConfig
	ctx    context.Context // until Close
	close  context.CancelFunc
	idle   sync.WaitGroup

	mu       sync.Mutex
	calls    map[*watched]struct{}
	watching bool // watch runs
	away     bool
	stops    int64
}

type watched struct {
	since time.Time
	end   context.CancelCauseFunc
}

// NewWatch makes a watch over a server that is taken to answer.
func NewWatch(c WatchConfig) *Watch {
	w := &Watch{config: c, calls: make(map[*watched]struct{})}
	w.ctx, w.close = context.WithCancel(context.Background())
	return w
}

// Close ends the watch; calls under way are let be. It is called once.
func (w *Watch) Close() {
	w.mu.Lock()
	w.close()
	w.mu.Unlock()
	w.idle.Wait()
	if w.config.Closed != nil {
		w.config.Closed()
	}
}

// Enter begins a call, whose context it gives, or fails with ErrAway. leave must
// be called when the call is over.
func (w *Watch) Enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, nil, ErrAway
	}
	ctx, end := context.WithCancelCause(ctx)
	c := &watched{time.Now(), end}
	w.calls[c] = struct{}{}
	if !w.watching && w.ctx.Err() == nil {
		w.watching = true
		w.idle.Go(w.watch)
	}
	return ctx, func() {
		w.mu.Lock()
		delete(w.calls, c)
		w.mu.Unlock()
		end(nil)
	}, nil
}

// Away tells whether the server has stopped answering.
func (w *Watch) Away() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

// Stops is how often it has.
func (w *Watch) Stops() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stops
}

// watch looks at calls as long as there are any.
func (w *Watch) watch() {
	for wait := w.config.Doubt; ; {
		if !w.rest(wait) {
			return
		}
		var ok bool
		if wait, ok = w.due(); !ok {
			return
		}
		if wait > 0 {
			continue
		}
		if err := w.probe(); err != nil && w.ctx.Err() == nil {
			w.stop(err)
			return
		}
		wait = w.config.Doubt
	}
}

// due is how long the oldest call may go on before there is doubt. Without calls
// the watch is over.
func (w *Watch) due() (wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 {
		w.watching = false
		return 0, false
	}
	oldest := time.Now()
	for c := range w.calls {
		if c.since.Before(oldest) {
			oldest = c.since
		}
	}
	return w.config.Doubt - time.Since(oldest), true
}

func (w *Watch) probe() error {
	ctx, cancel := context.WithTimeout(w.ctx, w.config.Patience)
	defer cancel()
	return w.config.Probe(ctx)
}

// stop ends all calls, and waits until the server answers again.
func (w *Watch) stop(failure error) {
	w.mu.Lock()
	w.away = true
	w.stops++
	for c := range w.calls {
		c.end(ErrAway)
	}
	w.mu.Unlock()
	if w.config.Stopped != nil {
		w.config.Stopped(failure)
	}
	for w.rest(w.config.Again) {
		if w.probe() != nil {
			continue
		}
		if w.config.Back != nil {
			w.config.Back()
		}
		break
	}
	w.mu.Lock()
	w.away, w.watching = false, false
	w.mu.Unlock()
}

// rest tells whether the watch goes on afterwards.
func (w *Watch) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}
