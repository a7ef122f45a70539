// Package work is the engine over the queue of tasks: it lets workers wait for
// tasks, carries out the functions that are the product's own, keeps their
// leases alive, makes due what is due, and repeats what is periodic. What the
// functions do is not known here.
package work

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// queue is what the engine needs of a database.
type queue interface {
	task.Queue
	task.Keeper
}

// Metrics counts attempts. Implementations are safe for concurrent use.
type Metrics interface {
	// Attempt counts an attempt that a worker has reported on, by its outcome:
	// done, failed, later or dead.
	Attempt(function, outcome string)
	// AttemptTime is how long one in this process took.
	AttemptTime(function string, took time.Duration)
}

// Engine is safe for concurrent use.
type Engine struct {
	config    Config
	queue     queue
	signals   *task.Signals
	functions map[string]Function
	policies  task.Policies
	worker    string
	metrics   Metrics
	log       *slog.Logger

	mu    sync.Mutex
	asked map[string]asking // by function, of workers outside that have asked this node
}

// asking is when a function was asked for.
type asking struct{ last, noted time.Time }

// New makes an engine for a node. The policies are those that the queue was
// opened with (Config.Policies).
func New(config Config, node string, q queue, signals *task.Signals, policies task.Policies, functions map[string]Function, metrics Metrics, log *slog.Logger) *Engine {
	return &Engine{
		config: config, queue: q, signals: signals, functions: functions, policies: policies,
		worker: task.NodePrefix + node, metrics: metrics, log: log, asked: make(map[string]asking),
	}
}

// Submit stores tasks, all or none.
func (e *Engine) Submit(ctx context.Context, tasks []task.New) ([]task.Task, error) {
	return e.queue.Submit(ctx, tasks)
}

// lookAgain is how often somebody who waits looks without having been told:
// tasks may come from other nodes, and a worker may have left with a signal.
const lookAgain = 2 * time.Second

// announceEvery is how often it is written down that a function is asked for;
// maxAsked bounds the functions for which that is remembered.
const (
	announceEvery = 10 * time.Second
	maxAsked      = 10_000
)

// Claim hands out tasks to a worker, waiting up to wait until there is one; none
// is no error. Once ctx has ended nothing is claimed any more.
func (e *Engine) Claim(ctx context.Context, c task.Claim, wait time.Duration) ([]task.Task, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	for _, f := range c.Functions {
		if e.Reserved(f) && !e.policies.For(f).Worker {
			return nil, fault.New(fault.Denied, "functions: the server itself carries out %s; set tasks.functions.%s.worker to leave it to workers", f, f)
		}
	}
	if err := e.announce(ctx, c.Functions); err != nil {
		return nil, err
	}
	return e.claim(ctx, c, wait)
}

func (e *Engine) claim(ctx context.Context, c task.Claim, wait time.Duration) ([]task.Task, error) {
	waiter := e.signals.Wait(c.Functions)
	defer e.signals.Leave(waiter)
	over := time.NewTimer(wait)
	defer over.Stop()
	for told := false; ; {
		got, err := e.queue.Claim(ctx, c)
		if told && len(got) == 0 && (err != nil || c.Owner != "") { // it may be another owner's
			e.signals.Pass(waiter)
		}
		if err != nil || len(got) > 0 || wait <= 0 {
			return got, err
		}
		told = false
		look := time.NewTimer(lookAgain + rand.N(lookAgain/4))
		select {
		case <-waiter.C:
			told = true
		case <-look.C:
		case <-over.C:
			wait = 0 // one last look
		case <-ctx.Done():
			look.Stop()
			return nil, fault.Wrap(fault.Canceled, ctx.Err(), "the worker went away")
		}
		look.Stop()
	}
}

// announce notes which functions workers outside ask for, not every time.
func (e *Engine) announce(ctx context.Context, functions []string) error {
	now := time.Now()
	var fresh []string
	e.mu.Lock()
	if len(e.asked) > maxAsked {
		clear(e.asked)
	}
	for _, f := range functions {
		a := e.asked[f]
		a.last = now
		if now.Sub(a.noted) >= announceEvery {
			fresh = append(fresh, f)
			a.noted = now
		}
		e.asked[f] = a
	}
	e.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	return e.queue.Announce(ctx, fresh)
}

// askedHere is when a worker outside last asked this node for a function; zero
// is never.
func (e *Engine) askedHere(function string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[function].last
}

// Report carries out workers' reports, each for itself. Where a function of the
// product is done by workers outside, its result is taken over first; a result
// that can't be makes the report a failure, which is stored, and answered by an
// error with the code CodeRefused beside the state.
func (e *Engine) Report(ctx context.Context, reports []task.Report) ([]task.Reported, error) {
	claimed := make([]task.ReportKind, len(reports))
	for i := range reports {
		claimed[i] = reports[i].Kind
		if err := e.finish(ctx, &reports[i]); err != nil {
			return nil, err
		}
	}
	answers, err := e.queue.Report(ctx, reports)
	e.count(reports, answers)
	for i := range answers {
		if answers[i].Err == nil && reports[i].Kind != claimed[i] {
			answers[i].Err = refused(reports[i].Error, answers[i].State)
		}
	}
	return answers, err
}

// CodeRefused is the code of the error for a result that was not taken over.
const CodeRefused = "result-refused"

// refused tells a worker why its result was not taken over, and what becomes of
// the task.
func refused(why string, state task.State) error {
	then := "the task will be tried again"
	if state == task.Dead {
		then = "the task is out of attempts, and dead"
	}
	e := fault.New(fault.Unprocessable, "the result was refused: %s; %s", task.Cut(why, task.MaxErrorBytes), then)
	e.Code = CodeRefused
	return e
}

// count tells the metrics what came of reports that were accepted.
func (e *Engine) count(reports []task.Report, answers []task.Reported) {
	for i, a := range answers {
		switch {
		case a.Err != nil || reports[i].Kind == task.Beat:
		case a.State == task.Dead:
			e.metrics.Attempt(a.Function, "dead")
		default:
			e.metrics.Attempt(a.Function, reports[i].Kind.String())
		}
	}
}

// finish lets the product's function take over what a worker outside has made.
func (e *Engine) finish(ctx context.Context, r *task.Report) error {
	if r.Kind != task.Succeeded || !e.anyOutside() {
		return nil
	}
	t, err := e.queue.Task(ctx, "", r.ID)
	if fault.Of(err) == fault.NotFound {
		return nil // the queue will say so
	}
	if err != nil {
		return err
	}
	f := e.functions[t.Function]
	if f.Finish == nil || t.Lease != r.Lease {
		return nil
	}
	outcome, err := e.takeOver(ctx, t, f, r.Result)
	if errors.Is(err, task.ErrLease) {
		return nil
	}
	if err != nil {
		e.log.Warn("a worker's result was not taken over", "task", t.ID, "function", t.Function, "worker", t.Worker, "error", err)
		r.Kind, r.Error, r.Final, r.Next = task.Failed, publicly(err), false, nil
		return nil
	}
	r.Next = append(r.Next, outcome.Next...)
	if outcome.Result != nil {
		r.Result = encode(outcome.Result)
	}
	return nil
}

// takeOver calls a function's Finish, and keeps the lease alive meanwhile. A
// lease that has ended is task.ErrLease.
func (e *Engine) takeOver(ctx context.Context, t task.Task, f Function, result json.RawMessage) (Outcome, error) {
	answers, err := e.queue.Report(ctx, []task.Report{{ID: t.ID, Lease: t.Lease, Kind: task.Beat, Extend: e.config.Lease}})
	if err != nil {
		return Outcome{}, err
	}
	if answers[0].Err != nil {
		return Outcome{}, task.ErrLease
	}
	ctx, cancel := context.WithCancelCause(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		e.heartbeat(ctx, &Run{Task: t}, cancel)
	}()
	defer func() {
		cancel(nil)
		<-beating
	}()
	return f.Finish(ctx, t, result)
}

// anyOutside tells whether any of the product's functions is left to workers
// outside.
func (e *Engine) anyOutside() bool {
	for name := range e.functions {
		if e.policies.For(name).Worker {
			return true
		}
	}
	return false
}

// Reserved tells the names of the product's own functions.
func (e *Engine) Reserved(function string) bool {
	_, ok := e.functions[function]
	return ok
}

// FunctionInfo is what is known of a function.
type FunctionInfo struct {
	Name    string
	Own     bool      // carried out by the server itself
	Asked   time.Time // when a worker last asked for it; zero is never
	Waiting map[task.State]int
	Oldest  time.Time // since when the one has been ready that waits longest
}

// Functions lists the functions that exist: those of the product, those of the
// configuration, those that workers have asked for, and those with tasks.
func (e *Engine) Functions(ctx context.Context) ([]FunctionInfo, error) {
	asked, err := e.queue.Announced(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := e.queue.Counts(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*FunctionInfo)
	at := func(name string) *FunctionInfo {
		if all[name] == nil {
			all[name] = &FunctionInfo{Name: name, Waiting: make(map[task.State]int)}
		}
		return all[name]
	}
	for name := range e.policies.Of {
		at(name)
	}
	for name := range e.functions {
		at(name).Own = !e.policies.For(name).Worker
	}
	for name, when := range asked {
		at(name).Asked = when
	}
	for _, c := range counts {
		f := at(c.Function)
		f.Waiting[c.State] = c.Tasks
		if !c.Oldest.IsZero() {
			f.Oldest = c.Oldest
		}
	}
	list := make([]FunctionInfo, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[name])
	}
	return list, nil
}
