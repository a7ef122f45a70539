package breaker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bench is a watch over a server that answers probes or not.
type bench struct {
	*Watch
	silent        atomic.Bool
	probes        atomic.Int64
	stopped, back atomic.Int64
}

func newBench() *bench {
	b := &bench{}
	b.Watch = NewWatch(WatchConfig{
		Doubt: 500 * time.Millisecond, Patience: time.Second, Again: 250 * time.Millisecond,
		Probe: func(ctx context.Context) error {
			b.probes.Add(1)
			if b.silent.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		},
		Stopped: func(error) { b.stopped.Add(1) }, Back: func() { b.back.Add(1) },
	})
	return b
}

// TestSlowIsNotAway: a call may take as long as it likes while probes are
// answered, and short ones cost no probe.
func TestSlowIsNotAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Close()
		for range 100 {
			_, leave, err := b.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			leave()
		}
		if n := b.probes.Load(); n != 0 {
			t.Errorf("%d probes of a server that answers", n)
		}
		ctx, leave, err := b.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if ctx.Err() != nil || b.probes.Load() == 0 || b.stopped.Load() != 0 {
			t.Errorf("a slow call: %v, %d probes, stopped %d times", ctx.Err(), b.probes.Load(), b.stopped.Load())
		}
		leave()
		if ctx.Err() == nil {
			t.Error("the context of a call that is over goes on")
		}
	})
}

// TestSilentServer: calls to a server that is silent end in time, later ones fail
// at once, and when it answers again they go through.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Close()
		for range 3 {
			b.silent.Store(true)
			begin := time.Now()
			old, leave, err := b.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(400 * time.Millisecond)
			young, leaveYoung, err := b.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			<-old.Done()
			<-young.Done()
			if took := time.Since(begin); took > 2*time.Second || !errors.Is(context.Cause(old), ErrAway) || !errors.Is(context.Cause(young), ErrAway) {
				t.Errorf("the calls ended after %v: %v, %v", took, context.Cause(old), context.Cause(young))
			}
			leave()
			leaveYoung()
			for range 50 {
				if _, _, err := b.Enter(t.Context()); !errors.Is(err, ErrAway) || !b.Away() {
					t.Fatalf("a call to a server that is away: %v", err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			b.silent.Store(false)
			begin = time.Now()
			for b.Away() {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it was taken back after %v", took)
			}
			_, leave, err = b.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			leave()
		}
		if b.stopped.Load() != 3 || b.back.Load() != 3 || b.Stops() != 3 {
			t.Errorf("it stopped %d times and came back %d", b.stopped.Load(), b.back.Load())
		}
	})
}

// TestCloseWhileAway: nothing goes on after Close.
func TestCloseWhileAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.silent.Store(true)
		ctx, leave, err := b.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		leave()
		b.Close()
		if b.back.Load() != 0 {
			t.Error("it came back by being closed")
		}
	})
}
