package render

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestFlightsWorkOnceForMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		var works, shared atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				v, joined, err := f.do(t.Context(), "a", func(context.Context) (int, error) {
					time.Sleep(time.Second) // in the bubble: until everybody waits
					return int(works.Add(1)), nil
				})
				if v != 1 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
				if joined {
					shared.Add(1)
				}
			})
		}
		wg.Wait()
		if works.Load() != 1 || shared.Load() != 49 || len(f.all) != 0 {
			t.Errorf("%d works, %d joined, %d left over", works.Load(), shared.Load(), len(f.all))
		}
	})
}

func TestFlightsOfOtherKeysAreApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[int, int]
		var wg sync.WaitGroup
		start := time.Now()
		for key := range 10 {
			wg.Go(func() {
				v, joined, err := f.do(t.Context(), key, func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return key * key, nil
				})
				if v != key*key || joined || err != nil {
					t.Errorf("%d: %d, %t, %v", key, v, joined, err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestFlightsShareAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, _, err := f.do(t.Context(), "a", func(context.Context) (int, error) {
					time.Sleep(time.Second)
					return 0, io.ErrNoProgress
				})
				if !errors.Is(err, io.ErrNoProgress) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if v, joined, err := f.do(t.Context(), "a", func(context.Context) (int, error) { return 2, nil }); v != 2 || joined || err != nil {
			t.Errorf("after the error: %d, %t, %v", v, joined, err)
		}
	})
}

func TestFlightGoesOnWithoutItsFirstCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		type key struct{}
		first, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		var wg sync.WaitGroup
		work := func(ctx context.Context) (int, error) {
			time.Sleep(time.Minute)
			if ctx.Value(key{}) != "kept" {
				t.Error("the first caller's values are lost")
			}
			return 7, ctx.Err()
		}
		wg.Go(func() {
			if _, _, err := f.do(first, "a", work); !errors.Is(err, context.Canceled) {
				t.Errorf("the first caller got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if v, joined, err := f.do(t.Context(), "a", work); v != 7 || !joined || err != nil {
				t.Errorf("the second caller got %d, %t, %v", v, joined, err)
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()
	})
}

func TestFlightEndsWithItsLastCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		var wg sync.WaitGroup
		ended := make(chan error, 1)
		abandon := make(chan struct{})
		slow := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			<-abandon // a codec process takes its time to go
			return 0, ctx.Err()
		}
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
			defer cancel()
			wg.Go(func() {
				if _, _, err := f.do(ctx, "a", slow); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("caller %d got %v", i, err)
				}
			})
		}
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the work ended while somebody waited: %v", err)
		default:
		}
		wg.Wait()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the work saw %v", err)
		}
		// The old work still runs, but who asks now gets new work.
		v, joined, err := f.do(t.Context(), "a", func(context.Context) (int, error) { return 3, nil })
		if v != 3 || joined || err != nil {
			t.Errorf("afresh: %d, %t, %v", v, joined, err)
		}
		close(abandon)
		synctest.Wait()
		if len(f.all) != 0 {
			t.Errorf("%d left over", len(f.all))
		}
	})
}

func TestOldFlightLeavesTheNewOneAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		ctx, leave := context.WithCancel(t.Context())
		old, young := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _ = f.do(ctx, "a", func(context.Context) (int, error) { <-old; return 1, nil }) })
		synctest.Wait()
		leave()
		wg.Wait()
		ask := func(joins bool) {
			wg.Go(func() {
				v, joined, err := f.do(t.Context(), "a", func(context.Context) (int, error) { <-young; return 2, nil })
				if v != 2 || joined != joins || err != nil {
					t.Errorf("%d, %t, %v", v, joined, err)
				}
			})
			synctest.Wait()
		}
		ask(false)
		close(old) // the end of the old work must not make the new one forgotten
		synctest.Wait()
		ask(true)
		close(young)
		wg.Wait()
	})
}
