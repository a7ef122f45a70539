package work

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/task"
)

// log of when a function ran, on whichever node.
type runs struct {
	mu    sync.Mutex
	at    []time.Time
	takes time.Duration // how long an attempt takes
}

func (r *runs) do(ctx context.Context, run *Run) (Outcome, error) {
	r.mu.Lock()
	r.at = append(r.at, time.Now().UTC())
	r.mu.Unlock()
	pause(ctx, r.takes)
	return Outcome{}, ctx.Err()
}

// since gives the times since a start, and forgets them.
func (r *runs) since(start time.Time) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []time.Duration
	for _, at := range r.at {
		all = append(all, at.Sub(start))
	}
	r.at = nil
	return all
}

func periodic(p Periodic) func(*Config) {
	p.Function = "f"
	return func(c *Config) { c.Periodic["p"] = p }
}

// The bubble's time begins at midnight UTC, on 1 January 2000, a
// Saturday.
func TestPeriodic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p    Periodic
		span time.Duration
		want []time.Duration
	}{
		"every":        {Periodic{Every: 10 * time.Minute}, 35 * time.Minute, []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute}},
		"at start":     {Periodic{Every: 10 * time.Minute, AtStart: true}, 15 * time.Minute, []time.Duration{0, 10 * time.Minute}},
		"cron":         {Periodic{Cron: "30 2 * * *"}, 3 * time.Hour, []time.Duration{2*time.Hour + 30*time.Minute}},
		"with a zone":  {Periodic{Cron: "CRON_TZ=America/New_York 30 20 * * *"}, 3 * time.Hour, []time.Duration{90 * time.Minute}},
		"on Saturdays": {Periodic{Cron: "30 1 * * 6"}, 2 * time.Hour, []time.Duration{90 * time.Minute}},
		"on Sundays":   {Periodic{Cron: "30 1 * * 0"}, 2 * time.Hour, nil},
		"hourly":       {Periodic{Cron: "@hourly"}, 2 * time.Hour, []time.Duration{time.Hour, 2 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var r runs
				f := newFixture(t, setup{config: periodic(c.p), functions: map[string]Function{"f": {Do: r.do}}})
				start := time.Now()
				f.start()
				time.Sleep(c.span + 5*time.Second)
				synctest.Wait()
				if got := r.since(start); !slices.Equal(got, c.want) {
					t.Errorf("it ran after %v, expected %v", got, c.want)
				}
				for _, k := range f.list("f") {
					if k.Owner != "main" || string(k.Args) != "{}" || k.Priority != task.Idle {
						t.Errorf("%+v", k)
					}
				}
			})
		})
	}
}

func TestPeriodicArgumentsAndOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFixture(t, setup{config: periodic(Periodic{Every: time.Minute, Owner: "o", Args: map[string]any{"a": []any{1, "x"}}})}).start()
		time.Sleep(3*time.Minute + 30*time.Second)
		all := f.list("f")
		if len(all) != 1 || all[0].Owner != "o" || string(all[0].Args) != `{"a":[1,"x"]}` || all[0].State != task.Ready {
			t.Errorf("%+v", all) // nobody takes it, so there is one
		}
	})
}

// An occurrence and the moment at which the next is submitted are the same: none
// may be lost, whoever comes first.
func TestNoOccurrenceIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		f := newFixture(t, setup{config: periodic(Periodic{Every: time.Minute}), functions: map[string]Function{"f": {Do: r.do}}})
		start := time.Now()
		f.start()
		time.Sleep(40*time.Minute + 30*time.Second)
		got := r.since(start)
		for i, d := range got {
			if want := time.Duration(i+1) * time.Minute; d != want {
				t.Fatalf("occurrence %d ran after %s, expected %s", i, d, want)
			}
		}
		if len(got) != 40 {
			t.Errorf("it ran %d times", len(got))
		}
	})
}

func TestShortPeriods(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		f := newFixture(t, setup{config: periodic(Periodic{Every: 100 * time.Millisecond}), functions: map[string]Function{"f": {Do: r.do}}})
		start := time.Now()
		f.start()
		time.Sleep(10*time.Second + 50*time.Millisecond)
		got := r.since(start)
		if len(got) < 90 || len(got) > 100 {
			t.Errorf("it ran %d times in 10 s: %v", len(got), got)
		}
	})
}

func TestOccurrenceThatTakesLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := runs{takes: 25 * time.Minute}
		f := newFixture(t, setup{config: periodic(Periodic{Every: 10 * time.Minute}), functions: map[string]Function{"f": {Do: r.do}}})
		start := time.Now()
		f.start()
		time.Sleep(70 * time.Minute)
		for i, d := range r.since(start) { // what falls due while it runs is carried out once, after it
			if want := 10*time.Minute + time.Duration(i)*25*time.Minute; d < want || d > want+10*time.Minute {
				t.Errorf("run %d began after %s", i, d)
			}
		}
	})
}

func TestOccurrenceWhileTheNodeWasDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		s := setup{config: periodic(Periodic{Every: time.Hour}), functions: map[string]Function{"f": {Do: r.do}}}
		f := newFixture(t, s)
		start := time.Now()
		f.start()
		for n := range 5 {
			time.Sleep(time.Minute)
			f.stop()
			time.Sleep(time.Hour)
			f.start() // an occurrence has fallen due meanwhile
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := r.since(start); len(got) != 1 {
				t.Fatalf("start %d: it ran after %v", n, got)
			}
			time.Sleep(time.Until(start.Add(time.Duration(n+1) * 3 * time.Hour)))
			synctest.Wait()
			r.since(start)
		}
	})
}

func TestOccurrenceThatIsPutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		postponed := 0
		s := setup{config: periodic(Periodic{Every: time.Hour}), functions: does(func(ctx context.Context, run *Run) (Outcome, error) {
			if postponed++; postponed == 1 {
				return Outcome{}, Postpone(10*time.Minute, "later")
			}
			return r.do(ctx, run)
		})}
		f := newFixture(t, s)
		start := time.Now()
		f.start()
		time.Sleep(time.Hour + 5*time.Minute)
		f.stop()
		f.start() // restarts must not replace it
		time.Sleep(10 * time.Minute)
		if got := r.since(start); !slices.Equal(got, []time.Duration{70 * time.Minute}) {
			t.Errorf("it ran after %v", got)
		}
	})
}

// An attempt that fails is followed by another, and not by the next occurrence.
func TestOccurrenceThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		f := newFixture(t, setup{config: periodic(Periodic{Every: time.Hour}), functions: does(func(ctx context.Context, run *Run) (Outcome, error) {
			out, err := r.do(ctx, run)
			pause(ctx, 10*time.Second)
			if run.Task.Attempt < 3 {
				return out, errors.New("not yet")
			}
			return out, err
		})})
		start := time.Now()
		f.start()
		time.Sleep(90 * time.Minute)
		want := []time.Duration{time.Hour, time.Hour + 21*time.Second, time.Hour + 55*time.Second}
		if got := r.since(start); !slices.Equal(got, want) {
			t.Errorf("it ran after %v, expected %v", got, want)
		}
	})
}

func TestTwoNodesSubmitOneOccurrence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		s := setup{config: periodic(Periodic{Every: time.Minute}), functions: map[string]Function{"f": {Do: r.do}}}
		one := newFixture(t, s)
		s.node, s.over = "n2", one
		two := newFixture(t, s)
		start := time.Now()
		one.start()
		two.start()
		time.Sleep(15*time.Minute + 30*time.Second)
		one.stop()
		one.start()
		time.Sleep(15 * time.Minute)
		got := r.since(start)
		if len(got) != 30 {
			t.Errorf("it ran %d times", len(got))
		}
		for i, d := range got {
			if want := time.Duration(i+1) * time.Minute; d != want {
				t.Fatalf("occurrence %d ran after %s, expected %s", i, d, want)
			}
		}
	})
}

func TestChangedPeriodTakesEffect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r runs
		functions := map[string]Function{"f": {Do: r.do}}
		old := newFixture(t, setup{config: periodic(Periodic{Every: 24 * time.Hour}), functions: functions})
		start := time.Now()
		old.start()
		time.Sleep(time.Minute)
		old.stop()
		fresh := newFixture(t, setup{config: periodic(Periodic{Every: time.Hour}), functions: functions, over: old})
		fresh.start()
		time.Sleep(90 * time.Minute)
		if got := r.since(start); !slices.Equal(got, []time.Duration{time.Hour}) {
			t.Errorf("it ran after %v", got)
		}
	})
}
