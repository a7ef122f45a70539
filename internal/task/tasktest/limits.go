package tasktest

import (
	"fmt"
	"testing"
	"time"

	"safelight/internal/task"
)

// running tells how many of some tasks run, by a key.
func running(tasks []task.Task, key func(task.Task) string) map[string]int {
	n := make(map[string]int)
	for _, k := range tasks {
		n[key(k)]++
	}
	return n
}

func function(k task.Task) string { return k.Function }
func lock(k task.Task) string     { return k.Lock.Name }

func concurrency(t *testing.T, b *bed) {
	b.submit(t, repeated(job(single), 5)...)
	b.submit(t, owned(job(triple), "o1", 5)...)
	b.submit(t, owned(job(triple), "o2", 5)...)
	low := job(plain)
	low.Priority = -5
	b.submit(t, repeated(low, 5)...)
	if got := running(b.claim(t, asks(2, triple)), function); got[triple] != 2 {
		t.Fatalf("Claim gave %v", got)
	}
	got := running(b.claim(t, asks(100, plain, single, triple)), function)
	if got[single] != 1 || got[triple] != 1 || got[plain] != 5 {
		t.Fatalf("Claim gave %v, expected what the concurrency leaves", got)
	}
	b.took(t, asks(100, plain, single, triple))
}

// concurrencyFreed: each way in which an attempt ends makes room for another.
func concurrencyFreed(t *testing.T, b *bed) {
	b.submit(t, repeated(job(single), 20)...)
	end := func(name string, expected bool, end func(task.Task)) {
		t.Helper()
		k := b.take(t, single)
		end(k)
		next := b.claim(t, asks(10, single))
		if (len(next) == 1) != expected {
			t.Fatalf("%s: the next claim gave %d tasks", name, len(next))
		}
		if expected {
			k = next[0]
		}
		b.accept(t, says(k, task.Succeeded))
	}
	end("a heartbeat", false, func(k task.Task) { b.accept(t, says(k, task.Beat)) })
	end("done", true, func(k task.Task) { b.accept(t, says(k, task.Succeeded)) })
	end("failed", true, func(k task.Task) { b.accept(t, says(k, task.Failed)) })
	end("later", true, func(k task.Task) { b.accept(t, says(k, task.Later)) })
	end("cancelled", true, func(k task.Task) { b.alter(t, task.Cancel, task.Filter{ID: k.ID}, 1) })
	end("lease over", true, func(task.Task) { b.after(t, time.Minute) })
}

func locks(t *testing.T, b *bed) {
	b.submit(t, repeated(locked("x", "disk", 2), 3)...)
	b.submit(t, repeated(locked("y", "disk", 2), 4)...)
	other := locked("y", "disk", 2) // an owner's locks are its own
	other.Owner = "other"
	b.submit(t, other)
	if got := running(b.claim(t, task.Claim{Functions: []string{"y"}, Owner: "other", Max: 5, Lease: time.Minute}), lock); got["disk"] != 1 {
		t.Fatalf("Claim gave %v", got)
	}
	b.submit(t, locked("y", "net", 1), job("y"), job("x"))
	first := b.claim(t, asks(100, "x", "y"))
	if got := running(first, lock); got["disk"] != 2 || got["net"] != 1 || got[""] != 2 {
		t.Fatalf("Claim gave %v", got)
	}
	b.took(t, asks(100, "y", "x"))
	b.took(t, asks(100, "x"))
	for _, k := range first {
		b.accept(t, says(k, task.Succeeded))
	}
	if got := running(b.claim(t, asks(1, "x", "y")), lock); got["disk"] != 1 {
		t.Fatalf("Claim gave %v", got)
	}
	if got := running(b.claim(t, asks(100, "y")), lock); got["disk"] != 1 {
		t.Fatalf("Claim gave %v", got)
	}
	b.took(t, asks(100, "x", "y"))
}

func locksAndConcurrency(t *testing.T, b *bed) {
	b.submit(t, repeated(locked(triple, "a", 2), 5)...)
	b.submit(t, repeated(locked(triple, "b", 2), 5)...)
	b.submit(t, repeated(locked(plain, "b", 2), 5)...)
	got := b.claim(t, asks(100, triple))
	if n := running(got, lock); len(got) != 3 || n["a"] > 2 || n["b"] > 2 {
		t.Fatalf("Claim gave %v", n)
	}
	more := b.claim(t, asks(100, triple, plain))
	if n := running(append(got, more...), lock); n["b"] != 2 || running(more, function)[triple] != 0 {
		t.Fatalf("in the end %v run", n)
	}
}

// fullLocks: however many locks are full, tasks behind them are found, even of
// lower priority and of the same owner.
func fullLocks(t *testing.T, b *bed) {
	const names = 400
	var tasks []task.New
	for i := range names {
		tasks = append(tasks, repeated(locked(plain, fmt.Sprintf("lock%d", i), 1), 2)...)
	}
	b.submit(t, tasks...)
	held := 0
	for n := -1; n != 0; held += n {
		n = len(b.claim(t, asks(100, plain)))
	}
	if held != names {
		t.Fatalf("%d tasks run, expected one for each of %d locks", held, names)
	}
	low := job(plain)
	low.Priority = -1
	expected := []task.Task{b.add(t, locked(plain, "z", 1)), b.add(t, low)}
	b.took(t, asks(10, plain), expected...)
	last := job(plain)
	last.Owner = "zzz"
	b.took(t, asks(10, plain), b.add(t, last))
	last.Owner = "aaa"
	b.took(t, asks(10, plain), b.add(t, last))
}
