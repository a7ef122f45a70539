package tasktest

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// byID are tasks in the order of their ids.
func byID(tasks []task.Task) []task.Task {
	return slices.SortedFunc(slices.Values(tasks), func(a, b task.Task) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
}

func claimFields(t *testing.T, b *bed) {
	n := full(plain)
	n.RunAt, n.Timeout = time.Time{}, 30*time.Second // shorter than the lease
	for _, expected := range []task.Task{b.add(t, n), b.add(t, job(hurried)), b.add(t, job(single))} {
		b.pass(time.Second)
		got := b.take(t, expected.Function)
		if len(got.Lease) < 16 {
			t.Fatalf("the token %q is too short to be safe", got.Lease)
		}
		at := b.Now()
		expected.State, expected.Attempt, expected.Worker, expected.Lease = task.Running, 1, "w1", got.Lease
		expected.Started, expected.Updated = at, at
		switch expected.Function {
		case plain:
			expected.Deadline, expected.Until = at.Add(n.Timeout), at.Add(n.Timeout)
		case hurried:
			expected.Deadline, expected.Until = at.Add(time.Minute), at.Add(time.Minute)
		default:
			expected.Deadline, expected.Until = at.Add(time.Hour), at.Add(time.Minute)
		}
		if !reflect.DeepEqual(compact(got), compact(expected)) {
			t.Fatalf("Claim gave\n%+v, expected\n%+v", got, expected)
		}
		b.want(t, expected)
	}
}

func claimRefused(t *testing.T, b *bed) {
	b.add(t, job(plain))
	for name, change := range map[string]func(*task.Claim){
		"functions": func(c *task.Claim) { c.Functions = nil },
		"function":  func(c *task.Claim) { c.Functions = []string{plain, "Not a name"} },
		"functions: expected 1 to 100": func(c *task.Claim) {
			c.Functions = slices.Repeat([]string{plain}, task.MaxFunctions+1)
		},
		"max: 0":    func(c *task.Claim) { c.Max = 0 },
		"max: 1001": func(c *task.Claim) { c.Max = task.MaxBatch + 1 },
		"lease: 0s": func(c *task.Claim) { c.Lease = 0 },
		"lease: 10": func(c *task.Claim) { c.Lease = task.MaxLease + time.Second },
		"worker":    func(c *task.Claim) { c.Worker = strings.Repeat("w", task.MaxNameBytes+1) },
	} {
		c := asks(1, plain)
		change(&c)
		got, err := b.Claim(ctx, c)
		wantKind(t, err, fault.Invalid, name)
		if len(got) != 0 {
			t.Fatalf("a refused claim gave %+v", got)
		}
	}
	b.take(t, plain)
}

func claimNone(t *testing.T, b *bed) {
	b.took(t, asks(5, plain, single))
	n := job(plain)
	n.RunAt = origin.Add(time.Hour)
	b.add(t, n)
	b.add(t, job("unheard-of"))
	b.took(t, asks(5, plain, single))
	b.took(t, asks(5, "nobody-s-function"))
	c := asks(5, "unheard-of")
	c.Owner = "other"
	b.took(t, c)
}

func claimPriority(t *testing.T, b *bed) {
	var tasks []task.New
	for i := range 60 {
		n := numbered([]string{"x", "y", "z"}[i%3], i)
		n.Owner = []string{"o1", "o2"}[i%2]
		n.Priority = (i * 37) % 20 * 100 // every function has all of them
		n.Priority -= task.MaxPriority
		tasks = append(tasks, n)
	}
	b.submit(t, tasks...)
	last, total := task.MaxPriority, 0
	for _, limit := range []int{1, 1, 2, 7, 1, 20, 1, 100} {
		for _, k := range b.claim(t, asks(limit, "x", "y", "z")) {
			if k.Priority > last {
				t.Fatalf("priority %d came after %d", k.Priority, last)
			}
			last, total = k.Priority, total+1
		}
	}
	if total != len(tasks) {
		t.Fatalf("%d of %d tasks were handed out", total, len(tasks))
	}
}

func claimOrder(t *testing.T, b *bed) {
	var stored []task.Task
	for range 5 {
		stored = append(stored, b.submit(t, repeated(job(plain), 20)...)...)
		b.pass(time.Millisecond)
	}
	early := byID(stored)
	if early[0].Created != origin {
		t.Fatal("ids don't go up with time")
	}
	for _, limit := range []int{1, 2, 30, 1, 66} {
		b.took(t, asks(limit, plain), early[:limit]...)
		early = early[limit:]
	}
	retried := byID(stored)[50]
	b.after(t, time.Minute) // all leases end; the order is still that of ids
	b.alter(t, task.Cancel, task.Filter{ID: retried.ID}, 1)
	b.alter(t, task.Retry, task.Filter{ID: retried.ID}, 1)
	b.took(t, asks(100, plain), byID(stored)...)
}

// claimOrderLocks: tasks of one function come in the order of their ids,
// whether they have locks or not.
func claimOrderLocks(t *testing.T, b *bed) {
	var stored []task.Task
	for i := range 40 {
		n := job(plain)
		if lock := []string{"m", "", "z", "a"}[i%4]; lock != "" {
			n.Lock = task.Lock{Name: lock, Limit: 100}
		}
		stored = append(stored, b.add(t, n))
		b.pass(time.Millisecond)
	}
	for _, limit := range []int{1, 1, 1, 10, 5, 100} {
		n := min(limit, len(stored))
		b.took(t, asks(limit, plain), stored[:n]...)
		stored = stored[n:]
	}
}

// claimTurns: one owner's backlog doesn't keep another waiting.
func claimTurns(t *testing.T, b *bed) {
	for _, limit := range []int{1, 4, 10} {
		function := fmt.Sprintf("turns%d", limit)
		b.submit(t, owned(job(function), "big", 1000)...)
		b.pass(time.Millisecond)
		b.submit(t, owned(job(function), "small", 10)...)
		served := make(map[string]int)
		for round := 0; served["small"] < 10; round++ {
			if round > 10 {
				t.Fatalf("after %d claims of %d: %v", 2*round, limit, served)
			}
			now := make(map[string]int)
			for range 2 { // with one task a claim, each owner has every other
				for _, k := range b.claim(t, asks(limit, function)) {
					now[k.Owner]++
				}
			}
			left := 10 - served["small"]
			if now["small"] < min(left, limit) || now["big"] < limit {
				t.Fatalf("two claims of %d gave %v", limit, now)
			}
			served["small"] += now["small"]
		}
	}
}

// claimManyOwners: each of more owners than a claim looks at gets its turn.
func claimManyOwners(t *testing.T, b *bed) {
	const owners = 600
	for part := range 2 {
		var tasks []task.New
		for i := range owners {
			n := job(plain)
			n.Owner = fmt.Sprintf("o%d", (i*7+part)%owners)
			tasks = append(tasks, n)
		}
		b.submit(t, tasks...)
	}
	served := make(map[string]int)
	for range owners / 100 {
		got := b.claim(t, asks(100, plain))
		if len(got) != 100 {
			t.Fatalf("Claim gave %d tasks, expected 100", len(got))
		}
		for _, k := range got {
			served[k.Owner]++
		}
	}
	if len(served) != owners {
		t.Fatalf("%d of %d owners had a turn", len(served), owners)
	}
}

func claimOwner(t *testing.T, b *bed) {
	high := job(plain)
	high.Priority = 10
	b.submit(t, owned(high, "other", 5)...)
	b.submit(t, owned(job(plain), "mai", 5)...)
	b.submit(t, owned(job(plain), "main2", 5)...)
	mine := b.submit(t, job(plain), job(plain), job(plain))
	locked := job(plain)
	locked.Lock.Name = "alone"
	mine = append(mine, b.submit(t, locked)...)
	c := asks(100, plain)
	c.Owner = owner
	b.took(t, c, byID(mine)...)
	b.took(t, c)
	if got := b.claim(t, asks(100, plain)); len(got) != 15 {
		t.Fatalf("%d tasks are left, expected 15", len(got))
	}
}

func claimMax(t *testing.T, b *bed) {
	b.submit(t, repeated(job(plain), task.MaxBatch)...)
	b.submit(t, repeated(job("x"), 50)...)
	for _, n := range []struct{ ask, get int }{{1, 1}, {49, 49}, {task.MaxBatch, task.MaxBatch}, {task.MaxBatch, 0}} {
		if got := b.claim(t, asks(n.ask, plain, "x")); len(got) != n.get {
			t.Fatalf("a claim of %d gave %d, expected %d", n.ask, len(got), n.get)
		}
	}
}

func claimOnce(t *testing.T, b *bed) {
	b.submit(t, repeated(job(plain), 100)...)
	seen := make(map[string]bool)
	for _, k := range append(b.claim(t, asks(60, plain, plain)), b.claim(t, asks(60, plain))...) {
		if seen[k.ID.String()] || seen[k.Lease] {
			t.Fatalf("%v was handed out twice, or its token was", k.ID)
		}
		seen[k.ID.String()], seen[k.Lease] = true, true
	}
	if len(seen) != 200 {
		t.Fatalf("%d tasks were handed out, expected 100", len(seen)/2)
	}
}
