package tasktest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// pages lists what a filter selects, by pages of a limit.
func (b *bed) pages(t *testing.T, f task.Filter, limit int) (found []asset.ID) {
	t.Helper()
	q := task.Query{Filter: f, Limit: limit}
	for {
		page, err := b.List(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Tasks) > limit || page.More && len(page.Tasks) != limit {
			t.Fatalf("List gave %d tasks, more %v, with a limit of %d", len(page.Tasks), page.More, limit)
		}
		found = append(found, ids(page.Tasks)...)
		if !page.More {
			return found
		}
		q.Before = page.Tasks[len(page.Tasks)-1].ID
	}
}

// newest are the ids of tasks, from the newest.
func newest(tasks []task.Task) []asset.ID {
	all := ids(byID(tasks))
	slices.Reverse(all)
	return all
}

func list(t *testing.T, b *bed) {
	b.none(t, task.Filter{})
	var stored []task.Task
	for _, n := range []int{30, 1, 5} { // many of one millisecond
		stored = append(stored, b.submit(t, repeated(job(plain), n)...)...)
		b.pass(time.Millisecond)
	}
	expected := newest(stored)
	for _, limit := range []int{1, 2, 7, 35, 36, 37, 1000} {
		if got := b.pages(t, task.Filter{}, limit); !slices.Equal(got, expected) {
			t.Fatalf("by pages of %d List gave\n%v, expected\n%v", limit, got, expected)
		}
	}
	for i, k := range b.find(t, task.Filter{}) {
		b.want(t, k)
		if k.ID != expected[i] {
			t.Fatalf("task %d is %v", i, k.ID)
		}
	}
	page, err := b.List(ctx, task.Query{Before: expected[35], Limit: 10})
	if err != nil || len(page.Tasks) != 0 || page.More {
		t.Fatalf("below the oldest List gave %+v, %v", page, err)
	}
}

func listFilters(t *testing.T, b *bed) {
	all := b.each(t, plain)
	image := mint.New(origin)
	n := named("x", "a")
	n.Image = image
	x := b.add(t, n)
	n.Owner, n.Name = "other", "b"
	y := b.add(t, n)
	for _, c := range []struct {
		filter   task.Filter
		expected []task.Task
	}{
		{task.Filter{Owner: "other"}, []task.Task{y}},
		{task.Filter{Function: "x"}, []task.Task{x, y}},
		{task.Filter{Function: "x", Owner: owner}, []task.Task{x}},
		{task.Filter{Name: "a"}, []task.Task{x}},
		{task.Filter{Name: "A"}, nil},
		{task.Filter{Image: image}, []task.Task{x, y}},
		{task.Filter{Image: image, Name: "b"}, []task.Task{y}},
		{task.Filter{Image: mint.New(origin)}, nil},
		{task.Filter{ID: x.ID}, []task.Task{x}},
		{task.Filter{ID: x.ID, Owner: "other"}, nil},
		{task.Filter{States: []task.State{task.Scheduled}}, []task.Task{all[task.Scheduled]}},
		{task.Filter{States: []task.State{task.Ready}}, []task.Task{all[task.Ready], x, y}},
		{task.Filter{States: []task.State{task.Done, task.Dead}}, []task.Task{all[task.Done], all[task.Dead]}},
		{task.Filter{States: []task.State{task.Cancelled, task.Running, task.Ready}, Function: plain},
			[]task.Task{all[task.Cancelled], all[task.Running], all[task.Ready]}},
	} {
		for _, limit := range []int{1, 2, 100} {
			got := b.pages(t, c.filter, limit)
			if want := newest(c.expected); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("List(%+v) gave\n%v, expected\n%v", c.filter, got, want)
			}
		}
	}
}

func listLimits(t *testing.T, b *bed) {
	for _, limit := range []int{0, -1, 1001} {
		_, err := b.List(ctx, task.Query{Limit: limit})
		wantKind(t, err, fault.Invalid)
	}
}
