package recall

import (
	"context"
	"os"
	"sync"
	"time"

	"safelight/internal/blob"
	"safelight/internal/fault"
)

// flights fetch each name once for all who ask at the same time. Unlike
// x/sync/singleflight, the last one to go away cancels the work, and the result
// is freed when nobody reads it any more.
type flights struct {
	mu      sync.Mutex
	running map[string]*flight
}

type flight struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{} // closed when what follows is set
	spool  blob.Writer   // never committed
	bytes  int64
	at     time.Time
	err    error

	opening sync.Mutex // held while spool is opened: a Writer is for one at a time

	members  int // guarded by flights.mu
	finished bool
}

// join starts a flight or gets into the one that is under way. The caller must
// leave it.
func (s *flights) join(ctx context.Context, name string, fetch func(context.Context) (blob.Writer, int64, error)) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.running[name]; ok {
		f.members++
		return f
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{name: name, cancel: cancel, done: make(chan struct{}), members: 1}
	if s.running == nil {
		s.running = map[string]*flight{}
	}
	s.running[name] = f
	go func() {
		f.spool, f.bytes, f.err = fetch(ctx)
		f.at = time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		f.finished = true
		s.drop(f)
		close(f.done)
		if f.members == 0 {
			f.free()
		}
	}()
	return f
}

func (s *flights) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.members--; f.members > 0 {
		return
	}
	f.cancel()
	s.drop(f)
	if f.finished {
		f.free()
	}
}

// drop lets the next who asks start a new flight.
func (s *flights) drop(f *flight) {
	if s.running[f.name] == f {
		delete(s.running, f.name)
	}
}

func (f *flight) free() {
	f.cancel()
	if f.spool != nil {
		f.spool.Abort()
	}
}

// file opens the fetched bytes afresh.
func (f *flight) file() (*os.File, error) {
	filer, ok := f.spool.(blob.Filer)
	if !ok {
		return nil, fault.New(fault.Internal, "the store's temporary space is not local")
	}
	f.opening.Lock()
	defer f.opening.Unlock()
	file, err := filer.File()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "what was recalled could not be opened; try again")
	}
	return file, nil
}
