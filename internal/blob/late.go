package blob

import (
	"context"
	"sync"
	"time"

	"safelight/internal/fault"
)

// Late is a store that could not be opened yet: each call tries again, and fails
// as the opening does until it succeeds. So a destination that is away when a
// server starts does not keep it from starting. It is safe for concurrent use.
type Late struct {
	open func() (Store, error)

	mu    sync.Mutex
	store Store
	tried time.Time
	err   error
}

// NewLate makes a store that open will give.
func NewLate(open func() (Store, error)) *Late { return &Late{open: open} }

// lateAgain is how long a failure to open is taken for the present state.
const lateAgain = time.Second

// Store is the store itself, or why there is none yet.
func (l *Late) Store() (Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store == nil && (l.err == nil || time.Since(l.tried) >= lateAgain) {
		l.store, l.err = l.open()
		l.tried = time.Now()
		if l.err != nil {
			l.store = nil
		}
	}
	return l.store, l.err
}

// Create implements Store.
func (l *Late) Create(ctx context.Context) (Writer, error) {
	s, err := l.Store()
	if err != nil {
		return nil, err
	}
	return s.Create(ctx)
}

// Open implements Store.
func (l *Late) Open(ctx context.Context, name string) (Reader, error) {
	s, err := l.Store()
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, name)
}

// Stat implements Store.
func (l *Late) Stat(ctx context.Context, name string) (Info, error) {
	s, err := l.Store()
	if err != nil {
		return Info{}, err
	}
	return s.Stat(ctx, name)
}

// Delete implements Store.
func (l *Late) Delete(ctx context.Context, name string, unless time.Time) (bool, error) {
	s, err := l.Store()
	if err != nil {
		return false, err
	}
	return s.Delete(ctx, name, unless)
}

// List implements Store.
func (l *Late) List(ctx context.Context, prefix string, fn func(Info) error) error {
	s, err := l.Store()
	if err != nil {
		return err
	}
	return s.List(ctx, prefix, fn)
}

// SweepTemp implements Sweeper where the store does.
func (l *Late) SweepTemp(ctx context.Context, olderThan time.Duration) (int, error) {
	s, err := l.Store()
	if err != nil {
		return 0, err
	}
	if sweeper, ok := s.(Sweeper); ok {
		return sweeper.SweepTemp(ctx, olderThan)
	}
	return 0, nil
}

// FreeBytes implements Roomer where the store does; otherwise it fails.
func (l *Late) FreeBytes() (int64, error) {
	s, err := l.Store()
	if err != nil {
		return 0, err
	}
	return room(s)
}

// room is the room in a store, where it knows.
func room(s Store) (int64, error) {
	if roomer, ok := s.(Roomer); ok {
		return roomer.FreeBytes()
	}
	return 0, fault.New(fault.Unsupported, "the store does not know how much room it has")
}
