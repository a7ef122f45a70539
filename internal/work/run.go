package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/task"
)

// Function is one of the product's own.
type Function struct {
	// Do carries out one attempt. It may be called again after it has
	// succeeded, when the node dies before that is stored, so it must be
	// idempotent. Errors of a kind that is not fault.Retryable and not
	// fault.Internal end the task dead at once; Postpone gives it back.
	Do func(ctx context.Context, r *Run) (Outcome, error)
	// Finish takes over what a worker outside has made, where the policy
	// leaves the function to those; nil takes any report.
	Finish func(ctx context.Context, t task.Task, result json.RawMessage) (Outcome, error)
	// Pool names functions that share slots; "" is the common pool.
	Pool   string
	Policy task.Policy // zero fields are the default's
}

// Run is one attempt under way.
type Run struct {
	Task task.Task

	mu       sync.Mutex
	progress *int
	message  string
}

// Progress tells how far the attempt is, in percent; it is stored from time to
// time.
func (r *Run) Progress(percent int, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	percent = min(max(percent, 0), 100)
	r.progress, r.message = &percent, message
}

// news is the progress that has not been stored yet.
func (r *Run) news() (*int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.progress
	r.progress = nil
	return p, r.message
}

// Outcome is what an attempt that succeeded leaves.
type Outcome struct {
	Result any        // encoded as JSON; nil is none
	Next   []task.New // submitted with the report
}

// postponed asks for another time.
type postponed struct {
	delay time.Duration
	why   string
}

func (p postponed) Error() string { return p.why }

// Postpone is an error that gives the task back for a while, without counting
// the attempt.
func Postpone(delay time.Duration, why string) error { return postponed{delay, why} }

var errStopping = errors.New("the node is stopping")

// Run carries out tasks and keeps the queue until ctx ends; then attempts under
// way are cancelled and given back.
func (e *Engine) Run(ctx context.Context) error {
	e.takeUp(ctx)
	var all sync.WaitGroup
	for _, p := range e.pools() {
		all.Go(func() { e.serve(ctx, p) })
	}
	all.Go(func() { e.keepTime(ctx) })
	all.Go(func() { e.repeat(ctx) })
	all.Go(func() { e.prune(ctx) })
	all.Wait()
	return nil
}

// takeUp ends the leases of this node's last life.
func (e *Engine) takeUp(ctx context.Context) {
	for ctx.Err() == nil {
		lost, err := e.queue.Abandon(ctx, e.worker)
		if lost > 0 {
			e.log.Warn("tasks were under way when this node went down; they are taken up again", "tasks", lost)
		}
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			e.log.Error("this node's earlier tasks can't be taken up; trying again", "error", err)
		}
		pause(ctx, time.Second)
	}
}

// pool is functions that share slots.
type pool struct {
	functions []string
	slots     int
}

func (e *Engine) pools() map[string]pool {
	all := make(map[string]pool)
	if e.config.Idle {
		return all
	}
	for name, f := range e.functions {
		policy := e.policies.For(name)
		if policy.Worker || f.Do == nil {
			continue
		}
		p := all[f.Pool]
		p.functions = append(p.functions, name)
		p.slots = e.config.Slots
		if f.Pool != "" {
			p.slots = max(policy.Concurrency, 1)
		}
		all[f.Pool] = p
	}
	return all
}

// serve claims tasks of a pool as slots are free.
func (e *Engine) serve(ctx context.Context, p pool) {
	free := make(chan struct{}, p.slots)
	for range p.slots {
		free <- struct{}{}
	}
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-free:
		case <-ctx.Done():
			return
		}
		slots := 1
		for more := true; more && slots < task.MaxBatch; {
			select {
			case <-free:
				slots++
			default:
				more = false
			}
		}
		got, err := e.claim(ctx, task.Claim{Functions: p.functions, Worker: e.worker, Max: slots, Lease: e.config.Lease}, time.Minute)
		if err != nil && ctx.Err() == nil {
			e.log.Error("tasks can't be claimed; trying again", "error", err)
			pause(ctx, time.Second)
		}
		for _, t := range got {
			running.Go(func() {
				defer func() { free <- struct{}{} }()
				e.attempt(ctx, t)
			})
		}
		for range slots - len(got) {
			free <- struct{}{}
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// reportTime is how long before the deadline an attempt is cancelled, so that it
// can be reported; of a short one it is a twentieth.
const reportTime = time.Second

// attempt carries out one attempt and reports what came of it.
func (e *Engine) attempt(node context.Context, t task.Task) {
	timeout := t.Timeout
	if timeout == 0 {
		timeout = e.policies.For(t.Function).Timeout
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(node))
	defer cancel(nil)
	defer context.AfterFunc(node, func() { cancel(errStopping) })()
	ctx, stop := context.WithTimeout(ctx, timeout-min(timeout/20, reportTime)) // at its end no report is taken any more
	defer stop()
	r := &Run{Task: t}
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		e.heartbeat(ctx, r, cancel)
	}()
	start := time.Now()
	outcome, err := e.do(ctx, r)
	cause := context.Cause(ctx)
	cancel(nil)
	<-beating
	e.metrics.AttemptTime(t.Function, time.Since(start))
	if errors.Is(cause, task.ErrLease) {
		e.log.Info("an attempt was given up: the task was cancelled, or its lease had ended", "task", t.ID, "function", t.Function)
		return
	}
	if err != nil {
		e.log.Debug("an attempt ended with an error", "task", t.ID, "function", t.Function, "attempt", t.Attempt, "error", err)
	}
	e.deliver(node, t, verdict(t, outcome, err, cause, timeout), err)
}

// verdict is the report on an attempt.
func verdict(t task.Task, outcome Outcome, err error, cause error, timeout time.Duration) task.Report {
	r := task.Report{ID: t.ID, Lease: t.Lease, Kind: task.Succeeded, Next: outcome.Next}
	var later postponed
	switch {
	case err == nil:
		if outcome.Result != nil {
			r.Result = encode(outcome.Result)
		}
	case errors.As(err, &later):
		r.Kind, r.Delay, r.Error = task.Later, later.delay, later.why
	case errors.Is(cause, errStopping):
		r.Kind = task.Later
	case errors.Is(cause, context.DeadlineExceeded):
		r.Kind, r.Error = task.Failed, fmt.Sprintf("the attempt was not finished within its time, %s", timeout)
	default:
		r.Kind, r.Error = task.Failed, publicly(err)
		kind := fault.Of(err)
		r.Final = kind != fault.Internal && kind != fault.Canceled && !fault.Retryable(err)
	}
	if r.Kind != task.Succeeded {
		r.Next = nil
	}
	return r
}

// publicly is what may be told of an error: what it was caused by goes to the
// log only.
func publicly(err error) string {
	if known := fault.As(err); known != nil {
		return known.Message
	}
	return "something went wrong on the server's side; its log tells what"
}

// do calls the function; a panic is a failure.
func (e *Engine) do(ctx context.Context, r *Run) (outcome Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in a task", "task", r.Task.ID, "function", r.Task.Function, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fault.Wrap(fault.Internal, fmt.Errorf("panic: %v", p), "the function panicked; the server's log tells where")
		}
	}()
	return e.functions[r.Task.Function].Do(ctx, r)
}

// progressEvery is how often progress is stored at most.
const progressEvery = time.Second

// heartbeat extends the lease until ctx ends, and cancels the attempt when it is
// lost.
func (e *Engine) heartbeat(ctx context.Context, r *Run, cancel context.CancelCauseFunc) {
	renew := time.NewTicker(e.config.Lease / 3)
	defer renew.Stop()
	progress := time.NewTicker(progressEvery)
	defer progress.Stop()
	for {
		beat := task.Report{ID: r.Task.ID, Lease: r.Task.Lease, Kind: task.Beat, Extend: e.config.Lease}
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			beat.Progress, beat.Message = r.news()
		case <-progress.C:
			if beat.Progress, beat.Message = r.news(); beat.Progress == nil {
				continue
			}
		}
		answers, err := e.queue.Report(ctx, []task.Report{beat})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e.log.Warn("a heartbeat could not be stored; trying again", "task", r.Task.ID, "error", err)
		case answers[0].Err != nil:
			cancel(task.ErrLease)
			return
		}
	}
}

// deliver stores a report, trying again as long as the lease may last.
func (e *Engine) deliver(node context.Context, t task.Task, r task.Report, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(node), e.config.Lease)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		answers, err := e.queue.Report(ctx, []task.Report{r})
		if err == nil {
			if refused := answers[0].Err; r.Kind == task.Succeeded && (fault.Of(refused) == fault.Invalid || fault.Of(refused) == fault.TooLarge) {
				r = task.Report{ID: t.ID, Lease: t.Lease, Kind: task.Failed, Error: "its result could not be stored: " + publicly(refused)}
				why = refused
				continue
			}
			e.count([]task.Report{r}, answers)
			e.tell(t, r, answers[0], why)
			return
		}
		if ctx.Err() != nil {
			e.log.Error("a report could not be stored; the task will be carried out again", "task", t.ID, "function", t.Function, "error", err)
			return
		}
		pause(ctx, wait)
	}
}

// tell logs what an operator should see.
func (e *Engine) tell(t task.Task, r task.Report, a task.Reported, why error) {
	if why == nil {
		why = errors.New(r.Error)
	}
	switch {
	case a.Err != nil:
		e.log.Warn("a report was refused", "task", t.ID, "function", t.Function, "error", a.Err)
	case r.Kind == task.Failed && a.State == task.Dead:
		e.log.Error("a task is dead", append(about(t), "error", why)...)
	case r.Kind == task.Failed:
		e.log.Warn("an attempt failed", append(about(t), "error", why)...)
	}
}

// about is what the log says of a task; the image only where it has one.
func about(t task.Task) []any {
	attrs := []any{"task", t.ID, "function", t.Function}
	if t.Image != (asset.ID{}) {
		attrs = append(attrs, "image", t.Image)
	}
	return append(attrs, "attempt", t.Attempt)
}

// encode writes a result; one that can't be is told as such.
func encode(result any) json.RawMessage {
	text, err := json.Marshal(result)
	if err != nil || len(text) > task.MaxResultBytes {
		return json.RawMessage(`{"error":"the result could not be stored"}`)
	}
	return text
}
