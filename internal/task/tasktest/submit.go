package tasktest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

func submitThenRead(t *testing.T, b *bed) {
	n := full(plain)
	got := b.add(t, n)
	if got.ID == (asset.ID{}) || got.ID.Time() != origin {
		t.Fatalf("the id %v is of %v, expected one of %v", got.ID, got.ID.Time(), origin)
	}
	expected := task.Task{
		ID: got.ID, Owner: n.Owner, Function: n.Function, Name: n.Name, Args: n.Args, Image: n.Image, Input: n.Input,
		Priority: n.Priority, RunAt: n.RunAt, Lock: n.Lock, MaxAttempts: n.MaxAttempts, Timeout: n.Timeout,
		State: task.Scheduled, Created: origin, Updated: origin,
	}
	if !reflect.DeepEqual(got, expected) {
		t.Fatalf("Submit gave\n%+v, expected\n%+v", got, expected)
	}
	b.want(t, expected)
	if found := b.find(t, task.Filter{Owner: owner}); len(found) != 1 || !reflect.DeepEqual(compact(found[0]), expected) {
		t.Fatalf("List gave\n%+v, expected\n%+v", found, expected)
	}
}

func submitPlain(t *testing.T, b *bed) {
	n := job(plain)
	n.RunAt, n.Lock.Name = origin.Add(-time.Hour), "alone"
	for _, n := range []task.New{job(plain), n} {
		got := b.add(t, n)
		expected := task.Task{
			ID: got.ID, Owner: owner, Function: plain, Args: json.RawMessage(`{}`), RunAt: origin,
			State: task.Ready, Created: origin, Updated: origin,
		}
		if n.Lock.Name != "" {
			expected.Lock = task.Lock{Name: "alone", Limit: 1}
		}
		if !reflect.DeepEqual(got, expected) {
			t.Fatalf("Submit gave\n%+v, expected\n%+v", got, expected)
		}
	}
	null := job(plain)
	null.Args = json.RawMessage(`null`)
	if got := b.add(t, null); string(got.Args) != `{}` {
		t.Fatalf("arguments that are null became %s", got.Args)
	}
}

// submitMillis: times are UTC milliseconds in answers as in what is read
// later, whatever came.
func submitMillis(t *testing.T, b *bed) {
	b.pass(300 * time.Microsecond)
	n := job(plain)
	n.RunAt = origin.Add(time.Second + 700*time.Microsecond).In(time.FixedZone("x", 3600))
	n.Timeout = 2*time.Second + 9*time.Microsecond
	if got := b.add(t, n); got.RunAt != origin.Add(time.Second) || got.Timeout != 2*time.Second || got.Created != origin {
		t.Fatalf("run at %v, timeout %s, created %v; expected whole milliseconds in UTC", got.RunAt, got.Timeout, got.Created)
	}
	n = job("soon")
	n.RunAt = origin.Add(900 * time.Microsecond)
	if got := b.add(t, n); got.State != task.Ready {
		t.Fatalf("a task for this millisecond is %s", got.State)
	}
	running := b.claim(t, task.Claim{Functions: []string{"soon"}, Max: 1, Lease: time.Second + 300*time.Microsecond})[0]
	b.want(t, running)
	r := says(running, task.Beat)
	r.Extend = 2*time.Second + 900*time.Microsecond
	if got := b.accept(t, r); got.Until != origin.Add(2*time.Second) {
		t.Fatalf("the lease ends at %v", got.Until)
	}
}

func submitRefused(t *testing.T, b *bed) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		field  string
		kind   fault.Kind
		change func(*task.New)
	}{
		{"function", fault.Invalid, func(n *task.New) { n.Function = "" }},
		{"function", fault.Invalid, func(n *task.New) { n.Function = "Upper" }},
		{"function", fault.Invalid, func(n *task.New) { n.Function = long(task.MaxFunctionBytes + 1) }},
		{"name", fault.Invalid, func(n *task.New) { n.Name = long(task.MaxNameBytes + 1) }},
		{"name", fault.Invalid, func(n *task.New) { n.Name = "a\x00b" }},
		{"name", fault.Invalid, func(n *task.New) { n.Name = "a\xffb" }},
		{"lock", fault.Invalid, func(n *task.New) { n.Lock = task.Lock{Name: "line\nbreak"} }},
		{"lock", fault.Invalid, func(n *task.New) { n.Lock = task.Lock{Name: long(task.MaxNameBytes + 1)} }},
		{"lock", fault.Invalid, func(n *task.New) { n.Lock = task.Lock{Limit: 1} }},
		{"lock", fault.Invalid, func(n *task.New) { n.Lock = task.Lock{Name: "x", Limit: -1} }},
		{"lock", fault.Invalid, func(n *task.New) { n.Lock = task.Lock{Name: "x", Limit: task.MaxLockLimit + 1} }},
		{"input", fault.Invalid, func(n *task.New) { n.Input = long(task.MaxInputBytes + 1) }},
		{"args", fault.Invalid, func(n *task.New) { n.Args = json.RawMessage(`[1]`) }},
		{"args", fault.Invalid, func(n *task.New) { n.Args = json.RawMessage(`{"a":`) }},
		{"args", fault.Invalid, func(n *task.New) { n.Args = json.RawMessage("{\"a\":\"\xff\"}") }},
		{"args", fault.TooLarge, func(n *task.New) { n.Args = fmt.Appendf(nil, `{"a":%q}`, long(task.MaxArgsBytes)) }},
		{"priority", fault.Invalid, func(n *task.New) { n.Priority = task.MaxPriority + 1 }},
		{"priority", fault.Invalid, func(n *task.New) { n.Priority = task.MinPriority - 1 }},
		{"max_attempts", fault.Invalid, func(n *task.New) { n.MaxAttempts = -1 }},
		{"max_attempts", fault.Invalid, func(n *task.New) { n.MaxAttempts = task.MaxAttemptsLimit + 1 }},
		{"timeout", fault.Invalid, func(n *task.New) { n.Timeout = -time.Second }},
		{"timeout", fault.Invalid, func(n *task.New) { n.Timeout = time.Microsecond }},
		{"timeout", fault.Invalid, func(n *task.New) { n.Timeout = task.MaxTimeout + time.Millisecond }},
		{"run_at", fault.Invalid, func(n *task.New) { n.RunAt = origin.Add(task.MaxAhead + time.Second) }},
	} {
		n := job(plain)
		c.change(&n)
		stored, err := b.Submit(ctx, []task.New{job(plain), n})
		wantKind(t, err, c.kind, c.field)
		if len(stored) != 0 {
			t.Fatalf("a failed Submit gave %+v", stored)
		}
	}
	b.none(t, task.Filter{})
	if _, err := b.Submit(ctx, []task.New{{Function: plain}}); err == nil {
		t.Fatal("a task without an owner was stored")
	}
	most := full(strings.Repeat("f", task.MaxFunctionBytes)) // at the limits
	most.Name, most.Lock.Name = long(task.MaxNameBytes), long(task.MaxNameBytes)
	most.Input, most.Lock.Limit = long(task.MaxInputBytes), task.MaxLockLimit
	most.Args = fmt.Appendf(nil, `{"a":%q}`, long(task.MaxArgsBytes-8))
	most.Priority, most.MaxAttempts, most.Timeout = task.MaxPriority, task.MaxAttemptsLimit, task.MaxTimeout
	most.RunAt = origin.Add(task.MaxAhead)
	b.add(t, most)
}

func submitAllOrNone(t *testing.T, b *bed) {
	live := b.add(t, named(plain, "a"))
	changed, bad := named(plain, "a"), job(plain)
	changed.Priority, bad.Priority = 5, 5000
	_, err := b.Submit(ctx, []task.New{job(plain), changed, bad})
	wantKind(t, err, fault.Invalid)
	b.want(t, live)
	if found := b.find(t, task.Filter{}); len(found) != 1 {
		t.Fatalf("%d tasks are stored, expected 1", len(found))
	}
}

func submitLimits(t *testing.T, b *bed) {
	if got := b.submit(t); len(got) != 0 {
		t.Fatalf("Submit of nothing gave %+v", got)
	}
	_, err := b.Submit(ctx, repeated(job(plain), task.MaxBatch+1))
	wantKind(t, err, fault.Invalid)
	b.none(t, task.Filter{})
	b.submit(t, repeated(job(plain), task.MaxBatch)...)
	b.find(t, task.Filter{}) // all on one page
}

func submitIDs(t *testing.T, b *bed) {
	var tasks []task.New
	for i := range 200 {
		tasks = append(tasks, numbered(plain, i))
	}
	seen := make(map[asset.ID]bool)
	for i, k := range b.submit(t, tasks...) {
		if seen[k.ID] || string(k.Args) != string(tasks[i].Args) {
			t.Fatalf("answer %d is %+v", i, k)
		}
		if _, err := mint.Parse(k.ID.String()); err != nil {
			t.Fatalf("the mint doesn't know the id %s: %v", k.ID, err)
		}
		seen[k.ID] = true
		b.want(t, k)
	}
}
