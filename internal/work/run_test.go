package work

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/task"
)

func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		causes := make(chan error, 10)
		f := newFixture(t, setup{functions: does(func(ctx context.Context, r *Run) (Outcome, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			if string(r.Task.Args) == `{"a":1}` { // it was just finished
				return Outcome{Next: []task.New{job("g")}}, nil
			}
			return Outcome{}, ctx.Err()
		})}).start()
		given := f.submit(job("f"))
		n := job("f")
		n.Args = []byte(`{"a":1}`)
		done := f.submit(n)
		synctest.Wait()
		f.want(given, task.Running)
		start := time.Now()
		f.stop()
		if took := time.Since(start); took != 0 {
			t.Errorf("stopping took %s", took)
		}
		for range 2 {
			if err := <-causes; !errors.Is(err, errStopping) {
				t.Errorf("an attempt was ended by %v", err)
			}
		}
		if k := f.want(given, task.Ready); k.Attempt != 0 || k.Error != "" {
			t.Errorf("%+v", k)
		}
		if f.want(done, task.Done); len(f.list("g")) != 1 {
			t.Error("what came after it is lost")
		}
	})
}

func TestStopWhileTheQueueFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{functions: does(func(ctx context.Context, _ *Run) (Outcome, error) {
			<-ctx.Done()
			return Outcome{}, ctx.Err()
		})}).start()
		id := f.submit(job("f"))
		synctest.Wait()
		f.queue.fail(func([]task.Report) error { return errors.New("broken") }, errors.New("broken"))
		start := time.Now()
		f.stop()
		if took := time.Since(start); took > f.config.Lease+time.Minute {
			t.Errorf("stopping took %s", took)
		}
		f.want(id, task.Running)
	})
}

func TestRunAfterACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		attempts := map[string][]int{}
		functions := does(func(_ context.Context, r *Run) (Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			attempts[r.Task.Name] = append(attempts[r.Task.Name], r.Task.Attempt)
			return Outcome{}, nil
		})
		f := newFixture(t, setup{functions: functions})
		c := task.Claim{Functions: []string{"f"}, Max: 1, Lease: task.MaxLease}
		var ids []string
		for _, worker := range []string{task.NodePrefix + "n1", task.NodePrefix + "n2", "outside"} {
			n := job("f")
			n.Name = worker
			f.submit(n)
			c.Worker = worker
			claimed, err := f.queue.Claim(t.Context(), c) // as the node did before it died
			if err != nil || len(claimed) != 1 {
				t.Fatal(claimed, err)
			}
			ids = append(ids, claimed[0].ID.String())
		}
		f.queue.fail(nil, errors.New("the disk is away"))
		f.start()
		time.Sleep(10 * time.Second)
		f.queue.fail(nil, nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(attempts) != 1 || !slices.Equal(attempts[task.NodePrefix+"n1"], []int{2}) || !f.logged("tasks were under way when this node went down") {
			t.Errorf("%v of %v", attempts, ids)
		}
	})
}

func TestPools(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		do := func(pool string) func(context.Context, *Run) (Outcome, error) {
			return func(context.Context, *Run) (Outcome, error) {
				mu.Lock()
				now[pool]++
				most[pool] = max(most[pool], now[pool])
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				now[pool]--
				return Outcome{}, nil
			}
		}
		f := newFixture(t, setup{
			config: func(c *Config) { c.Slots = 3; c.Functions["slow2"] = task.Policy{Concurrency: 2} },
			functions: map[string]Function{
				"a": {Do: do("common")}, "b": {Do: do("common")},
				"slow1": {Do: do("slow1"), Pool: "slow1", Policy: task.Policy{Concurrency: 1}}, "slow2": {Do: do("slow2"), Pool: "slow2"},
				"free": {Do: do("free"), Pool: "free"}, "outside": {Do: do("outside"), Policy: task.Policy{Worker: true}}, "none": {},
			},
		}).start()
		start := time.Now()
		for range 6 {
			for name := range f.functions {
				f.submit(job(name))
			}
		}
		for want := 4 * time.Second; ; {
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			if slices.ContainsFunc(append(f.list("a"), f.list("b")...), func(k task.Task) bool { return k.State != task.Done }) {
				continue
			}
			if took := time.Since(start); took > want+100*time.Millisecond { // 12 tasks, 3 at a time
				t.Errorf("the common pool took %s, expected %s", took, want)
			}
			break
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for pool, n := range map[string]int{"common": 3, "slow1": 1, "slow2": 2, "free": 1, "outside": 0} {
			if most[pool] != n {
				t.Errorf("%d of %s ran at once, expected %d", most[pool], pool, n)
			}
		}
		for _, name := range []string{"outside", "none"} {
			for _, k := range f.list(name) {
				f.want(k.ID, task.Ready)
			}
		}
	})
}

func TestClaimsThatFailAreTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ran atomic.Int32
		f := newFixture(t, setup{functions: does(func(context.Context, *Run) (Outcome, error) { ran.Add(1); return Outcome{}, nil })}).start()
		f.queue.fail(nil, errors.New("broken"))
		time.Sleep(time.Minute)
		n := job("f")
		n.RunAt = time.Now().Add(time.Second)
		f.submit(n)
		time.Sleep(time.Minute)
		f.queue.fail(nil, nil)
		time.Sleep(3 * time.Second)
		if ran.Load() != 1 || !f.logged("tasks can't be claimed") || !f.logged("due tasks can't be looked for") {
			t.Errorf("it ran %d times", ran.Load())
		}
	})
}

func TestPrune(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{
			config:    func(c *Config) { c.KeepDone, c.KeepDead = time.Hour, 2*time.Hour },
			functions: does(func(_ context.Context, r *Run) (Outcome, error) { return Outcome{}, nil }),
		})
		for range pruneBatch + 10 {
			f.submit(job("f"))
		}
		dead := f.submit(job("dead"))
		k := gets(t, f.waits(t.Context(), asks("dead"), 0), 0)
		if _, err := f.queue.Report(t.Context(), []task.Report{{ID: k.ID, Lease: k.Lease, Kind: task.Failed, Final: true}}); err != nil {
			t.Fatal(err)
		}
		cancelled := f.submit(job("c"))
		if _, err := f.queue.Alter(t.Context(), task.Cancel, task.Filter{ID: cancelled}); err != nil {
			t.Fatal(err)
		}
		live := f.submit(job("live"))
		f.start()
		time.Sleep(30 * time.Second)
		f.queue.fail(nil, errors.New("broken"))
		time.Sleep(time.Hour)
		f.queue.fail(nil, nil)
		if len(f.list("f")) != 1000 { // the limit of a listing
			t.Fatal("tasks went too early")
		}
		time.Sleep(2 * time.Minute)
		if n := len(f.list("f")); n != 0 {
			t.Errorf("%d are left", n)
		}
		if len(f.list("c")) != 0 || !f.logged("old tasks can't be removed") {
			t.Error("the cancelled one is left")
		}
		f.want(dead, task.Dead)
		time.Sleep(time.Hour)
		if len(f.list("dead")) != 0 {
			t.Error("the dead one is left")
		}
		f.want(live, task.Ready)
	})
}

func TestNothingIsPrunedForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{
			config:    func(c *Config) { c.KeepDone = 0 },
			functions: does(func(context.Context, *Run) (Outcome, error) { return Outcome{}, nil }),
		}).start()
		id := f.submit(job("f"))
		time.Sleep(2 * time.Hour)
		f.want(id, task.Done)
	})
}
