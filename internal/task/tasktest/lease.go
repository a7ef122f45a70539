package tasktest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// kinds are all kinds of report.
var kinds = []task.ReportKind{task.Beat, task.Succeeded, task.Failed, task.Later}

func fencing(t *testing.T, b *bed) {
	waiting := b.add(t, job("waiting"))
	b.add(t, job(plain))
	k := b.take(t, plain)
	for _, kind := range kinds {
		for _, token := range []string{"", "x", k.Lease + "0", k.Lease[:len(k.Lease)-1], strings.ToUpper(k.Lease) + "x"} {
			r := says(k, kind)
			r.Lease = token
			b.lost(t, r)
			r.ID = waiting.ID
			b.lost(t, r)
		}
		r := says(k, kind)
		r.ID = waiting.ID
		b.lost(t, r)
	}
	done := b.accept(t, says(k, task.Succeeded))
	for _, kind := range kinds {
		b.lost(t, says(k, kind))
		r := says(done, kind)
		r.Lease = ""
		b.lost(t, r)
	}
}

func leaseOver(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	b.pass(time.Minute - time.Millisecond)
	b.accept(t, says(k, task.Beat)) // in time; without Extend the end stays
	b.pass(time.Millisecond)
	for _, kind := range kinds {
		r := says(k, kind)
		if kind == task.Beat {
			r.Extend = time.Minute
		}
		b.lost(t, r)
	}
	b.tick(t)
	for _, kind := range kinds {
		b.lost(t, says(k, kind))
	}
}

func leaseOther(t *testing.T, b *bed) {
	b.add(t, job(plain))
	first := b.take(t, plain)
	b.after(t, time.Minute)
	c := asks(1, plain)
	c.Worker = "w2"
	second := b.claim(t, c)[0]
	if second.ID != first.ID || second.Lease == first.Lease || second.Worker != "w2" || second.Attempt != 2 {
		t.Fatalf("Claim gave %+v", second)
	}
	for _, kind := range kinds {
		b.lost(t, says(first, kind))
	}
	b.accept(t, says(second, task.Succeeded))
}

func leaseCancelled(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	b.alter(t, task.Cancel, task.Filter{ID: k.ID}, 1)
	for _, kind := range kinds {
		b.lost(t, says(k, kind))
	}
	if answer := b.report(t, says(k, task.Beat))[0]; answer.State != task.Cancelled {
		t.Fatalf("a worker of a cancelled task is told %s", answer.State)
	}
	b.alter(t, task.Retry, task.Filter{ID: k.ID}, 1)
	b.lost(t, says(k, task.Succeeded))
}

func heartbeats(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	for _, extend := range []time.Duration{task.MaxLease, task.MinLease, 5 * time.Second, 0, time.Minute} {
		b.pass(50 * time.Millisecond)
		r := says(k, task.Beat)
		r.Extend = extend
		expected := b.get(t, k.ID)
		expected.Updated = b.Now()
		if extend > 0 {
			expected.Until = b.Now().Add(extend)
		}
		b.accept(t, r)
		b.want(t, expected)
		if next := b.tick(t); next != expected.Until {
			t.Fatalf("the next tick is at %v, expected %v", next, expected.Until)
		}
	}
	b.after(t, time.Minute-time.Millisecond)
	b.wantState(t, k.ID, task.Running)
	b.after(t, time.Millisecond)
	b.wantState(t, k.ID, task.Ready)
}

func heartbeatDeadline(t *testing.T, b *bed) {
	b.add(t, job(hurried))
	c := asks(1, hurried)
	c.Lease = 10 * time.Second
	k := b.claim(t, c)[0]
	for range 6 {
		b.pass(9 * time.Second)
		r := says(k, task.Beat)
		r.Extend = 10 * time.Second
		got := b.accept(t, r)
		if got.Until.After(k.Deadline) || got.Deadline != k.Deadline {
			t.Fatalf("the lease ends at %v, the deadline is %v and was %v", got.Until, got.Deadline, k.Deadline)
		}
	}
	b.pass(6 * time.Second)
	r := says(k, task.Beat)
	r.Extend = time.Minute
	b.lost(t, r)
	b.tick(t)
	b.wantState(t, k.ID, task.Scheduled)
}

// expiry: a worker that is lost costs an attempt; the first time the task is
// ready at once, then after the delay.
func expiry(t *testing.T, b *bed) {
	n := job(plain)
	n.MaxAttempts = 4
	k := b.add(t, n)
	for attempt, delay := range []time.Duration{0, 11 * time.Second, 24 * time.Second} {
		b.take(t, plain)
		b.after(t, time.Minute)
		got := b.get(t, k.ID)
		if got.Attempt != attempt+1 || got.RunAt != b.Now().Add(delay) || !strings.Contains(got.Error, "w1") {
			t.Fatalf("after attempt %d the task is %+v, expected to run %s later", attempt+1, got, delay)
		}
		if got.Lease != "" || !got.Until.IsZero() || !got.Deadline.IsZero() {
			t.Fatalf("there is still a lease: %+v", got)
		}
		b.after(t, delay)
	}
	b.take(t, plain)
	b.after(t, time.Minute)
	b.wantState(t, k.ID, task.Dead)
}

// deadlineExpiry: an attempt that takes too long has failed, and waits.
func deadlineExpiry(t *testing.T, b *bed) {
	own := job(hurried)
	own.Timeout = 2 * time.Minute
	k := b.add(t, own)
	c := asks(1, hurried)
	c.Lease = 10 * time.Minute
	for attempt, delay := range []time.Duration{11 * time.Second, 24 * time.Second} {
		if got := b.claim(t, c)[0]; got.Until != b.Now().Add(2*time.Minute) {
			t.Fatalf("the lease ends at %v, expected the deadline", got.Until)
		}
		b.after(t, 2*time.Minute)
		got := b.wantState(t, k.ID, task.Scheduled)
		if got.Attempt != attempt+1 || got.RunAt != b.Now().Add(delay) || !strings.Contains(got.Error, "2m0s") {
			t.Fatalf("after attempt %d the task is %+v, expected to run %s later", attempt+1, got, delay)
		}
		b.after(t, delay)
	}
}

// killer: a task that kills its workers ends dead, and tells why.
func killer(t *testing.T, b *bed) {
	k := b.add(t, job(plain))
	for i := range 3 {
		c := asks(1, plain)
		c.Worker = fmt.Sprintf("victim%d", i)
		if got := b.claim(t, c); len(got) != 1 {
			t.Fatalf("attempt %d: Claim gave %d tasks", i+1, len(got))
		}
		b.after(t, time.Minute)
		b.after(t, time.Minute)
	}
	got := b.wantState(t, k.ID, task.Dead)
	if got.Attempt != 3 || !strings.Contains(got.Error, "victim2") || got.Finished != b.Now().Add(-time.Minute) || got.Worker != "victim2" {
		t.Fatalf("the task is %+v", got)
	}
	b.after(t, 1000*time.Hour)
	b.want(t, got)
}

func manyExpire(t *testing.T, b *bed) {
	const tasks = 2500
	for left := tasks; left > 0; left -= 500 {
		b.submit(t, repeated(job(plain), 500)...)
		b.claim(t, asks(500, plain))
	}
	b.after(t, time.Minute)
	got, err := b.Counts(ctx)
	if err != nil || len(got) != 1 || got[0] != (task.Count{Function: plain, State: task.Ready, Tasks: tasks, Oldest: b.Now()}) {
		t.Fatalf("Counts gave %+v, %v", got, err)
	}
}

func progress(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	say := func(percent int, message string) {
		t.Helper()
		expected := b.get(t, k.ID)
		expected.Progress, expected.Message = percent, message
		r := says(k, task.Beat)
		r.Progress, r.Message = &percent, message
		b.accept(t, r)
		b.want(t, expected)
	}
	say(0, "begins")
	say(40, "Ä\tß")
	silent := b.get(t, k.ID)
	b.accept(t, says(k, task.Beat))
	b.want(t, silent)
	say(30, "")
	say(100, "nearly there")
	out := &task.Output{Digest: asset.Digest{1, 2, 255}, Bytes: 1 << 40, Type: "image/avif"}
	r := says(k, task.Beat)
	r.Output = out
	if got := b.accept(t, r); got.Output == nil || *got.Output != *out || got.Progress != 100 {
		t.Fatalf("the task is %+v", got)
	}
	b.after(t, time.Minute)
	again := b.take(t, plain)
	if again.Progress != 0 || again.Message != "" || again.Output != nil {
		t.Fatalf("a new attempt begins with %+v", again)
	}
	b.want(t, again)
}
