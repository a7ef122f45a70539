package catalogtest

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Queued is implemented by a catalog whose tasks can be looked at; the suite's
// part about tasks runs there.
type Queued interface {
	Queue() task.Queue
}

func queue(t *testing.T, c catalog.Catalog) task.Queue {
	t.Helper()
	q, ok := c.(Queued)
	if !ok {
		t.Skip("the catalog shows no tasks")
	}
	return q.Queue()
}

// jobs are tasks of some functions, without an owner or an image.
func jobs(functions ...string) []task.New {
	all := make([]task.New, len(functions))
	for i, f := range functions {
		all[i] = task.New{Function: f, Args: fmt.Appendf(nil, `{"n":%d}`, i)}
	}
	return all
}

// wantTasks checks that an owner's tasks about an image are these functions'.
func wantTasks(t *testing.T, q task.Queue, who string, image asset.ID, functions ...string) {
	t.Helper()
	page, err := q.List(ctx, task.Query{Filter: task.Filter{Owner: who, Image: image}, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range page.Tasks {
		got = append(got, k.Function)
	}
	slices.Sort(got)
	slices.Sort(functions)
	if !slices.Equal(got, functions) {
		t.Fatalf("the tasks about %v are of %q, expected %q", image, got, functions)
	}
}

func wantNoTasks(t *testing.T, q task.Queue) {
	t.Helper()
	if page, err := q.List(ctx, task.Query{Limit: 1000}); err != nil || len(page.Tasks) != 0 {
		t.Fatalf("there are the tasks %+v, %v; expected none", page.Tasks, err)
	}
}

func tasksWithImage(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	a, b, bare := NewImage(owner, 1, "a"), NewImage("other", 2, "b"), NewImage(owner, 3, "c")
	a.Tasks, b.Tasks = jobs("x", "y", "x"), jobs("z")
	a.Tasks[1].Name, a.Tasks[1].Priority = "named", 7
	b.Tasks[0].Owner, b.Tasks[0].Image = "somebody else", a.Image.ID // are filled in
	results := commit(t, c, catalog.Change{Images: []catalog.NewImage{a, bare, b}})
	for i, n := range []catalog.NewImage{a, bare, b} {
		if len(results[i].Tasks) != len(n.Tasks) {
			t.Fatalf("result %d has the tasks %+v, expected %d", i, results[i].Tasks, len(n.Tasks))
		}
		for j, k := range results[i].Tasks {
			expected := n.Tasks[j]
			if k.Owner != n.Image.Owner || k.Image != n.Image.ID || k.Function != expected.Function || string(k.Args) != string(expected.Args) ||
				k.Name != expected.Name || k.Priority != expected.Priority || k.State != task.Ready {
				t.Fatalf("task %d of image %d is %+v, expected %+v", j, i, k, expected)
			}
			if got, err := q.Task(ctx, n.Image.Owner, k.ID); err != nil || !reflect.DeepEqual(got, k) {
				t.Fatalf("Task gave\n%+v, %v; expected\n%+v", got, err, k)
			}
		}
	}
	wantTasks(t, q, owner, a.Image.ID, "x", "x", "y")
	wantTasks(t, q, owner, bare.Image.ID)
	wantTasks(t, q, "other", b.Image.ID, "z")
	wantTasks(t, q, "somebody else", b.Image.ID)
}

// tasksOrNothing: a task that can't be stored keeps its image out, and an image
// that can't be stored its tasks, those of the same change too.
func tasksOrNothing(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	add(t, c, NewImage(owner, 1, "taken"))
	good, bad, late := NewImage(owner, 2, "a"), NewImage(owner, 3, "b"), NewImage(owner, 4, "taken")
	good.Tasks, bad.Tasks = jobs("x"), jobs("x", "y")
	bad.Tasks[1].Priority = task.MaxPriority + 1
	fails(t, c, fault.Invalid, catalog.Change{Images: []catalog.NewImage{good, bad}})
	late.Rule, late.Tasks = catalog.Refuse, jobs("x")
	fails(t, c, fault.Precondition, catalog.Change{Images: []catalog.NewImage{good, late}})
	late.Rule, late.Farewell = catalog.Replace, jobs("Not a name")
	fails(t, c, fault.Invalid, catalog.Change{Images: []catalog.NewImage{good, late}})
	for _, n := range []catalog.NewImage{good, bad, late} {
		wantGone(t, c, n.Image)
	}
	wantCount(t, c, owner, 1)
	wantNoTasks(t, q)
}

func tasksReplayed(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	send := func(source uint64, function string) ([]catalog.Result, error) {
		n := NewImage(owner, source, "a", "b")
		n.Replay, n.Rule, n.Tasks, n.Farewell = catalog.Replay{Token: "t"}, catalog.Replace, jobs(function), jobs("bye")
		return c.Commit(ctx, one(n))
	}
	first, err := send(1, "x")
	if err != nil {
		t.Fatal(err)
	}
	again, err := send(1, "y")
	if err != nil || !again[0].Replayed || len(again[0].Tasks) != 0 {
		t.Fatalf("a replay gave %+v, %v", again, err)
	}
	_, err = send(2, "z")
	wantKind(t, err, fault.Unprocessable)
	wantTasks(t, q, owner, first[0].Image.ID, "x")
	wantTasks(t, q, owner, asset.ID{}, "x")
}

func tasksFarewell(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	send := func(rule catalog.KeyRule, keys ...string) catalog.Result {
		n := NewImage(owner, 1, keys...)
		n.Rule, n.Tasks, n.Farewell = rule, jobs("hello"), jobs("bye", "forget")
		return put(t, c, n)
	}
	first := send(catalog.Replace, "a") // nobody loses the key
	wantTasks(t, q, owner, first.Image.ID, "hello")
	second := send(catalog.TakeFree, "a", "b") // goes on to the next one
	wantTasks(t, q, owner, first.Image.ID, "hello")
	wantTasks(t, q, owner, second.Image.ID, "hello")
	third := send(catalog.Replace, "a")
	if third.Replaced.ID != first.Image.ID || len(third.Tasks) != 1 {
		t.Fatalf("the result is %+v", third)
	}
	wantTasks(t, q, owner, first.Image.ID, "hello", "bye", "forget")
	wantTasks(t, q, owner, third.Image.ID, "hello")
	wantTasks(t, q, owner, asset.ID{}, "hello", "hello", "hello", "bye", "forget")
}

// put stores one image.
func put(t *testing.T, c catalog.Catalog, n catalog.NewImage) catalog.Result {
	t.Helper()
	return commit(t, c, one(n))[0]
}

func tasksOfDelete(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	a, b := add(t, c, NewImage(owner, 1, "a")).Image, add(t, c, NewImage("other", 2, "b")).Image
	remove := func(img asset.Image, functions ...string) catalog.Delete {
		return catalog.Delete{Owner: img.Owner, ID: img.ID, Tasks: jobs(functions...)}
	}
	fails(t, c, fault.NotFound, catalog.Change{Deletes: []catalog.Delete{remove(a, "x"), remove(NewImage(owner, 3).Image, "y")}})
	fails(t, c, fault.Invalid, catalog.Change{Deletes: []catalog.Delete{remove(a, "x"), remove(b, "?")}})
	wantNoTasks(t, q)
	wantImage(t, c, a)
	n := NewImage(owner, 4, "a")
	n.Tasks = jobs("hello")
	commit(t, c, catalog.Change{Deletes: []catalog.Delete{remove(a, "x", "y"), remove(b, "z")}, Images: []catalog.NewImage{n}})
	wantGone(t, c, a)
	wantTasks(t, q, owner, a.ID, "x", "y")
	wantTasks(t, q, "other", b.ID, "z")
	wantTasks(t, q, owner, n.Image.ID, "hello")
}

// tasksNamed: a live task of the name is changed, as Submit does.
func tasksNamed(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	send := func(source uint64) catalog.Result {
		n := NewImage(owner, source, fmt.Sprint(source))
		n.Tasks = []task.New{{Function: "x", Name: "one"}}
		return put(t, c, n)
	}
	first, second := send(1), send(2)
	if len(second.Tasks) != 1 || second.Tasks[0].ID != first.Tasks[0].ID || second.Tasks[0].Image != second.Image.ID {
		t.Fatalf("the tasks are %+v and %+v", first.Tasks, second.Tasks)
	}
	wantTasks(t, q, owner, asset.ID{}, "x")
}

// tasksConcurrently mixes changes that fail with such that don't: each image
// that is there has its task, and no other has.
func tasksConcurrently(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	const workers, each = 8, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				n := NewImage(owner, uint64(i), fmt.Sprintf("%d/%d", w, i))
				n.Tasks = jobs("x")
				bad := i%2 == 1
				if bad {
					n.Tasks = jobs("x", "?")
				}
				if _, err := c.Commit(ctx, one(n)); bad != (fault.Of(err) == fault.Invalid) || !bad && err != nil {
					t.Errorf("Commit of a bad task %v gave %v", bad, err)
				}
			}
		})
	}
	wg.Wait()
	page, err := c.List(ctx, catalog.Query{Owner: owner, Limit: 1000})
	if err != nil || len(page.Images) != workers*each/2 {
		t.Fatalf("%d images are stored, %v", len(page.Images), err)
	}
	for _, img := range page.Images {
		wantTasks(t, q, owner, img.ID, "x")
	}
	if tasks, err := q.List(ctx, task.Query{Limit: 1000}); err != nil || len(tasks.Tasks) != len(page.Images) {
		t.Fatalf("%d tasks are stored for %d images, %v", len(tasks.Tasks), len(page.Images), err)
	}
}

// outputsGo: what workers have made of an image is not shown once it is deleted;
// that of another image stays.
func outputsGo(t *testing.T, c catalog.Catalog) {
	q := queue(t, c)
	var images []asset.Image
	for i := range 2 {
		n := NewImage(owner, uint64(i), fmt.Sprint(i))
		n.Tasks = jobs("f")
		images = append(images, add(t, c, n).Image)
	}
	got, err := q.Claim(ctx, task.Claim{Functions: []string{"f"}, Max: 2, Lease: time.Minute})
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for _, k := range got {
		out := &task.Output{Digest: Digest(9), Bytes: 5, Type: "image/png"}
		done, err := q.Report(ctx, []task.Report{
			{ID: k.ID, Lease: k.Lease, Kind: task.Beat, Output: out}, {ID: k.ID, Lease: k.Lease, Kind: task.Succeeded},
		})
		if err != nil || done[1].Err != nil {
			t.Fatal(done, err)
		}
	}
	commit(t, c, catalog.Change{Deletes: []catalog.Delete{{Owner: owner, ID: images[0].ID}}})
	for _, k := range got {
		now, err := q.Task(ctx, owner, k.ID)
		if err != nil || (now.Output == nil) != (k.Image == images[0].ID) {
			t.Errorf("%v has the output %v, %v", k.Image, now.Output, err)
		}
	}
}
