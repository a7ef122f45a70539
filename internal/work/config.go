package work

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/robfig/cron/v3"

	"safelight/internal/task"
)

// Config is how tasks are treated.
type Config struct {
	Slots     int                    `koanf:"slots"`     // tasks that this node carries out at once, compression not counted
	Lease     time.Duration          `koanf:"lease"`     // of this node's own workers; renewed at a third of it
	KeepDone  time.Duration          `koanf:"keep_done"` // how long done and cancelled tasks are listed; 0 is for ever
	KeepDead  time.Duration          `koanf:"keep_dead"` // and dead ones
	Default   task.Policy            `koanf:"default"`   // of functions that are not named
	Functions map[string]task.Policy `koanf:"functions"` // zero fields take those of Default, or of the function itself
	Periodic  map[string]Periodic    `koanf:"periodic"`  // tasks that are submitted again and again, by name
	Idle      bool                   `koanf:"-"`         // this node carries out nothing itself
}

// Periodic is a task that is submitted again and again: by a cron expression of
// five fields (in UTC, or with CRON_TZ=Zone before it), or every so often.
type Periodic struct {
	Function string         `koanf:"function"`
	Cron     string         `koanf:"cron"`
	Every    time.Duration  `koanf:"every"`
	Args     map[string]any `koanf:"args"`
	Owner    string         `koanf:"owner"` // "" is main
	AtStart  bool           `koanf:"-"`     // once when a node starts, too
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{
		Slots: 2 * runtime.NumCPU(), Lease: 30 * time.Second, KeepDone: 72 * time.Hour, Default: task.DefaultPolicy(),
		Functions: map[string]task.Policy{}, Periodic: map[string]Periodic{},
	}
}

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Slots < 1 || c.KeepDone < 0 || c.KeepDead < 0 {
		errs = append(errs, errors.New("tasks: slots must be at least 1, and keep_done and keep_dead not negative"))
	}
	if c.Lease < time.Second || c.Lease > task.MaxLease {
		errs = append(errs, fmt.Errorf("tasks.lease: %s is not from 1s to %s", c.Lease, task.MaxLease))
	}
	if err := c.Default.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("tasks.default: %w", err))
	}
	for name, p := range c.Functions {
		err := task.CheckFunction(name)
		if err == nil {
			err = over(c.Default, p).Validate()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("tasks.functions.%s: %w", name, err))
		}
	}
	for name, p := range c.Periodic {
		if _, err := p.schedule(); err != nil {
			errs = append(errs, fmt.Errorf("tasks.periodic.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Policies are those of the configuration over those that the product's own
// functions come with.
func (c Config) Policies(functions map[string]Function) task.Policies {
	p := task.Policies{Default: c.Default, Of: make(map[string]task.Policy)}
	for name, f := range functions {
		p.Of[name] = over(c.Default, f.Policy)
	}
	for name, own := range c.Functions {
		p.Of[name] = over(p.For(name), own)
	}
	return p
}

// over is a policy with the fields of another that are set.
func over(base, set task.Policy) task.Policy {
	pick := func(b, s *time.Duration) {
		if *s != 0 {
			*b = *s
		}
	}
	pick(&base.RetryUnit, &set.RetryUnit)
	pick(&base.RetryMax, &set.RetryMax)
	pick(&base.Timeout, &set.Timeout)
	for b, s := range map[*int]int{&base.MaxAttempts: set.MaxAttempts, &base.Concurrency: set.Concurrency, &base.MaxPostpones: set.MaxPostpones} {
		if s != 0 {
			*b = s
		}
	}
	if set.RetryJitter != 0 {
		base.RetryJitter = set.RetryJitter
	}
	if set.OnDead != "" {
		base.OnDead = set.OnDead
	}
	base.Worker = base.Worker || set.Worker
	return base
}

// minEvery is the shortest period of a periodic task.
const minEvery = time.Millisecond

// schedule reads when a periodic task is due.
func (p Periodic) schedule() (cron.Schedule, error) {
	if err := task.CheckFunction(p.Function); err != nil {
		return nil, err
	}
	if (p.Cron == "") == (p.Every == 0) {
		return nil, errors.New("expected either cron or every")
	}
	if p.Cron == "" {
		if p.Every < minEvery {
			return nil, fmt.Errorf("every: %s is shorter than %s", p.Every, minEvery)
		}
		return every(p.Every), nil
	}
	s, err := cron.ParseStandard(p.Cron)
	if err != nil {
		return nil, fmt.Errorf("cron: %q: %w", p.Cron, err)
	}
	if _, even := s.(cron.ConstantDelaySchedule); even { // it would begin anew with each start of a node
		return nil, fmt.Errorf("cron: %q: use every instead", p.Cron)
	}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("cron: %q never happens", p.Cron)
	}
	return s, nil
}

// every is a schedule with an even period, counted from the epoch, so that all
// nodes and restarts agree.
type every time.Duration

// Next implements cron.Schedule.
func (e every) Next(after time.Time) time.Time {
	return after.Truncate(time.Duration(e)).Add(time.Duration(e))
}
