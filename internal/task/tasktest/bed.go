package tasktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// clock is moved by hand. Its times have no monotonic part.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bed is a queue under test with the clock and the signals that it was given.
type bed struct {
	Queue
	*clock
	cfg task.Config
}

func newBed(t *testing.T, open func(*testing.T, task.Config) Queue) *bed {
	t.Helper()
	b := &bed{clock: &clock{now: origin}}
	b.cfg = task.Config{Mint: mint, Policies: policies(), Signals: task.NewSignals(), Now: b.Now}
	b.Queue = open(t, b.cfg)
	return b
}

func (b *bed) submit(t *testing.T, tasks ...task.New) []task.Task {
	t.Helper()
	stored, err := b.Submit(ctx, tasks)
	if err != nil || len(stored) != len(tasks) {
		t.Fatalf("Submit of %d tasks gave %d, %v", len(tasks), len(stored), err)
	}
	return stored
}

// add submits one task and checks that it can be read.
func (b *bed) add(t *testing.T, n task.New) task.Task {
	t.Helper()
	stored := b.submit(t, n)[0]
	b.want(t, stored)
	return stored
}

func (b *bed) claim(t *testing.T, c task.Claim) []task.Task {
	t.Helper()
	claimed, err := b.Claim(ctx, c)
	if err != nil || len(claimed) > c.Max {
		t.Fatalf("Claim(%+v) gave %d tasks, %v", c, len(claimed), err)
	}
	return claimed
}

// take claims the one task of a function that is ready.
func (b *bed) take(t *testing.T, function string) task.Task {
	t.Helper()
	claimed := b.claim(t, asks(10, function))
	if len(claimed) != 1 {
		t.Fatalf("Claim gave %d tasks of %s, expected 1", len(claimed), function)
	}
	return claimed[0]
}

// took checks that a claim gives these tasks in this order.
func (b *bed) took(t *testing.T, c task.Claim, expected ...task.Task) []task.Task {
	t.Helper()
	claimed := b.claim(t, c)
	if got, want := ids(claimed), ids(expected); !reflect.DeepEqual(got, want) {
		t.Fatalf("Claim(%+v) gave\n%v, expected\n%v", c, got, want)
	}
	return claimed
}

func ids(tasks []task.Task) []asset.ID {
	all := make([]asset.ID, len(tasks))
	for i := range tasks {
		all[i] = tasks[i].ID
	}
	return all
}

func (b *bed) report(t *testing.T, reports ...task.Report) []task.Reported {
	t.Helper()
	answers, err := b.Report(ctx, reports)
	if err != nil || len(answers) != len(reports) {
		t.Fatalf("Report of %d gave %d answers, %v", len(reports), len(answers), err)
	}
	return answers
}

// accept sends a report that must be accepted, checks that the answer tells
// what the task has become, and gives that.
func (b *bed) accept(t *testing.T, r task.Report) task.Task {
	t.Helper()
	answer := b.report(t, r)[0]
	k := b.get(t, r.ID)
	if answer.Err != nil || answer.State != k.State || !answer.Until.Equal(k.Until) {
		t.Fatalf("Report gave %+v; the task is %s until %v", answer, k.State, k.Until)
	}
	return k
}

// lost sends a report whose lease isn't the task's, and checks that nothing
// has changed.
func (b *bed) lost(t *testing.T, r task.Report) {
	t.Helper()
	before := b.get(t, r.ID)
	r.Next = []task.New{job("never")}
	if answer := b.report(t, r)[0]; !errors.Is(answer.Err, task.ErrLease) {
		t.Fatalf("a report under a lease that is lost gave %+v", answer)
	}
	b.want(t, before)
	b.none(t, task.Filter{Function: "never"})
}

func (b *bed) get(t *testing.T, id asset.ID) task.Task {
	t.Helper()
	k, err := b.Task(ctx, "", id)
	if err != nil {
		t.Fatal(err)
	}
	return compact(k)
}

// want checks every field of a stored task.
func (b *bed) want(t *testing.T, expected task.Task) {
	t.Helper()
	if got := b.get(t, expected.ID); !reflect.DeepEqual(got, compact(expected)) {
		t.Fatalf("the task is\n%+v, expected\n%+v", got, compact(expected))
	}
}

func (b *bed) wantState(t *testing.T, id asset.ID, state task.State) task.Task {
	t.Helper()
	k := b.get(t, id)
	if k.State != state {
		t.Fatalf("the task is %s (%s), expected %s", k.State, k.Error, state)
	}
	return k
}

// find lists what a filter selects, newest first.
func (b *bed) find(t *testing.T, f task.Filter) []task.Task {
	t.Helper()
	page, err := b.List(ctx, task.Query{Filter: f, Limit: 1000})
	if err != nil || page.More {
		t.Fatalf("List gave %d tasks, more %v, %v", len(page.Tasks), page.More, err)
	}
	return page.Tasks
}

func (b *bed) none(t *testing.T, f task.Filter) {
	t.Helper()
	if found := b.find(t, f); len(found) != 0 {
		t.Fatalf("List(%+v) gave %+v, expected none", f, found)
	}
}

func (b *bed) alter(t *testing.T, action task.Action, f task.Filter, expected int) {
	t.Helper()
	if n, err := b.Alter(ctx, action, f); n != expected || err != nil {
		t.Fatalf("Alter(%d, %+v) gave %d, %v; expected %d", action, f, n, err, expected)
	}
}

func (b *bed) tick(t *testing.T) time.Time {
	t.Helper()
	next, err := b.Tick(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// after lets time pass and ticks.
func (b *bed) after(t *testing.T, d time.Duration) {
	t.Helper()
	b.pass(d)
	b.tick(t)
}

func wantKind(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if err == nil || fault.Of(err) != kind {
		t.Fatalf("got error %v (%v), expected kind %v", err, fault.Of(err), kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("the error %q doesn't tell of %q", err, w)
		}
	}
}

// compact is a task whose JSON is without blanks, which a database may add.
func compact(k task.Task) task.Task {
	k.Args, k.Result = squeeze(k.Args), squeeze(k.Result)
	if k.Again != nil {
		n := *k.Again
		n.Args = squeeze(n.Args)
		k.Again = &n
	}
	return k
}

func squeeze(text json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	if len(text) == 0 || json.Compact(&out, text) != nil {
		return text
	}
	return out.Bytes()
}
