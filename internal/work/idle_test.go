package work

import (
	"testing"
	"time"

	"safelight/internal/task"
)

// An idle node carries out nothing and starts nothing for itself, but it sees to
// it that tasks fall due, for others.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r, starts runs
		functions := map[string]Function{"f": {Do: r.do}, "g": {Do: starts.do}}
		idle := newFixture(t, setup{functions: functions, config: func(c *Config) {
			c.Idle = true
			c.Periodic["p"] = Periodic{Function: "f", Every: time.Minute, AtStart: true}
		}})
		start := time.Now()
		idle.start()
		later := job("g")
		later.RunAt = start.Add(10 * time.Second)
		id := idle.submit(later)
		time.Sleep(90 * time.Second)
		idle.want(id, task.Ready)
		if all := idle.list("f"); len(all) != 1 || all[0].State != task.Ready || !all[0].RunAt.Equal(start.Add(time.Minute)) {
			t.Errorf("the periodic task is %+v", all)
		}
		busy := newFixture(t, setup{node: "n2", functions: functions, over: idle}).start()
		time.Sleep(10 * time.Second)
		busy.want(id, task.Done)
		if got := r.since(start); len(got) != 1 || got[0] < 90*time.Second || got[0] > 100*time.Second {
			t.Errorf("the periodic task ran after %v", got)
		}
	})
}

// TestLeaseOfADeadNode: what a node held when it died is free again soon.
func TestLeaseOfADeadNode(t *testing.T) {
	t.Parallel()
	if free := DefaultConfig().Lease + lookUp; free > time.Minute {
		t.Errorf("a dead node's tasks are taken over after %s", free)
	}
}
