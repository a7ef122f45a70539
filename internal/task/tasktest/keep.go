package tasktest

import (
	"cmp"
	"reflect"
	"slices"
	"testing"
	"time"

	"safelight/internal/task"
)

func tickExact(t *testing.T, b *bed) {
	k := b.add(t, timed(plain, origin.Add(1234*time.Millisecond)))
	b.after(t, 1233*time.Millisecond)
	b.want(t, k)
	b.pass(999 * time.Microsecond)
	b.tick(t)
	b.want(t, k)
	b.pass(time.Microsecond)
	b.took(t, asks(1, plain)) // a claim alone doesn't move the clock's hand
	b.tick(t)
	k.State, k.Updated = task.Ready, b.Now()
	b.want(t, k)
	b.tick(t)
	b.want(t, k)
	b.took(t, asks(1, plain), k)
}

func tickNext(t *testing.T, b *bed) {
	next := func(expected time.Time) {
		t.Helper()
		if got := b.tick(t); got != expected {
			t.Fatalf("the next tick is at %v, expected %v", got, expected)
		}
	}
	next(time.Time{})
	b.add(t, job("idle")) // ready: nothing falls due
	next(time.Time{})
	due := origin.Add(time.Hour)
	b.add(t, timed(plain, due))
	b.add(t, timed(plain, due.Add(time.Hour)))
	next(due)
	b.add(t, job(plain))
	k := b.take(t, plain)
	next(k.Until)
	r := says(k, task.Beat)
	r.Extend = task.MinLease
	next(b.accept(t, r).Until)
	failed := b.accept(t, says(k, task.Failed))
	next(failed.RunAt)
	b.alter(t, task.Cancel, task.Filter{ID: failed.ID}, 1)
	next(due)
	b.pass(time.Hour)
	next(due.Add(time.Hour))
	b.pass(2 * time.Hour)
	next(time.Time{})
	if got := b.claim(t, asks(10, plain)); len(got) != 2 {
		t.Fatalf("%d tasks are ready, expected 2", len(got))
	}
}

func tickMany(t *testing.T, b *bed) {
	const tasks = 2500
	for i := range 5 {
		at := origin.Add(time.Minute + time.Duration(i)*time.Second)
		b.submit(t, repeated(timed(plain, at), tasks/5)...)
	}
	last := b.add(t, timed(plain, origin.Add(time.Hour)))
	b.pass(2 * time.Minute)
	if next := b.tick(t); next != last.RunAt {
		t.Fatalf("the next tick is at %v, expected %v", next, last.RunAt)
	}
	b.wantCounts(t,
		task.Count{Function: plain, State: task.Scheduled, Tasks: 1},
		task.Count{Function: plain, State: task.Ready, Tasks: tasks, Oldest: origin.Add(time.Minute)})
}

func abandon(t *testing.T, b *bed) {
	b.submit(t, repeated(job(plain), 5)...)
	b.submit(t, named(plain, "again"))
	c := asks(6, plain)
	c.Worker = task.NodePrefix + "gone"
	lost := b.claim(t, c)
	b.submit(t, job(plain), job(plain), named(plain, "again"))
	c.Worker = "stays"
	kept := b.claim(t, c)
	b.accept(t, says(lost[0], task.Failed))
	if n, err := b.Abandon(ctx, task.NodePrefix+"gone"); n != 5 || err != nil {
		t.Fatalf("Abandon gave %d, %v; expected 5", n, err)
	}
	for _, k := range lost[1:] {
		got := b.wantState(t, k.ID, task.Ready)
		if got.RunAt != b.Now() || got.Name == "" && (got.Attempt != 1 || got.Error == "") || got.Name != "" && got.Attempt != 0 {
			t.Fatalf("the task is %+v", got)
		}
		b.lost(t, says(k, task.Succeeded))
	}
	for _, k := range kept {
		b.want(t, k)
	}
	for _, who := range []string{task.NodePrefix + "gone", "nobody", "stay"} {
		if n, err := b.Abandon(ctx, who); n != 0 || err != nil {
			t.Fatalf("Abandon(%q) gave %d, %v", who, n, err)
		}
	}
}

// abandonCount: tasks that follow from the leases' ends are not counted, and
// there may be more than one transaction holds.
func abandonCount(t *testing.T, b *bed) {
	const tasks = 1500
	for range 3 {
		b.submit(t, repeated(job(fragile), tasks/3)...)
		b.claim(t, asks(tasks/3, fragile))
	}
	if n, err := b.Abandon(ctx, "w1"); n != tasks || err != nil {
		t.Fatalf("Abandon gave %d, %v; expected %d", n, err, tasks)
	}
	b.wantCounts(t,
		task.Count{Function: fragile, State: task.Dead, Tasks: tasks},
		task.Count{Function: mourning, State: task.Ready, Tasks: tasks, Oldest: b.Now()})
}

// lostTogether: a task that dies leads to one that is taken back with it.
func lostTogether(t *testing.T, b *bed) {
	first, second := named(fragile, "x"), named(mourning, "x")
	first.Args = []byte(`{"n":1}`)
	for i, lose := range []func(){
		func() { b.after(t, time.Minute) },
		func() { _, _ = b.Abandon(ctx, "w1") },
	} {
		for _, order := range [][]task.New{{first, second}, {second, first}} {
			for _, n := range order {
				b.add(t, n)
				b.take(t, n.Function)
				b.pass(time.Millisecond)
			}
			lose()
			found := b.find(t, task.Filter{Function: mourning, States: []task.State{task.Ready}})
			if len(found) != 1 || found[0].Again != nil || found[0].Attempt != 0 || string(squeeze(found[0].Args)) != string(first.Args) {
				t.Fatalf("way %d: of the task that follows there is\n%+v", i, found)
			}
			b.accept(t, says(b.take(t, mourning), task.Succeeded))
		}
	}
}

func (b *bed) prune(t *testing.T, done, dead time.Time, limit, expected int) {
	t.Helper()
	if n, err := b.Prune(ctx, done, dead, limit); n != expected || err != nil {
		t.Fatalf("Prune gave %d, %v; expected %d", n, err, expected)
	}
}

func prune(t *testing.T, b *bed) {
	never := time.Time{}
	all := b.each(t, plain)
	at := b.Now()
	b.pass(time.Hour)
	b.prune(t, never, never, 100, 0)
	b.prune(t, at, at, 100, 0) // before, not at
	soon := at.Add(time.Millisecond)
	wantGone := func(gone ...task.State) {
		t.Helper()
		left := b.find(t, task.Filter{})
		if len(left) != len(all)-len(gone) {
			t.Fatalf("%d tasks are left, expected all but %v", len(left), gone)
		}
		for _, k := range left {
			if slices.Contains(gone, k.State) {
				t.Fatalf("there still is one that is %s", k.State)
			}
			b.want(t, all[k.State])
		}
	}
	b.prune(t, soon, never, 100, 2)
	wantGone(task.Done, task.Cancelled)
	b.prune(t, b.Now(), never, 100, 0)
	b.prune(t, never, soon, 100, 1)
	wantGone(task.Done, task.Cancelled, task.Dead)
	b.prune(t, b.Now(), b.Now(), 100, 0)
}

func pruneLimit(t *testing.T, b *bed) {
	for range 3 {
		b.submit(t, repeated(job(plain), 5)...)
		var reports []task.Report
		for i, k := range b.claim(t, asks(5, plain)) {
			kind := task.Succeeded
			if i == 0 {
				kind = task.Failed
			}
			r := says(k, kind)
			r.Final = true
			reports = append(reports, r)
		}
		b.report(t, reports...)
		b.pass(time.Second)
	}
	b.prune(t, b.Now(), b.Now(), 0, 0)
	b.prune(t, b.Now(), b.Now(), 4, 4)
	b.prune(t, b.Now(), b.Now(), 10, 10)
	b.prune(t, b.Now(), b.Now(), 10, 1)
	b.none(t, task.Filter{})
}

// wantCounts compares the counts of those that are not done or cancelled, which
// a queue may leave out.
func (b *bed) wantCounts(t *testing.T, expected ...task.Count) {
	t.Helper()
	got, err := b.Counts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got = slices.DeleteFunc(got, func(c task.Count) bool { return c.State == task.Done || c.State == task.Cancelled })
	order := func(a, b task.Count) int {
		return cmp.Or(cmp.Compare(a.Function, b.Function), cmp.Compare(a.State, b.State))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(expected, order)
	if len(got)+len(expected) > 0 && !reflect.DeepEqual(got, expected) {
		t.Fatalf("Counts gave\n%+v, expected\n%+v", got, expected)
	}
}

func counts(t *testing.T, b *bed) {
	b.wantCounts(t)
	all := b.each(t, plain)
	b.pass(time.Minute / 2)
	b.submit(t, owned(job(plain), "other", 3)...)
	b.submit(t, job("x"))
	b.wantCounts(t,
		task.Count{Function: plain, State: task.Scheduled, Tasks: 1},
		task.Count{Function: plain, State: task.Ready, Tasks: 4, Oldest: all[task.Ready].RunAt},
		task.Count{Function: plain, State: task.Running, Tasks: 1},
		task.Count{Function: plain, State: task.Dead, Tasks: 1},
		task.Count{Function: "x", State: task.Ready, Tasks: 1, Oldest: b.Now()})
}

func announce(t *testing.T, b *bed) {
	expected := make(map[string]time.Time)
	for _, functions := range [][]string{{}, {"x", "y"}, {"y", "z"}, {"x", "x"}} {
		if err := b.Announce(ctx, functions); err != nil {
			t.Fatal(err)
		}
		for _, f := range functions {
			expected[f] = b.Now()
		}
		if got, err := b.Announced(ctx); err != nil || !reflect.DeepEqual(got, expected) {
			t.Fatalf("Announced gave %v, %v; expected %v", got, err, expected)
		}
		b.pass(time.Second)
	}
}
