package tasktest

import (
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// patience bounds how long a signal that must come is waited for.
const patience = 30 * time.Second

func comes(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: no signal came", what)
	}
}

func quiet(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Fatalf("%s: a signal came", what)
	default:
	}
}

// signalsReady: whoever waits is woken once there is a task, and finds it.
func signalsReady(t *testing.T, b *bed) {
	woken := func(what, function string, act func()) task.Task {
		t.Helper()
		w := b.cfg.Signals.Wait([]string{"another", function})
		defer b.cfg.Signals.Leave(w)
		found := make(chan []task.Task, 1)
		go func() {
			defer close(found)
			select {
			case <-w.C:
				if got, err := b.Claim(ctx, asks(1, function)); err == nil {
					found <- got
				}
			case <-time.After(patience):
			}
		}()
		act()
		got := <-found
		if len(got) != 1 {
			t.Fatalf("%s: who was waiting found %d tasks", what, len(got))
		}
		return got[0]
	}
	k := woken("submitted", plain, func() { b.submit(t, job(plain)) })
	k = woken("later", plain, func() { b.report(t, says(k, task.Later)) })
	k = woken("failed, then due", plain, func() {
		b.report(t, says(k, task.Failed))
		b.after(t, time.Hour)
	})
	k = woken("lease over, then due", plain, func() {
		b.after(t, time.Minute)
		b.after(t, time.Minute)
	})
	woken("dead", mourning, func() {
		b.submit(t, job(fragile))
		b.report(t, says(b.take(t, fragile), task.Failed))
	})
	woken("next", "child", func() {
		r := says(k, task.Failed)
		r.Next = []task.New{job("child")}
		b.report(t, r)
	})
	woken("retried", plain, func() { b.alter(t, task.Retry, task.Filter{ID: k.ID}, 1) })
	woken("abandoned", plain, func() {
		if n, err := b.Abandon(ctx, "w1"); n == 0 || err != nil {
			t.Errorf("Abandon gave %d, %v", n, err)
		}
	})
}

// signalsEach: as many of those who wait are woken as there are tasks.
func signalsEach(t *testing.T, b *bed) {
	var waiters []*task.Waiter
	for range 3 {
		waiters = append(waiters, b.cfg.Signals.Wait([]string{triple}))
	}
	bad := job(triple)
	bad.Priority = 5000
	if _, err := b.Submit(ctx, []task.New{job(triple), bad}); err == nil {
		t.Fatal("a bad task was stored")
	}
	quiet(t, "a submission that failed", waiters[0].C)
	b.submit(t, job(triple), job(triple), timed(triple, b.Now().Add(time.Hour)))
	comes(t, "two are ready", waiters[0].C)
	comes(t, "two are ready", waiters[1].C)
	quiet(t, "two are ready", waiters[2].C)
}

func signalsChanged(t *testing.T, b *bed) {
	other := b.add(t, job(single))
	calm, end := b.cfg.Signals.Watch(other.ID)
	defer end()
	watched := func(what string, id asset.ID, act func()) {
		t.Helper()
		c, end := b.cfg.Signals.Watch(id)
		defer end()
		act()
		comes(t, what, c)
	}
	k := b.add(t, named(plain, "a"))
	watched("claimed", k.ID, func() { k = b.take(t, plain) })
	watched("heartbeat", k.ID, func() { b.accept(t, says(k, task.Beat)) })
	watched("submitted again", k.ID, func() { b.submit(t, named(plain, "a")) })
	watched("lease over", k.ID, func() { b.after(t, time.Minute) })
	k = b.take(t, plain)
	watched("failed", k.ID, func() { b.accept(t, says(k, task.Failed)) })
	watched("due", k.ID, func() { b.after(t, time.Minute) })
	k = b.take(t, plain)
	watched("done", k.ID, func() { b.accept(t, says(k, task.Succeeded)) })
	k = b.add(t, job(plain))
	watched("cancelled", k.ID, func() { b.alter(t, task.Cancel, task.Filter{ID: k.ID}, 1) })
	watched("retried", k.ID, func() { b.alter(t, task.Retry, task.Filter{ID: k.ID}, 1) })
	k = b.take(t, plain)
	watched("abandoned", k.ID, func() { _, _ = b.Abandon(ctx, k.Worker) })
	quiet(t, "another task's changes", calm)
}

// signalsSooner: what falls due before the time that the ticker has planned
// wakes it, and nothing else does.
func signalsSooner(t *testing.T, b *bed) {
	plan := func(d time.Duration) <-chan struct{} {
		c := b.cfg.Signals.Planned(b.Now().Add(d))
		select { // what came before
		case <-c:
		default:
		}
		return c
	}
	c := plan(time.Hour)
	b.submit(t, timed(plain, b.Now().Add(2*time.Hour)), job(plain))
	quiet(t, "a task for later", c)
	b.submit(t, timed(plain, b.Now().Add(30*time.Minute)))
	comes(t, "a task for sooner", c)
	c = plan(30 * time.Second)
	c1 := asks(1, plain)
	k := b.claim(t, c1)[0]
	quiet(t, "a lease for longer", c)
	c = plan(2 * time.Minute)
	r := says(k, task.Beat)
	r.Extend = time.Minute
	b.accept(t, r)
	comes(t, "a lease", c)
	c = plan(30 * time.Second)
	b.accept(t, says(k, task.Failed)) // 11 s
	comes(t, "a failure", c)
	c = b.cfg.Signals.Planned(time.Time{})
	b.submit(t, timed(plain, b.Now().Add(48*time.Hour)))
	comes(t, "a task where nothing was planned", c)
}
