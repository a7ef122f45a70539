package tasktest

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"safelight/internal/task"
)

// becomes is what a live task is to be after another submission of its name.
func becomes(k task.Task, n task.New, at time.Time) task.Task {
	k.Args, k.Image, k.Input, k.Priority, k.Lock = n.Args, n.Image, n.Input, n.Priority, n.Lock
	k.MaxAttempts, k.Timeout, k.RunAt = n.MaxAttempts, n.Timeout, n.RunAt
	k.Attempt, k.Postponed, k.Again, k.Updated = 0, 0, nil, at
	k.State = task.Scheduled
	if k.RunAt.IsZero() || !k.RunAt.After(at) {
		k.RunAt, k.State = at, task.Ready
	}
	k.Lease, k.Until, k.Deadline = "", time.Time{}, time.Time{}
	if len(k.Args) == 0 {
		k.Args = json.RawMessage(`{}`)
	}
	return k
}

// againWaiting submits one name while its task waits, with times that lie
// before and behind the last, and after an attempt that failed.
func againWaiting(t *testing.T, b *bed) {
	first := full(plain)
	k := b.add(t, first)
	again := func(change func(*task.New)) {
		t.Helper()
		n := full(plain)
		change(&n)
		b.pass(time.Second)
		expected := becomes(k, n, b.Now())
		if k = b.add(t, n); !reflect.DeepEqual(k, expected) {
			t.Fatalf("Submit gave\n%+v, expected\n%+v", k, expected)
		}
	}
	again(func(n *task.New) { n.RunAt = origin.Add(time.Hour) })
	again(func(n *task.New) { n.RunAt = origin.Add(20 * time.Second) })
	again(func(n *task.New) { *n = named(plain, n.Name) }) // everything left out, at once
	k = b.take(t, plain)
	k = b.accept(t, says(k, task.Failed))
	if k.State != task.Scheduled || k.Attempt != 1 {
		t.Fatalf("the task is %+v, expected one attempt and to wait", k)
	}
	again(func(n *task.New) { n.RunAt, n.Priority = time.Time{}, 9 })
	again(func(n *task.New) { n.RunAt = origin.Add(time.Hour) })
	if found := b.find(t, task.Filter{}); len(found) != 1 {
		t.Fatalf("%d tasks are stored, expected 1", len(found))
	}
}

// endings are the ways in which an attempt ends.
var endings = map[string]func(*testing.T, *bed, task.Task){
	"done":   func(t *testing.T, b *bed, k task.Task) { b.accept(t, says(k, task.Succeeded)) },
	"failed": func(t *testing.T, b *bed, k task.Task) { b.accept(t, says(k, task.Failed)) },
	"later": func(t *testing.T, b *bed, k task.Task) {
		r := says(k, task.Later)
		r.Delay = time.Hour
		b.accept(t, r)
	},
	"dead": func(t *testing.T, b *bed, k task.Task) {
		r := says(k, task.Failed)
		r.Final = true
		b.accept(t, r)
	},
	"lease over": func(t *testing.T, b *bed, _ task.Task) { b.after(t, time.Minute) },
	"time over": func(t *testing.T, b *bed, k task.Task) {
		r := says(k, task.Beat)
		r.Extend = 10 * time.Minute
		b.accept(t, r)
		b.after(t, 5*time.Minute)
	},
	"abandoned": func(t *testing.T, b *bed, k task.Task) {
		if n, err := b.Abandon(ctx, k.Worker); n != 1 || err != nil {
			t.Fatalf("Abandon gave %d, %v", n, err)
		}
	},
}

// againRunning submits one name while its task runs, and lets the attempt end
// in every way: nothing but the new submission counts then.
func againRunning(t *testing.T, b *bed) {
	for name, end := range endings {
		n := named(fragile, name)
		n.Timeout = 5 * time.Minute
		b.add(t, n)
		k := b.take(t, fragile)
		n = full(fragile)
		n.Name, n.RunAt, n.Lock.Limit = name, b.Now().Add(24*time.Hour), 100
		b.pass(time.Second)
		expected := k
		expected.Again, expected.Updated = &n, b.Now()
		if got := compact(b.add(t, n)); !reflect.DeepEqual(got, compact(expected)) {
			t.Fatalf("%s: Submit gave\n%+v, expected\n%+v", name, got, expected)
		}
		end(t, b, k)
		got := b.wantState(t, k.ID, task.Scheduled)
		expected = becomes(got, n, b.Now())
		expected.Created, expected.Started, expected.Finished = k.Created, k.Started, time.Time{}
		if !reflect.DeepEqual(got, compact(expected)) {
			t.Fatalf("%s: the task is\n%+v, expected\n%+v", name, got, compact(expected))
		}
		b.lost(t, says(k, task.Succeeded))
	}
	b.none(t, task.Filter{Function: mourning})
	if found := b.find(t, task.Filter{}); len(found) != len(endings) {
		t.Fatalf("%d tasks are stored, expected %d", len(found), len(endings))
	}
	b.after(t, 48*time.Hour)
	if got := b.claim(t, asks(100, fragile)); len(got) != len(endings) || got[0].Attempt != 1 {
		t.Fatalf("%d of %d tasks ran again", len(got), len(endings))
	}
}

// againTwice: while a task runs, one submission replaces another; a time that
// has passed by then is at once.
func againTwice(t *testing.T, b *bed) {
	b.add(t, named(plain, "a"))
	k := b.take(t, plain)
	n := full(plain)
	n.Name = "a"
	b.add(t, n)
	n.Priority, n.RunAt = 3, origin.Add(30*time.Second)
	b.add(t, n)
	b.pass(31 * time.Second)
	got := b.accept(t, says(k, task.Succeeded))
	if got.State != task.Ready || got.Priority != 3 || got.RunAt != b.Now() || got.Again != nil {
		t.Fatalf("the task is %+v, expected the last submission, ready", got)
	}
	if got = b.take(t, plain); got.ID != k.ID || got.Attempt != 1 || got.Lease == k.Lease {
		t.Fatalf("Claim gave %+v", got)
	}
	if got = b.accept(t, says(got, task.Succeeded)); got.State != task.Done {
		t.Fatalf("the task is %s, expected done", got.State)
	}
}

func againInOneCall(t *testing.T, b *bed) {
	x, y := named(plain, "a"), named(plain, "a")
	x.Priority, y.Priority = 1, 2
	stored := b.submit(t, x, job(plain), y)
	if stored[0].ID != stored[2].ID || stored[0].Priority != 1 || stored[2].Priority != 2 {
		t.Fatalf("Submit gave %+v", stored)
	}
	b.want(t, stored[2])
}

func againCancelled(t *testing.T, b *bed) {
	b.add(t, named(plain, "a"))
	k := b.take(t, plain)
	b.add(t, named(plain, "a"))
	b.alter(t, task.Cancel, task.Filter{ID: k.ID}, 1)
	if got := b.wantState(t, k.ID, task.Cancelled); got.Again != nil {
		t.Fatalf("the task is %+v", got)
	}
	b.lost(t, says(k, task.Succeeded))
}

func namesFree(t *testing.T, b *bed) {
	first := b.add(t, named(plain, "a"))
	finish := []func(task.Task){
		func(k task.Task) { b.accept(t, says(k, task.Succeeded)) },
		func(k task.Task) {
			r := says(k, task.Failed)
			r.Final = true
			b.accept(t, r)
		},
		func(k task.Task) { b.alter(t, task.Cancel, task.Filter{ID: k.ID}, 1) },
	}
	last := first
	for i, end := range finish {
		end(b.take(t, plain))
		before := b.get(t, last.ID)
		next := b.add(t, named(plain, "a"))
		if next.ID == last.ID || next.State != task.Ready {
			t.Fatalf("ending %d: the name gave %+v, expected a new task", i, next)
		}
		b.want(t, before)
		last = next
	}
}

func namesApart(t *testing.T, b *bed) {
	other := named(plain, "a")
	other.Owner = "other"
	stored := b.submit(t, named(plain, "a"), other, named(single, "a"), named(plain, "A"), named(plain, "a "), job(plain), job(plain))
	if found := b.find(t, task.Filter{}); len(found) != len(stored) {
		t.Fatalf("%d tasks are stored, expected %d", len(found), len(stored))
	}
}
