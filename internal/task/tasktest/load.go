package tasktest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

const loadWorkers = 16

// load has everybody submit, claim and report at once: each task is carried
// out exactly once.
func load(t *testing.T, b *bed) {
	const each, batch, total = 320, 20, loadWorkers * 320
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := make(map[asset.ID]string)
	var left atomic.Int64
	left.Store(total)
	for w := range loadWorkers {
		wg.Go(func() {
			for i := 0; i < each; i += batch {
				if _, err := b.Submit(ctx, crowd(batch, w)); err != nil {
					t.Errorf("Submit: %v", err)
					left.Store(0)
				}
			}
		})
		wg.Go(func() {
			c := asks(1+w*3, plain, "x")
			c.Worker = fmt.Sprintf("w%d", w)
			for left.Load() > 0 {
				claimed, err := b.Claim(ctx, c)
				if err != nil {
					t.Errorf("Claim: %v", err)
					return
				}
				reports := make([]task.Report, len(claimed))
				for i, k := range claimed {
					reports[i] = says(k, task.Succeeded)
				}
				answers, err := b.Report(ctx, reports)
				if err != nil {
					t.Errorf("Report: %v", err)
					return
				}
				mu.Lock()
				for i, a := range answers {
					if a.Err != nil || a.State != task.Done || done[claimed[i].ID] != "" {
						t.Errorf("%v of %s gave %+v, done before by %q", claimed[i].ID, c.Worker, a, done[claimed[i].ID])
					}
					done[claimed[i].ID] = c.Worker
				}
				mu.Unlock()
				left.Add(-int64(len(answers)))
			}
		})
	}
	wg.Wait()
	if len(done) != total {
		t.Fatalf("%d of %d tasks were carried out", len(done), total)
	}
	b.wantCounts(t)
	found := make(map[asset.ID]bool)
	for _, id := range b.pages(t, task.Filter{States: []task.State{task.Done}}, 1000) {
		found[id] = true
		if done[id] == "" {
			t.Fatalf("%v is done, but nobody did it", id)
		}
	}
	if len(found) != total {
		t.Fatalf("%d of %d tasks are done", len(found), total)
	}
}

// crowd are tasks of two functions and five owners.
func crowd(n, first int) []task.New {
	tasks := make([]task.New, n)
	for i := range tasks {
		tasks[i] = numbered([]string{plain, "x"}[i%2], i)
		tasks[i].Owner = fmt.Sprintf("o%d", (first+i)%5)
	}
	return tasks
}

// loadFailures mixes calls that must fail with calls that must not, at the same
// time, and checks that each has its own answer.
func loadFailures(t *testing.T, b *bed) {
	dead := b.each(t, "dead")[task.Done]
	var wg sync.WaitGroup
	const each = 30
	for w := range loadWorkers {
		mine := fmt.Sprintf("f%d", w)
		wg.Go(func() {
			for i := range each {
				switch w % 4 {
				case 0:
					if _, err := b.Submit(ctx, []task.New{job(mine), {Owner: owner, Function: "?"}}); fault.Of(err) != fault.Invalid {
						t.Errorf("a bad submission gave %v", err)
					}
				case 1:
					if _, err := b.Alter(ctx, task.Retry, task.Filter{ID: dead.ID}); fault.Of(err) != fault.Conflict {
						t.Errorf("a retry of a task that is done gave %v", err)
					}
				case 2:
					if a, err := b.Report(ctx, []task.Report{{ID: dead.ID, Lease: "x"}}); err != nil || fault.Of(a[0].Err) != fault.Conflict {
						t.Errorf("a stale report gave %+v, %v", a, err)
					}
				default:
					if _, err := b.Alter(ctx, task.Cancel, task.Filter{ID: mint.New(origin)}); fault.Of(err) != fault.NotFound {
						t.Errorf("cancelling nothing gave %v", err)
					}
				}
				n := named(mine, fmt.Sprint(i))
				stored, err := b.Submit(ctx, []task.New{n, job(mine)})
				if err != nil || len(stored) != 2 {
					t.Errorf("Submit gave %d, %v", len(stored), err)
					continue
				}
				got, err := b.Claim(ctx, asks(10, mine))
				if err != nil || len(got) != 2 {
					t.Errorf("Claim gave %d tasks, %v; expected those that were submitted before", len(got), err)
					continue
				}
				answers, err := b.Report(ctx, []task.Report{says(got[0], task.Succeeded), says(got[1], task.Succeeded)})
				if err != nil || answers[0].Err != nil || answers[1].Err != nil {
					t.Errorf("Report gave %+v, %v", answers, err)
				}
			}
		})
	}
	wg.Wait()
	b.want(t, dead)
	if found := b.pages(t, task.Filter{States: []task.State{task.Done}}, 1000); len(found) != loadWorkers*each*2+1 {
		t.Fatalf("%d tasks are done, expected %d", len(found), loadWorkers*each*2+1)
	}
}
