package tasktest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

func succeeded(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	b.accept(t, says(k, task.Failed))
	b.after(t, time.Hour)
	expected := b.take(t, plain)
	b.pass(time.Second)
	r := says(expected, task.Succeeded)
	r.Result = json.RawMessage(`{"bytes":12,"é":null}`)
	got := b.accept(t, r)
	expected.State, expected.Lease, expected.Until, expected.Deadline = task.Done, "", time.Time{}, time.Time{}
	expected.Finished, expected.Updated, expected.Result = b.Now(), b.Now(), r.Result
	expected.Progress, expected.Error = 100, ""
	b.want(t, expected)
	b.after(t, 1000*time.Hour)
	b.want(t, got)
	b.took(t, asks(1, plain))

	b.add(t, job(plain)) // nothing to tell
	if got := b.accept(t, says(b.take(t, plain), task.Succeeded)); got.Result != nil || got.Output != nil {
		t.Fatalf("the task is %+v", got)
	}
}

func succeededOutput(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	r := says(k, task.Beat)
	r.Output = &task.Output{Digest: asset.Digest{9}, Bytes: 5, Type: "image/webp"}
	b.accept(t, r)
	got := b.accept(t, says(k, task.Succeeded))
	if got.State != task.Done || got.Output == nil || *got.Output != *r.Output {
		t.Fatalf("the task is %+v, expected the output that was uploaded", got)
	}
}

// fail claims the one task that is ready and reports that it failed.
func (b *bed) fail(t *testing.T, function string) task.Task {
	t.Helper()
	return b.accept(t, says(b.take(t, function), task.Failed))
}

func failedDelays(t *testing.T, b *bed) {
	n := job(plain)
	n.MaxAttempts = 12 // more than the function's
	k := b.add(t, n)
	for n := 1; n < 12; n++ {
		got := b.fail(t, plain)
		delay := time.Duration(n*(10+n)) * time.Second
		if got.State != task.Scheduled || got.Attempt != n || got.RunAt != b.Now().Add(delay) || got.Error != "it broke" {
			t.Fatalf("after failure %d the task is %+v, expected to wait %s", n, got, delay)
		}
		b.after(t, delay-time.Millisecond)
		b.wantState(t, k.ID, task.Scheduled)
		b.after(t, time.Millisecond)
		b.wantState(t, k.ID, task.Ready)
	}
	got := b.fail(t, plain)
	if got.State != task.Dead || got.Attempt != 12 || got.Finished != b.Now() {
		t.Fatalf("after the last failure the task is %+v", got)
	}
}

func failedBound(t *testing.T, b *bed) {
	b.add(t, job(bounded))
	for _, delay := range []time.Duration{11 * time.Second, 24 * time.Second, 30 * time.Second, 30 * time.Second} {
		if got := b.fail(t, bounded); got.RunAt != b.Now().Add(delay) {
			t.Fatalf("the task runs at %v, expected %s later", got.RunAt, delay)
		}
		b.after(t, delay)
	}
}

func failedJitter(t *testing.T, b *bed) {
	seen := make(map[time.Duration]bool)
	b.submit(t, repeated(job(varied), 40)...)
	for _, k := range b.claim(t, asks(40, varied)) {
		got := b.accept(t, says(k, task.Failed)).RunAt.Sub(b.Now())
		if got < 11*time.Second || got > 16500*time.Millisecond {
			t.Fatalf("the task runs %s later, expected 11 s to 16.5 s", got)
		}
		seen[got] = true
	}
	if len(seen) < 5 {
		t.Fatalf("40 delays are only %v", seen)
	}
}

func failedFinal(t *testing.T, b *bed) {
	b.add(t, job(plain))
	r := says(b.take(t, plain), task.Failed)
	r.Final, r.Error, r.Result = true, "no such image", json.RawMessage(`{"code":404}`)
	got := b.accept(t, r)
	if got.State != task.Dead || got.Attempt != 1 || got.Error != r.Error || string(got.Result) != string(r.Result) || got.Finished != b.Now() {
		t.Fatalf("the task is %+v", got)
	}
	b.none(t, task.Filter{Function: mourning})
}

// failedOut: the function's bound on attempts holds where the task has none.
func failedOut(t *testing.T, b *bed) {
	fewer := job(plain)
	fewer.MaxAttempts = 2
	for _, c := range []struct {
		task     task.New
		attempts int
	}{{job(plain), 3}, {fewer, 2}, {job(fragile), 1}} {
		k := b.add(t, c.task)
		for n := 1; n <= c.attempts; n++ {
			expected := task.Scheduled
			if n == c.attempts {
				expected = task.Dead
			}
			if got := b.fail(t, c.task.Function); got.State != expected || got.Attempt != n {
				t.Fatalf("after failure %d of %d the task is %+v", n, c.attempts, got)
			}
			b.after(t, time.Hour)
		}
		b.wantState(t, k.ID, task.Dead)
	}
}

// onDead: the policy's task follows, whatever made the first one dead.
func onDead(t *testing.T, b *bed) {
	for i, end := range []func(task.Task){
		func(k task.Task) { b.accept(t, says(k, task.Failed)) },
		func(task.Task) { b.after(t, time.Minute) },
		func(k task.Task) { _, _ = b.Abandon(ctx, k.Worker) },
		func(k task.Task) {
			b.accept(t, says(k, task.Later))
			b.accept(t, says(b.take(t, fragile), task.Later))
			b.accept(t, says(b.take(t, fragile), task.Later))
		},
	} {
		n := numbered(fragile, i)
		n.Name, n.Image, n.Owner = "x", mint.New(origin), "other"
		k := b.add(t, n)
		end(b.take(t, fragile))
		dead := b.wantState(t, k.ID, task.Dead)
		got := b.take(t, mourning)
		if got.Owner != "other" || string(squeeze(got.Args)) != string(n.Args) || got.Image != n.Image || got.Name != "x" || got.Created != b.Now() {
			t.Fatalf("ending %d: the task that follows is %+v", i, got)
		}
		b.accept(t, says(got, task.Succeeded))
		b.want(t, dead)
	}
	if found := b.find(t, task.Filter{}); len(found) != 8 {
		t.Fatalf("%d tasks are stored, expected 8", len(found))
	}
}

func later(t *testing.T, b *bed) {
	n := job(plain)
	n.MaxAttempts = 1
	b.add(t, n)
	r := says(b.take(t, plain), task.Later)
	r.Delay, r.Error = 1500*time.Millisecond, "not yet"
	got := b.accept(t, r)
	if got.State != task.Scheduled || got.Attempt != 0 || got.Postponed != 1 || got.RunAt != b.Now().Add(r.Delay) || got.Error != "not yet" {
		t.Fatalf("the task is %+v", got)
	}
	b.after(t, r.Delay)
	got = b.accept(t, says(b.take(t, plain), task.Later))
	if got.State != task.Ready || got.Attempt != 0 || got.Postponed != 2 || got.RunAt != b.Now() || got.Error != "not yet" {
		t.Fatalf("the task is %+v", got)
	}
	if got = b.take(t, plain); got.Attempt != 1 {
		t.Fatalf("a task that was postponed is at attempt %d", got.Attempt)
	}
}

func laterTooOften(t *testing.T, b *bed) {
	b.add(t, job(plain))
	postpone := func() task.Task {
		t.Helper()
		return b.accept(t, says(b.take(t, plain), task.Later))
	}
	postpone()
	postpone()
	for n, delay := range []time.Duration{11 * time.Second, 24 * time.Second} { // a failure each
		got := postpone()
		if got.State != task.Scheduled || got.Attempt != n+1 || got.RunAt != b.Now().Add(delay) || !strings.Contains(got.Error, "more than 2 times") {
			t.Fatalf("the task is %+v, expected to wait %s", got, delay)
		}
		b.after(t, delay)
	}
	got := postpone()
	if got.State != task.Dead {
		t.Fatalf("the task is %+v", got)
	}
	b.alter(t, task.Retry, task.Filter{ID: got.ID}, 1)
	if got = postpone(); got.State != task.Ready || got.Postponed != 1 || got.Attempt != 0 {
		t.Fatalf("after a retry the task is %+v", got)
	}
}

// next: what a report submits comes with it, whatever the report says.
func next(t *testing.T, b *bed) {
	live := b.add(t, named("live", "a"))
	for i, kind := range kinds {
		b.add(t, numbered(plain, i))
		k := b.take(t, plain)
		r := says(k, kind)
		r.Delay = time.Hour
		child, changed := numbered("child", i), named("live", "a")
		changed.Priority = i + 1
		r.Next = []task.New{child, changed}
		b.accept(t, r)
		if got := b.take(t, "child"); string(squeeze(got.Args)) != string(child.Args) || got.Owner != owner {
			t.Fatalf("report %d submitted %+v", i, got)
		}
		if got := b.get(t, live.ID); got.Priority != i+1 {
			t.Fatalf("report %d made %+v of the live task", i, got)
		}
	}
	b.add(t, named(single, "self")) // a chain under one name
	first := b.take(t, single)
	r := says(first, task.Succeeded)
	r.Next = []task.New{named(single, "self")}
	b.accept(t, r)
	if got := b.take(t, single); got.ID == first.ID || got.Name != "self" {
		t.Fatalf("what follows a task that is done is %+v", got)
	}
}

func nextRefused(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	bad, ownerless := job("never"), task.New{Function: "never"}
	bad.Priority = 5000
	for _, n := range []task.New{bad, ownerless} {
		before := b.get(t, k.ID)
		r := says(k, task.Succeeded)
		r.Next = []task.New{job("never"), n}
		if answer := b.report(t, r)[0]; answer.Err == nil {
			t.Fatalf("a report with a bad next task gave %+v", answer)
		}
		b.want(t, before)
	}
	r := says(k, task.Succeeded)
	r.Lease = "x"
	b.lost(t, r)
	b.none(t, task.Filter{Function: "never"})
	b.accept(t, says(k, task.Succeeded))
}
