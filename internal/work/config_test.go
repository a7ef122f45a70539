package work

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"safelight/internal/task"
)

func TestDefaultConfigIsValid(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfigMessages(t *testing.T) {
	t.Parallel()
	p := func(p Periodic) func(*Config) { return func(c *Config) { c.Periodic["p"] = p } }
	f := func(name string, policy task.Policy) func(*Config) {
		return func(c *Config) { c.Functions[name] = policy }
	}
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no slots":               {func(c *Config) { c.Slots = 0 }, "tasks: slots must be at least 1"},
		"done kept negatively":   {func(c *Config) { c.KeepDone = -1 }, "keep_done"},
		"dead kept negatively":   {func(c *Config) { c.KeepDead = -1 }, "keep_dead"},
		"a short lease":          {func(c *Config) { c.Lease = time.Millisecond }, "tasks.lease: 1ms is not from 1s to 10m0s"},
		"a long lease":           {func(c *Config) { c.Lease = time.Hour }, "tasks.lease: 1h0m0s"},
		"a bad default":          {func(c *Config) { c.Default.MaxAttempts = 0 }, "tasks.default: max_attempts: 0"},
		"a bad name":             {f("F", task.Policy{}), "tasks.functions.F: function: expected"},
		"a bad policy":           {f("f", task.Policy{RetryJitter: 2}), "tasks.functions.f: retry_unit"},
		"no attempts":            {f("f", task.Policy{MaxAttempts: -1}), "tasks.functions.f: max_attempts: -1"},
		"a long timeout":         {f("f", task.Policy{Timeout: 1000 * time.Hour}), "tasks.functions.f: timeout: 1000h0m0s"},
		"no function":            {p(Periodic{Every: time.Hour}), "tasks.periodic.p: function: expected"},
		"neither cron nor every": {p(Periodic{Function: "f"}), "tasks.periodic.p: expected either cron or every"},
		"both cron and every":    {p(Periodic{Function: "f", Cron: "* * * * *", Every: time.Hour}), "expected either cron or every"},
		"a bad cron":             {p(Periodic{Function: "f", Cron: "* * *"}), `tasks.periodic.p: cron: "* * *": expected exactly 5 fields`},
		"a bad zone":             {p(Periodic{Function: "f", Cron: "CRON_TZ=Moon/Sea 0 0 * * *"}), "tasks.periodic.p: cron:"},
		"a day that never comes": {p(Periodic{Function: "f", Cron: "0 0 30 2 *"}), `cron: "0 0 30 2 *" never happens`},
		"every as cron":          {p(Periodic{Function: "f", Cron: "@every 24h"}), `cron: "@every 24h": use every instead`},
		"too often":              {p(Periodic{Function: "f", Every: time.Microsecond}), "every: 1µs is shorter than 1ms"},
		"backwards":              {p(Periodic{Function: "f", Every: -time.Hour}), "every: -1h0m0s is shorter than 1ms"},
	} {
		config := DefaultConfig()
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; expected %q", name, err, c.says)
		}
	}
	config := DefaultConfig()
	config.Slots, config.Lease = 0, 0
	if err := config.Validate(); err == nil || !strings.Contains(err.Error(), "slots") || !strings.Contains(err.Error(), "lease") {
		t.Errorf("not everything that is wrong is told: %v", err)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	base := task.Policy{MaxAttempts: 9, RetryUnit: time.Second, RetryMax: time.Hour, RetryJitter: 0.5, Timeout: time.Minute, Concurrency: 3, MaxPostpones: 7, OnDead: "d"}
	whole := task.Policy{MaxAttempts: 1, RetryUnit: 2, RetryMax: 3, RetryJitter: 0.25, Timeout: 4, Concurrency: 5, MaxPostpones: 6, Worker: true, OnDead: "e"}
	if got := over(base, task.Policy{}); got != base {
		t.Errorf("%+v", got)
	}
	if got := over(base, whole); got != whole {
		t.Errorf("%+v", got)
	}
	set, of := reflect.ValueOf(whole), reflect.TypeFor[task.Policy]()
	for i := range of.NumField() { // each field alone, so that none is forgotten
		one := task.Policy{}
		reflect.ValueOf(&one).Elem().Field(i).Set(set.Field(i))
		want := base
		reflect.ValueOf(&want).Elem().Field(i).Set(set.Field(i))
		if got := over(base, one); got != want {
			t.Errorf("%s: %+v", of.Field(i).Name, got)
		}
	}

	c := DefaultConfig()
	c.Default = base
	c.Functions = map[string]task.Policy{"f": {MaxAttempts: 2, Worker: true}, "theirs": {Timeout: time.Hour}}
	got := c.Policies(map[string]Function{"f": {Policy: task.Policy{MaxAttempts: 5, Timeout: 8}}, "g": {Policy: task.Policy{OnDead: "x"}}})
	with := func(change func(*task.Policy)) task.Policy { p := base; change(&p); return p }
	for name, want := range map[string]task.Policy{
		"f":      with(func(p *task.Policy) { p.MaxAttempts, p.Timeout, p.Worker = 2, 8, true }),
		"g":      with(func(p *task.Policy) { p.OnDead = "x" }),
		"theirs": with(func(p *task.Policy) { p.Timeout = time.Hour }),
		"any":    base,
	} {
		if got.For(name) != want {
			t.Errorf("%s: %+v, expected %+v", name, got.For(name), want)
		}
	}
}

func TestEvery(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 7, 1, 10, 7, 3, 0, time.UTC)
	for _, c := range []struct {
		every time.Duration
		next  string
	}{{time.Hour, "11:00:00"}, {15 * time.Minute, "10:15:00"}, {time.Second, "10:07:04"}} {
		next := every(c.every).Next(at)
		if got := next.Format(time.TimeOnly); got != c.next {
			t.Errorf("every %s: %s, expected %s", c.every, got, c.next)
		}
		if again := every(c.every).Next(next); again.Sub(next) != c.every {
			t.Errorf("every %s: then %s", c.every, again)
		}
	}
}

func TestFunctionsList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nothing := func(context.Context, *Run) (Outcome, error) { return Outcome{}, nil }
		f := newFixture(t, setup{
			config: func(c *Config) {
				c.Functions = map[string]task.Policy{"own2": {Worker: true}, "configured": {MaxAttempts: 2}}
			},
			functions: map[string]Function{"own": {Do: nothing}, "own2": {Do: nothing}},
		})
		start := time.Now().UTC()
		f.submit(job("waits"))
		time.Sleep(time.Second)
		f.submit(job("waits"))
		n := job("waits")
		n.RunAt = time.Now().Add(time.Hour)
		f.submit(n)
		time.Sleep(time.Second)
		<-f.waits(t.Context(), asks("asked", "waits"), 0)
		got, err := f.Functions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		asked := start.Add(2 * time.Second)
		want := []FunctionInfo{
			{Name: "asked", Asked: asked, Waiting: map[task.State]int{}},
			{Name: "configured", Waiting: map[task.State]int{}},
			{Name: "own", Own: true, Waiting: map[task.State]int{}},
			{Name: "own2", Waiting: map[task.State]int{}},
			{Name: "waits", Asked: asked, Waiting: map[task.State]int{task.Scheduled: 1, task.Ready: 1, task.Running: 1}, Oldest: start.Add(time.Second)},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, expected\n%+v", got, want)
		}
		if !f.Reserved("own2") || f.Reserved("waits") {
			t.Error("Reserved")
		}
	})
}

func TestAttendance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nothing := func(context.Context, *Run) (Outcome, error) { return Outcome{}, nil }
		f := newFixture(t, setup{
			config:    func(c *Config) { c.Functions["left"] = task.Policy{Worker: true} },
			functions: map[string]Function{"own": {Do: nothing}, "left": {Do: nothing}},
		})
		a := f.Attendance()
		want := func(function string, attended bool) {
			t.Helper()
			if a.Attended(function) != attended {
				t.Errorf("%s: expected %t after %s", function, attended, time.Now().Format(time.TimeOnly))
			}
		}
		want("own", true)
		want("left", false)
		want("asked", false)
		<-f.waits(t.Context(), asks("asked", "left"), 0)
		want("asked", true) // of this node: at once
		time.Sleep(attendanceAge)
		want("asked", true)
		want("left", true)
		time.Sleep(attended - attendanceAge - time.Second)
		want("asked", true)
		time.Sleep(2 * time.Second)
		want("asked", false)
		for range 3 { // one that asks again and again is announced again
			<-f.waits(t.Context(), asks("asked"), time.Minute)
		}
		time.Sleep(attendanceAge)
		want("asked", true)
	})
}
