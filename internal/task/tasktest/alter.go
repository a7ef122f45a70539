package tasktest

import (
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// each makes a task of a function in every state.
func (b *bed) each(t *testing.T, function string) map[task.State]task.Task {
	t.Helper()
	all := make(map[task.State]task.Task)
	final := func(k task.Task) task.Report {
		r := says(k, task.Failed)
		r.Final = true
		return r
	}
	b.add(t, job(function))
	all[task.Done] = b.accept(t, says(b.take(t, function), task.Succeeded))
	b.add(t, job(function))
	all[task.Dead] = b.accept(t, final(b.take(t, function)))
	k := b.add(t, job(function))
	b.alter(t, task.Cancel, task.Filter{ID: k.ID}, 1)
	all[task.Cancelled] = b.get(t, k.ID)
	b.add(t, job(function))
	all[task.Running] = b.take(t, function)
	all[task.Ready] = b.add(t, job(function))
	n := job(function)
	n.RunAt = b.Now().Add(time.Hour)
	all[task.Scheduled] = b.add(t, n)
	for state, k := range all {
		b.wantState(t, k.ID, state)
	}
	return all
}

func cancelByID(t *testing.T, b *bed) {
	for state, k := range b.each(t, plain) {
		before := b.get(t, k.ID)
		b.pass(time.Second)
		if state.Finished() {
			n, err := b.Alter(ctx, task.Cancel, task.Filter{ID: k.ID})
			wantKind(t, err, fault.Conflict, state.String())
			if n != 0 {
				t.Fatalf("Alter changed %d tasks", n)
			}
			b.want(t, before)
			continue
		}
		b.alter(t, task.Cancel, task.Filter{ID: k.ID, Owner: owner}, 1)
		before.State, before.Lease, before.Until, before.Deadline = task.Cancelled, "", time.Time{}, time.Time{}
		before.Finished, before.Updated = b.Now(), b.Now()
		b.want(t, before)
	}
	b.after(t, 1000*time.Hour)
	b.took(t, asks(10, plain))
}

func retryByID(t *testing.T, b *bed) {
	for state, k := range b.each(t, plain) {
		before := b.get(t, k.ID)
		b.pass(time.Second)
		if state == task.Running || state == task.Done {
			_, err := b.Alter(ctx, task.Retry, task.Filter{ID: k.ID})
			wantKind(t, err, fault.Conflict, state.String())
			b.want(t, before)
			continue
		}
		b.alter(t, task.Retry, task.Filter{ID: k.ID, Owner: owner}, 1)
		before.State, before.RunAt, before.Updated = task.Ready, b.Now(), b.Now()
		before.Attempt, before.Finished = 0, time.Time{}
		b.want(t, before)
	}
	if got := b.claim(t, asks(10, plain)); len(got) != 4 {
		t.Fatalf("%d tasks are ready, expected 4", len(got))
	}
}

func retryNamed(t *testing.T, b *bed) {
	die := func() task.Task {
		t.Helper()
		b.add(t, named(plain, "a"))
		r := says(b.take(t, plain), task.Failed)
		r.Final = true
		return b.accept(t, r)
	}
	first, second := die(), die()
	live := b.add(t, named(plain, "a"))
	other := named(plain, "a")
	other.Owner = "other"
	b.add(t, other)
	for _, end := range []func(){
		func() {},
		func() {
			live = b.claim(t, task.Claim{Functions: []string{plain}, Owner: owner, Max: 1, Lease: time.Hour / 60})[0]
		},
	} {
		end()
		_, err := b.Alter(ctx, task.Retry, task.Filter{ID: first.ID})
		wantKind(t, err, fault.Conflict)
		b.alter(t, task.Retry, task.Filter{Function: plain, States: []task.State{task.Dead}}, 0)
		b.want(t, first)
		b.want(t, live)
	}
	b.accept(t, says(live, task.Succeeded))
	b.alter(t, task.Retry, task.Filter{States: []task.State{task.Dead}}, 1) // one of the two: then the name is taken
	one, two := b.get(t, first.ID), b.get(t, second.ID)
	if (one.State == task.Ready) == (two.State == task.Ready) {
		t.Fatalf("two of one name are %s and %s", one.State, two.State)
	}
}

func cancelByFilter(t *testing.T, b *bed) {
	all, others := b.each(t, plain), b.each(t, "others")
	b.alter(t, task.Cancel, task.Filter{Owner: owner, Function: plain, States: []task.State{task.Done, task.Dead, task.Cancelled}}, 0)
	b.alter(t, task.Cancel, task.Filter{Function: plain, States: []task.State{task.Ready, task.Done}}, 1)
	b.wantState(t, all[task.Ready].ID, task.Cancelled)
	b.wantState(t, all[task.Scheduled].ID, task.Scheduled)
	b.alter(t, task.Cancel, task.Filter{Function: plain}, 2)
	b.alter(t, task.Cancel, task.Filter{Function: plain}, 0)
	for state, k := range all {
		if state.Live() {
			state = task.Cancelled
		}
		b.wantState(t, k.ID, state)
	}
	for _, k := range others {
		b.want(t, k)
	}
	n := named("others", "x")
	n.Image = mint.New(origin)
	b.submit(t, n)
	b.alter(t, task.Cancel, task.Filter{Name: "x", Owner: "other"}, 0)
	b.alter(t, task.Cancel, task.Filter{Image: mint.New(origin)}, 0)
	b.alter(t, task.Cancel, task.Filter{Name: "x", Image: n.Image}, 1)
}

func retryByFilter(t *testing.T, b *bed) {
	all, others := b.each(t, plain), b.each(t, "others")
	b.alter(t, task.Retry, task.Filter{Function: plain, States: []task.State{task.Running, task.Done}}, 0)
	b.alter(t, task.Retry, task.Filter{Function: plain, States: []task.State{task.Cancelled, task.Done}}, 1)
	b.alter(t, task.Retry, task.Filter{Function: plain, States: []task.State{task.Dead, task.Scheduled}}, 2)
	for state, k := range all {
		if state != task.Running && state != task.Done {
			state = task.Ready
		}
		b.wantState(t, k.ID, state)
	}
	for _, k := range others {
		b.want(t, k)
	}
}

// alterMany goes through more tasks than one transaction should hold.
func alterMany(t *testing.T, b *bed) {
	const tasks = 2500
	for range 5 {
		b.submit(t, repeated(job(plain), tasks/5)...)
	}
	b.submit(t, job("others"))
	f := task.Filter{Owner: owner, Function: plain}
	b.alter(t, task.Cancel, f, tasks)
	f.States = []task.State{task.Cancelled}
	b.alter(t, task.Retry, f, tasks)
	got, err := b.Counts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range got {
		if c.Function == plain && c.State == task.Ready && c.Tasks != tasks {
			t.Fatalf("Counts gave %+v", got)
		}
	}
	if n := len(b.claim(t, asks(1000, plain, "others"))); n != 1000 {
		t.Fatalf("Claim gave %d tasks", n)
	}
}
