package render

import (
	"context"
	"sync"
)

// flights makes sure that one value is made once however many ask for it at
// the same time. Unlike x/sync/singleflight, the work goes on as long as
// anybody waits for it, and is cancelled when the last one has left.
type flights[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]*flight[V]
}

type flight[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int // guarded by flights.mu
	value   V
	err     error
}

// do waits for the value of key, calling work in a goroutine of its own if
// nobody does so yet. work gets the values of the first caller's context but
// not its cancellation. shared tells that another caller began the work.
func (f *flights[K, V]) do(ctx context.Context, key K, work func(context.Context) (V, error)) (value V, shared bool, err error) {
	f.mu.Lock()
	if f.all == nil {
		f.all = make(map[K]*flight[V])
	}
	fl, shared := f.all[key]
	if !shared {
		workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		fl = &flight[V]{done: make(chan struct{}), cancel: cancel}
		f.all[key] = fl
		go func() {
			fl.value, fl.err = work(workCtx)
			f.forget(key, fl)
			close(fl.done)
			cancel()
		}()
	}
	fl.waiting++
	f.mu.Unlock()

	select {
	case <-fl.done:
		return fl.value, shared, fl.err
	case <-ctx.Done():
		f.leave(key, fl)
		return value, shared, ctx.Err()
	}
}

// leave gives up waiting; the last to leave cancels the work, and whoever asks
// next starts afresh.
func (f *flights[K, V]) leave(key K, fl *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiting--
	if fl.waiting == 0 {
		fl.cancel()
		if f.all[key] == fl {
			delete(f.all, key)
		}
	}
}

func (f *flights[K, V]) forget(key K, fl *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all[key] == fl {
		delete(f.all, key)
	}
}
