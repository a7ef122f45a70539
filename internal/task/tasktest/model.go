package tasktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

var (
	modelFunctions = []string{plain, single, triple, bounded, hurried, fragile}
	modelOwners    = []string{"o1", "o1", "o2"}
	modelWorkers   = []string{"w1", "w2"}
	modelImages    = []asset.ID{mint.New(origin), mint.New(origin)}
	modelLimits    = map[string]int{"one": 1, "two": 2} // of locks
)

// game plays random operations on a queue and on a world, and compares the two.
type game struct {
	*rapid.T
	b     *bed
	w     *world
	stale []string // every token that was ever given
}

// model lets many games be played on one queue, which is emptied after each.
func model(t *testing.T, b *bed) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &game{T: rt, b: b, w: &world{rules: b.cfg.Policies}}
		g.empty() // of a game that failed
		g.w.now = b.Now()
		rt.Repeat(map[string]func(*rapid.T){
			"submit":  g.submit,
			"submit2": g.submit,
			"claim":   g.claim,
			"claim2":  g.claim,
			"report":  g.report,
			"report2": g.report,
			"alter":   g.alter,
			"sweep":   g.sweep,
			"tick":    g.tick,
			"abandon": g.abandon,
			"prune":   g.prune,
			"":        g.compare,
		})
		if n := g.empty(); n != len(g.w.all) {
			rt.Fatalf("Prune gave %d, expected %d", n, len(g.w.all))
		}
	})
}

func (g *game) drawNew(rt *rapid.T) task.New {
	n := task.New{
		Owner:    rapid.SampledFrom(modelOwners).Draw(rt, "owner"),
		Function: rapid.SampledFrom(modelFunctions).Draw(rt, "function"),
		Name:     rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(rt, "name"),
		Args:     fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 99).Draw(rt, "n")),
		Image:    rapid.SampledFrom([]asset.ID{{}, modelImages[0], modelImages[1]}).Draw(rt, "image"),
		Input:    rapid.SampledFrom([]string{"", "w=500"}).Draw(rt, "input"),
		Priority: rapid.IntRange(-1, 1).Draw(rt, "priority"),

		MaxAttempts: rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(rt, "attempts"),
		Timeout:     rapid.SampledFrom([]time.Duration{0, 0, 20 * time.Second}).Draw(rt, "timeout"),
	}
	n.Lock.Name = rapid.SampledFrom([]string{"", "", "one", "two"}).Draw(rt, "lock")
	n.Lock.Limit = modelLimits[n.Lock.Name]
	if ahead := rapid.SampledFrom([]time.Duration{0, 0, -time.Hour, time.Millisecond, 30 * time.Second, time.Hour}).Draw(rt, "ahead"); ahead != 0 {
		n.RunAt = g.w.now.Add(ahead)
	}
	return n
}

func (g *game) submit(rt *rapid.T) {
	var tasks []task.New
	for range rapid.IntRange(1, 5).Draw(rt, "tasks") {
		tasks = append(tasks, g.drawNew(rt))
	}
	sent := slices.Clone(tasks)
	bad := rapid.IntRange(0, 9).Draw(rt, "bad") == 0
	if bad {
		sent = append(sent, task.New{Owner: "o1", Function: "?"})
	}
	got, err := g.b.Submit(ctx, sent)
	if bad {
		if fault.Of(err) != fault.Invalid {
			rt.Fatalf("a bad submission gave %v", err)
		}
		return
	}
	if err != nil || len(got) != len(tasks) {
		rt.Fatalf("Submit gave %d tasks, %v", len(got), err)
	}
	for i, n := range tasks {
		k := g.w.submit(n)
		if k.ID == (asset.ID{}) {
			k.ID = got[i].ID
		}
		g.same(rt, got[i], *k)
	}
}

func (g *game) same(rt *rapid.T, got, expected task.Task) {
	rt.Helper()
	if got, expected = compact(got), compact(expected); !reflect.DeepEqual(got, expected) {
		rt.Fatalf("a task is\n%+v\nagain %+v, expected\n%+v\nagain %+v", got, got.Again, expected, expected.Again)
	}
}

// some draws a task, or nil where there is none.
func (g *game) some(rt *rapid.T) *task.Task {
	if len(g.w.all) == 0 {
		return nil
	}
	if held := g.held(""); len(held) > 0 && rapid.IntRange(0, 3).Draw(rt, "held") > 0 {
		return rapid.SampledFrom(held).Draw(rt, "task")
	}
	return rapid.SampledFrom(g.w.all).Draw(rt, "task")
}

// held are the tasks that run by a worker; "" is any.
func (g *game) held(worker string) (held []*task.Task) {
	for _, k := range g.w.all {
		if k.State == task.Running && (worker == "" || k.Worker == worker) {
			held = append(held, k)
		}
	}
	return held
}

func (g *game) drawReport(rt *rapid.T) task.Report {
	r := task.Report{ID: mint.New(origin), Lease: "x", Kind: rapid.SampledFrom(kinds).Draw(rt, "kind")}
	if k := g.some(rt); k != nil {
		r.ID, r.Lease = k.ID, k.Lease
	}
	switch rapid.IntRange(0, 9).Draw(rt, "token") {
	case 0:
		r.Lease = rapid.SampledFrom(append(g.stale, "", "x")).Draw(rt, "stale")
	case 1:
		r.ID = mint.New(origin)
	}
	switch r.Kind {
	case task.Beat:
		r.Extend = rapid.SampledFrom([]time.Duration{0, time.Second, 5 * time.Minute}).Draw(rt, "extend")
		if percent := rapid.IntRange(-20, 102).Draw(rt, "progress"); percent >= 0 {
			r.Progress, r.Message = &percent, fmt.Sprint("at ", percent)
		}
	case task.Failed:
		r.Error, r.Final = "it broke", rapid.IntRange(0, 4).Draw(rt, "final") == 0
	case task.Later:
		r.Error = rapid.SampledFrom([]string{"", "not yet"}).Draw(rt, "error")
		r.Delay = rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(rt, "delay")
	}
	if (r.Kind == task.Failed || r.Kind == task.Succeeded) && rapid.Bool().Draw(rt, "result") {
		r.Result = json.RawMessage(`{"ok":1}`)
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(rt, "next") {
		r.Next = append(r.Next, g.drawNew(rt))
	}
	return r
}

func (g *game) report(rt *rapid.T) {
	var reports []task.Report
	for range rapid.IntRange(1, 4).Draw(rt, "reports") {
		reports = append(reports, g.drawReport(rt))
	}
	sent := slices.Clone(reports)
	for i := range sent {
		sent[i].Next = slices.Clone(reports[i].Next)
	}
	answers, err := g.b.Report(ctx, sent)
	if err != nil || len(answers) != len(reports) {
		rt.Fatalf("Report gave %d answers, %v", len(answers), err)
	}
	for i, r := range reports {
		expected, kind, ok := g.w.report(r)
		got := answers[i]
		switch {
		case ok && (got.Err != nil || got.State != expected.State || !got.Until.Equal(expected.Until)):
			rt.Fatalf("report %+v gave %+v, expected %+v", r, got, expected)
		case !ok && (got.Err == nil || fault.Of(got.Err) != kind):
			rt.Fatalf("report %+v gave %+v, expected %v", r, got, kind)
		case kind == fault.Conflict && (!errors.Is(got.Err, task.ErrLease) || got.State != expected.State):
			rt.Fatalf("report %+v gave %+v, expected %+v", r, got, expected)
		}
	}
}

func (g *game) alter(rt *rapid.T) {
	action := rapid.SampledFrom([]task.Action{task.Cancel, task.Retry, task.Retry}).Draw(rt, "action")
	k := g.some(rt)
	if k == nil {
		return
	}
	_, err := g.b.Alter(ctx, action, task.Filter{ID: k.ID})
	switch ok := g.w.alter(action, k); {
	case ok && err != nil:
		rt.Fatalf("Alter: %v", err)
	case !ok && fault.Of(err) != fault.Conflict:
		rt.Fatalf("Alter of one that is %s gave %v, expected a conflict", k.State, err)
	}
}

func (g *game) tick(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 10 * time.Second, 11 * time.Second, time.Minute, time.Hour}).Draw(rt, "pass")
	if later := g.w.now.Add(d); g.unsettled(g.held(""), func(k *task.Task) bool { return !later.Before(k.Until) }) {
		return
	}
	g.b.pass(d)
	g.w.now = g.b.Now()
	if rapid.IntRange(0, 3).Draw(rt, "no tick") == 0 {
		return
	}
	got, err := g.b.Tick(ctx)
	if expected := g.w.tick(); err != nil || got != expected {
		rt.Fatalf("Tick gave %v, %v; expected %v", got, err, expected)
	}
}

func (g *game) abandon(rt *rapid.T) {
	worker := rapid.SampledFrom(modelWorkers).Draw(rt, "worker")
	lost := g.held(worker)
	if g.unsettled(lost, func(*task.Task) bool { return true }) {
		return
	}
	if n, err := g.b.Abandon(ctx, worker); n != len(lost) || err != nil {
		rt.Fatalf("Abandon gave %d, %v; expected %d", n, err, len(lost))
	}
	for _, k := range lost {
		g.w.expire(k)
	}
}

// unsettled tells whether tasks that are taken back together leave open what
// becomes of one: where it is out of attempts, and another leads to it by its
// name, that depends on which of the two comes first.
func (g *game) unsettled(held []*task.Task, lost func(*task.Task) bool) bool {
	return slices.ContainsFunc(held, func(k *task.Task) bool {
		return k.Function == mourning && k.Name != "" && k.Attempt >= g.w.rules.Default.MaxAttempts && lost(k)
	})
}
