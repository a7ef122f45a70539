package render

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
)

func TestAdmissionKeepsTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(100, 1000, time.Hour)
		var held, most atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 100 {
			cost := int64(i%30 + 1)
			wg.Go(func() {
				leave, err := a.enter(t.Context(), cost, Awaited)
				if err != nil {
					t.Error(err)
					return
				}
				now := held.Add(cost)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				time.Sleep(time.Second)
				held.Add(-cost)
				leave()
			})
		}
		wg.Wait()
		if most.Load() > 100 || most.Load() < 70 || a.waiting.Load() != 0 || a.refused.Load() != 0 {
			t.Errorf("at most %d held; %d wait, %d refused", most.Load(), a.waiting.Load(), a.refused.Load())
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestAdmissionCosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(100, 1, time.Second)
		for _, cost := range []int64{-5, 0, 1, 100, 101, 1 << 62} {
			leave, err := a.enter(t.Context(), cost, Awaited)
			if err != nil {
				t.Fatalf("%d: %v", cost, err)
			}
			leave()
		}
		leave, err := a.enter(t.Context(), 1<<62, Awaited) // all of it, and no more
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.enter(t.Context(), 1, Awaited); fault.Of(err) != fault.Unavailable {
			t.Errorf("beside all of it: %v", err)
		}
		leave()
	})
}

func TestAdmissionRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(10, 2, 3*time.Second)
		leave, err := a.enter(t.Context(), 10, Awaited)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		start := time.Now()
		for range 2 {
			wg.Go(func() {
				_, err := a.enter(t.Context(), 1, Awaited)
				checkOverloaded(t, err)
				if waited := time.Since(start); waited != 3*time.Second {
					t.Errorf("waited %s", waited)
				}
			})
		}
		synctest.Wait()
		if a.waiting.Load() != 2 {
			t.Errorf("%d wait", a.waiting.Load())
		}
		_, err = a.enter(t.Context(), 1, Awaited) // the queue is full: at once
		checkOverloaded(t, err)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("a full queue let wait %s", waited)
		}
		wg.Wait()
		if a.waiting.Load() != 0 || a.refused.Load() != 3 {
			t.Errorf("%d wait, %d refused", a.waiting.Load(), a.refused.Load())
		}
		leave()
		if leave, err := a.enter(t.Context(), 10, Awaited); err != nil {
			t.Errorf("what was given back is not there: %v", err)
		} else {
			leave()
		}
	})
}

func checkOverloaded(t *testing.T, err error) {
	t.Helper()
	if e := fault.As(err); e == nil || e.Kind != fault.Unavailable || e.Code != "overloaded" || e.RetryAfter <= 0 {
		t.Errorf("%+v", err)
	}
}

func TestAdmissionQueueIsForThoseWhoWait(t *testing.T) {
	t.Parallel()
	a := newAdmission(1000, 1, time.Second)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if leave, err := a.enter(t.Context(), 1, Awaited); err != nil {
				t.Errorf("refused beside a free budget: %v", err)
			} else {
				defer leave()
			}
		})
	}
	wg.Wait()
}

func TestAdmissionOfOneWhoLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission(10, 2, time.Hour)
		leave, err := a.enter(t.Context(), 10, Awaited)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.enter(ctx, 1, Awaited); fault.Of(err) != fault.Canceled || a.refused.Load() != 0 || a.waiting.Load() != 0 {
			t.Errorf("%v; %d refused, %d wait", err, a.refused.Load(), a.waiting.Load())
		}
		leave()
	})
}

func TestFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFailures()
		for i, k := range fault.Kinds() {
			key := cache.Key{Source: asset.Digest{byte(i)}}
			f.note(key, fault.New(k, "no"))
			remembered := k == fault.Unprocessable || k == fault.Timeout
			if err := f.recall(key); (err != nil) != remembered || remembered && fault.Of(err) != k {
				t.Errorf("%s: %v", k, err)
			}
		}
		key := cache.Key{Variant: asset.VariantKey{1}}
		f.note(key, fault.New(fault.Timeout, "slow"))
		time.Sleep(failureKept)
		if f.recall(key) == nil {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Nanosecond)
		if err := f.recall(key); err != nil || len(f.all) == 0 {
			t.Errorf("not forgotten: %v", err)
		}
	})
}

func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	f := newFailures()
	for i := range 3 * maxFailures {
		var key cache.Key
		copy(key.Source[:], fmt.Sprint(i))
		f.note(key, fault.New(fault.Unprocessable, "no"))
		if len(f.all) > maxFailures || f.recall(key) == nil {
			t.Fatalf("%d remembered", len(f.all))
		}
	}
}
