package breaker_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/breaker"
)

var errAway = errors.New("away")

func call(t *testing.T, b *breaker.Breaker, o breaker.Outcome) {
	t.Helper()
	done, keepOff := b.Begin()
	if done == nil {
		t.Fatalf("a call is kept off for %v", keepOff)
	}
	done(o, errAway)
}

func kept(t *testing.T, b *breaker.Breaker, want time.Duration) {
	t.Helper()
	if done, keepOff := b.Begin(); done != nil || keepOff != want {
		t.Fatalf("let through: %t, keep off for %v; want %v", done != nil, keepOff, want)
	}
}

func TestOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		b := breaker.New(breaker.Config{
			Failures: 3, Pause: time.Minute,
			Opened: func(err error) { told = append(told, "opened: "+err.Error()) }, Closed: func() { told = append(told, "closed") },
		})
		for range 2 {
			call(t, b, breaker.Failed)
		}
		call(t, b, breaker.Worked) // not in a row
		for range 2 {
			call(t, b, breaker.Failed)
		}
		call(t, b, breaker.Abandoned)
		if b.Open() {
			t.Fatal("it opened after two failures in a row")
		}
		call(t, b, breaker.Failed)
		kept(t, b, time.Minute)
		time.Sleep(59 * time.Second)
		kept(t, b, time.Second)
		time.Sleep(time.Second)

		done, _ := b.Begin() // one tries, the others wait
		kept(t, b, time.Minute)
		done(breaker.Failed, errAway)
		kept(t, b, time.Minute)
		time.Sleep(time.Minute)
		call(t, b, breaker.Abandoned) // and leaves the try to the next
		call(t, b, breaker.Worked)
		if b.Open() || b.Times() != 1 {
			t.Errorf("open %t, opened %d times; want once, and closed", b.Open(), b.Times())
		}
		call(t, b, breaker.Failed)
		if len(told) != 2 || told[0] != "opened: away" || told[1] != "closed" {
			t.Errorf("told %q", told)
		}
	})
}

// A call that began before the breaker opened must not put the try off when it
// fails late; when it works, that counts.
func TestLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Pause: time.Minute})
		slow, _ := b.Begin()
		lucky, _ := b.Begin()
		call(t, b, breaker.Failed)
		time.Sleep(30 * time.Second)
		slow(breaker.Failed, errAway)
		kept(t, b, 30*time.Second)
		lucky(breaker.Worked, nil)
		if b.Open() {
			t.Error("an answer does not close it")
		}
	})
}

func TestOneTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Failures: 1, Pause: time.Second})
		call(t, b, breaker.Failed)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		var mu sync.Mutex
		through := 0
		for range 50 {
			wg.Go(func() {
				if done, _ := b.Begin(); done != nil {
					mu.Lock()
					through++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if through != 1 {
			t.Errorf("%d calls were let through", through)
		}
	})
}

func TestHold(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Config{Failures: 1, Pause: time.Hour})
	b.Hold()
	if done, wait := b.Begin(); done != nil || wait != time.Hour || !b.Open() || b.Times() != 1 {
		t.Errorf("while it is held: %t, %v, open %t, %d times", done != nil, wait, b.Open(), b.Times())
	}
	b.Release()
	done, _ := b.Begin()
	if done == nil || b.Open() {
		t.Fatal("after that calls are kept off")
	}
	done(breaker.Failed, nil)
	if done, _ := b.Begin(); done != nil {
		t.Fatal("a failure opens it no more")
	}
	b.Hold()
	b.Release()
	if done, _ := b.Begin(); done == nil { // what had failed before may work now
		t.Error("after that no call may try")
	}
}
