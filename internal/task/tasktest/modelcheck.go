package tasktest

import (
	"bytes"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// claim checks what a claim gives without saying which owner's turn it is: only
// what may run, the higher priorities first, an owner's in the order of their
// ids, and nothing left that could have been given.
func (g *game) claim(rt *rapid.T) {
	c := task.Claim{
		Functions: rapid.SliceOfNDistinct(rapid.SampledFrom(append(modelFunctions, mourning)), 1, 4, rapid.ID).Draw(rt, "functions"),
		Owner:     rapid.SampledFrom([]string{"", "", "o1", "o2"}).Draw(rt, "owner"),
		Worker:    rapid.SampledFrom(modelWorkers).Draw(rt, "worker"),
		Max:       rapid.SampledFrom([]int{1, 2, 5, 100}).Draw(rt, "max"),
		Lease:     rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(rt, "lease"),
	}
	var open []*task.Task // what may be given
	for _, k := range g.w.all {
		if k.State == task.Ready && slices.Contains(c.Functions, k.Function) && (c.Owner == "" || c.Owner == k.Owner) {
			open = append(open, k)
		}
	}
	got, err := g.b.Claim(ctx, c)
	if err != nil || len(got) > c.Max {
		rt.Fatalf("Claim(%+v) gave %d tasks, %v", c, len(got), err)
	}
	last := task.MaxPriority
	for _, k := range got {
		at := slices.IndexFunc(open, func(o *task.Task) bool { return o.ID == k.ID })
		if at < 0 || k.Priority > last || slices.Contains(g.stale, k.Lease) || k.Lease == "" {
			rt.Fatalf("Claim(%+v) gave\n%+v after priority %d; that isn't ready, out of order, or its token is not new", c, k, last)
		}
		last = k.Priority
		g.stale = append(g.stale, k.Lease)
		g.w.claimed(open[at], c, k.Lease)
		g.same(rt, k, *open[at])
		open = slices.Delete(open, at, at+1)
	}
	g.within(rt)
	for _, left := range open {
		g.rightlyLeft(rt, c, left, got)
	}
}

// within checks that no more run than may.
func (g *game) within(rt *rapid.T) {
	functions, locks := make(map[string]int), make(map[string]int)
	for _, k := range g.held("") {
		functions[k.Function]++
		locks[k.Owner+" "+k.Lock.Name]++
		if most := g.w.rules.For(k.Function).Concurrency; most > 0 && functions[k.Function] > most {
			rt.Fatalf("%d of %s run", functions[k.Function], k.Function)
		}
		if k.Lock.Name != "" && locks[k.Owner+" "+k.Lock.Name] > k.Lock.Limit {
			rt.Fatalf("%d of %s with the lock %s run", locks[k.Owner+" "+k.Lock.Name], k.Owner, k.Lock.Name)
		}
	}
}

// rightlyLeft checks that a ready task that was not given could not have been
// in the place of one that was, or in one that was left.
func (g *game) rightlyLeft(rt *rapid.T, c task.Claim, left *task.Task, got []task.Task) {
	taken := func(k task.Task) bool { // before it was left's turn
		return !slices.ContainsFunc(got, func(o task.Task) bool { return o.ID == k.ID }) || k.Priority >= left.Priority
	}
	running, holding := 0, 0
	for _, k := range g.held("") {
		if taken(*k) && k.Function == left.Function {
			running++
		}
		if taken(*k) && k.Owner == left.Owner && k.Lock.Name == left.Lock.Name {
			holding++
		}
	}
	if most := g.w.rules.For(left.Function).Concurrency; most > 0 && running >= most {
		for _, k := range got {
			g.inTurn(rt, left, k, holding)
		}
		return
	}
	if left.Lock.Name != "" && holding >= left.Lock.Limit {
		return
	}
	if len(got) < c.Max {
		rt.Fatalf("Claim(%+v) gave %d tasks, and not %+v", c, len(got), left)
	}
	for _, k := range got {
		if k.Priority < left.Priority {
			rt.Fatalf("Claim(%+v) gave\n%+v, and not\n%+v", c, k, left)
		}
		g.inTurn(rt, left, k, holding)
	}
}

// inTurn checks that a task which was given is not younger than one that was
// left, where the order is that of ids.
func (g *game) inTurn(rt *rapid.T, left *task.Task, k task.Task, holding int) {
	alike := k.Owner == left.Owner && k.Function == left.Function && k.Priority == left.Priority
	free := left.Lock.Name == "" || holding < left.Lock.Limit || k.Lock.Name == left.Lock.Name
	if alike && free && bytes.Compare(left.ID[:], k.ID[:]) < 0 {
		rt.Fatalf("Claim gave\n%+v, and not the older\n%+v", k, left)
	}
}

// compare looks at every task, by listing and one by one.
func (g *game) compare(rt *rapid.T) {
	page, err := g.b.List(ctx, task.Query{Limit: 1000})
	if err != nil || page.More {
		rt.Fatalf("List: more %v, %v", page.More, err)
	}
	g.identify(page.Tasks)
	if len(page.Tasks) != len(g.w.all) {
		rt.Fatalf("%d tasks are stored, expected %d", len(page.Tasks), len(g.w.all))
	}
	for i, got := range page.Tasks {
		if i > 0 && bytes.Compare(got.ID[:], page.Tasks[i-1].ID[:]) >= 0 {
			rt.Fatal("the list is out of order")
		}
		if expected := g.w.find(got.ID); expected != nil {
			g.same(rt, got, *expected)
		} else {
			rt.Fatalf("nobody submitted %+v", got)
		}
	}
	if len(page.Tasks) > 0 {
		k := rapid.SampledFrom(g.w.all).Draw(rt, "read")
		got, err := g.b.Task(ctx, k.Owner, k.ID)
		if err != nil {
			rt.Fatal(err)
		}
		g.same(rt, got, *k)
	}
	g.count(rt)
}

// identify gives their ids to tasks that were submitted without an answer.
func (g *game) identify(stored []task.Task) {
	for _, got := range stored {
		if g.w.find(got.ID) != nil {
			continue
		}
		id := got.ID
		got.ID = asset.ID{}
		for _, k := range g.w.all {
			if reflect.DeepEqual(compact(*k), compact(got)) {
				k.ID = id
				break
			}
		}
	}
}

func (g *game) count(rt *rapid.T) {
	got, err := g.b.Counts(ctx)
	if err != nil {
		rt.Fatal(err)
	}
	type kind struct {
		function string
		state    task.State
	}
	expected := make(map[kind]task.Count)
	for _, k := range g.w.all {
		if k.State == task.Done || k.State == task.Cancelled {
			continue // these may be left out
		}
		at := kind{k.Function, k.State}
		n := expected[at]
		n.Function, n.State = k.Function, k.State
		n.Tasks++
		if k.State == task.Ready && (n.Oldest.IsZero() || k.RunAt.Before(n.Oldest)) {
			n.Oldest = k.RunAt
		}
		expected[at] = n
	}
	for _, n := range got {
		if n.State == task.Done || n.State == task.Cancelled {
			continue
		}
		if expected[kind{n.Function, n.State}] != n {
			rt.Fatalf("Counts gave %+v, expected %+v", n, expected[kind{n.Function, n.State}])
		}
		delete(expected, kind{n.Function, n.State})
	}
	if len(expected) > 0 {
		rt.Fatalf("Counts left out %+v", expected)
	}
}

// sweep cancels or retries by a filter. Names that are free for one of several
// make the outcome open, so only tasks without a name are retried.
func (g *game) sweep(rt *rapid.T) {
	f := task.Filter{
		Owner:    rapid.SampledFrom([]string{"", "o1"}).Draw(rt, "owner"),
		Function: rapid.SampledFrom(modelFunctions).Draw(rt, "function"),
		States:   []task.State{task.State(rapid.IntRange(0, 5).Draw(rt, "state"))},
	}
	action := rapid.SampledFrom([]task.Action{task.Cancel, task.Retry}).Draw(rt, "action")
	named := func(k *task.Task) bool { return f.Matches(k) && k.Name != "" }
	if action == task.Retry && slices.ContainsFunc(g.w.all, named) {
		return
	}
	expected := 0
	for _, k := range g.w.all {
		if f.Matches(k) && g.w.alter(action, k) {
			expected++
		}
	}
	if n, err := g.b.Alter(ctx, action, f); n != expected || err != nil {
		rt.Fatalf("Alter(%d, %+v) gave %d, %v; expected %d", action, f, n, err, expected)
	}
}

func (g *game) prune(rt *rapid.T) {
	ages := []time.Duration{0, time.Second, time.Hour}
	done := g.w.now.Add(-rapid.SampledFrom(ages).Draw(rt, "done"))
	dead := g.w.now.Add(-rapid.SampledFrom(ages).Draw(rt, "dead"))
	before := len(g.w.all)
	g.w.all = slices.DeleteFunc(g.w.all, func(k *task.Task) bool {
		switch k.State {
		case task.Done, task.Cancelled:
			return k.Finished.Before(done)
		case task.Dead:
			return k.Finished.Before(dead)
		}
		return false
	})
	if n, err := g.b.Prune(ctx, done, dead, 1000); n != before-len(g.w.all) || err != nil {
		rt.Fatalf("Prune gave %d, %v; expected %d", n, err, before-len(g.w.all))
	}
}

// empty leaves nothing for the next game, and tells how many tasks there were.
func (g *game) empty() int {
	if _, err := g.b.Alter(ctx, task.Cancel, task.Filter{}); err != nil {
		g.Fatal(err)
	}
	g.b.pass(time.Second)
	n, err := g.b.Prune(ctx, g.b.Now(), g.b.Now(), 100_000)
	if err != nil {
		g.Fatal(err)
	}
	return n
}
