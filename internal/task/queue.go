package task

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
)

// Queue keeps tasks. Implementations are safe for concurrent use. What a call
// has answered survives a power loss. Concurrent calls share transactions, and
// one that fails never fails another. A missing task is fault.NotFound; a full
// disk is fault.OutOfSpace; what may pass is fault.Unavailable.
type Queue interface {
	// Submit stores tasks, all or none, and answers them as stored, in order.
	// Where an owner has a live task of the same function and name, that one
	// is changed (Task.Resubmit) and answered. A task that can't be stored is
	// fault.Invalid or fault.TooLarge (New.Check).
	Submit(ctx context.Context, tasks []New) ([]Task, error)
	// Claim hands out up to c.Max tasks that are ready, under leases, and does
	// not wait: there may be none. Higher priorities come first, whichever
	// function they are of; within a priority owners take turns, and an
	// owner's tasks of one function come in the order of their ids. No more
	// run at once than the function's Concurrency and the tasks' locks allow.
	Claim(ctx context.Context, c Claim) ([]Task, error)
	// Report carries out reports, each for itself, and answers each in order.
	// The error is for failures of the call as a whole.
	Report(ctx context.Context, reports []Report) ([]Reported, error)
	// Task finds a task by its id; owner "" is any.
	Task(ctx context.Context, owner string, id asset.ID) (Task, error)
	// List pages through tasks, newest first.
	List(ctx context.Context, q Query) (Page, error)
	// Alter cancels or retries the tasks that a filter selects, and tells how
	// many it changed. With a filter by ID a missing task is fault.NotFound
	// and one in the wrong state fault.Conflict; otherwise those are passed
	// over, and a filter without states selects those that the action is for:
	// live ones to cancel, dead and cancelled ones to retry. A task can't be retried while a live one has its name:
	// fault.Conflict, or passed over.
	Alter(ctx context.Context, action Action, f Filter) (int, error)
}

// Keeper is what the upkeep of a queue needs.
type Keeper interface {
	// Tick makes due tasks ready and takes back tasks whose lease has ended,
	// and answers when it should be called next; zero is when it is told to.
	Tick(ctx context.Context) (next time.Time, err error)
	// Abandon ends the leases of a worker that is known to be gone, as if
	// their time was over, and tells how many there were.
	Abandon(ctx context.Context, worker string) (int, error)
	// Prune forgets up to limit tasks that were finished before a time: done
	// and cancelled before done, dead before dead. Zero keeps them.
	Prune(ctx context.Context, done, dead time.Time, limit int) (int, error)
	// Counts tells how many tasks wait, run or are dead, by function and state.
	Counts(ctx context.Context) ([]Count, error)
	// Announce notes that a worker asks for functions now; Announced lists
	// those that were asked for within the last 30 days, with
	// the last time.
	Announce(ctx context.Context, functions []string) error
	Announced(ctx context.Context) (map[string]time.Time, error)
}

// Outputs tells which uploaded outputs are in use.
type Outputs interface {
	// UnknownOutputs picks those digests that no task's output has.
	UnknownOutputs(ctx context.Context, digests []asset.Digest) ([]asset.Digest, error)
}

// Claim asks for tasks.
type Claim struct {
	Functions []string      // 1 to MaxFunctions
	Owner     string        // only this owner's; "" is any
	Worker    string        // who asks, for people; a node's own begin with NodePrefix
	Max       int           // 1 to MaxBatch
	Lease     time.Duration // how long until a heartbeat is due
}

// Check refuses a claim that can't be answered.
func (c Claim) Check() error {
	if len(c.Functions) == 0 || len(c.Functions) > MaxFunctions {
		return fault.New(fault.Invalid, "functions: expected 1 to %d names but received %d", MaxFunctions, len(c.Functions))
	}
	for _, f := range c.Functions {
		if err := CheckFunction(f); err != nil {
			return err
		}
	}
	if c.Max < 1 || c.Max > MaxBatch {
		return fault.New(fault.Invalid, "max: %d is not from 1 to %d", c.Max, MaxBatch)
	}
	if c.Lease < MinLease || c.Lease > MaxLease {
		return fault.New(fault.Invalid, "lease: %s is not from %s to %s", c.Lease, MinLease, MaxLease)
	}
	return checkText("worker", c.Worker, MaxNameBytes)
}

// ReportKind is what a worker has to say.
type ReportKind uint8

// The kinds of report.
const (
	Beat      ReportKind = iota // still at it: extends the lease, may tell progress
	Succeeded                   // done, with Result
	Failed                      // with Error; tried again unless Final or out of attempts
	Later                       // give it back for Delay, without counting the attempt
)

// String is the outcome's name.
func (k ReportKind) String() string {
	return [...]string{"beat", "done", "failed", "later"}[min(k, Later)]
}

// Report is what a worker says of a task it holds.
type Report struct {
	ID    asset.ID
	Lease string
	Kind  ReportKind

	Extend   time.Duration // Beat: from now; 0 leaves the lease as it is
	Progress *int          // Beat: 0 to 100; nil leaves it as it is
	Message  string        // Beat: with Progress
	Output   *Output       // Beat: uploaded; it goes with the result

	Result json.RawMessage // Succeeded, Failed
	Error  string          // Failed, Later
	Final  bool            // Failed: another attempt would fail too
	Delay  time.Duration   // Later

	// Next are tasks to submit in the same transaction, if the report is
	// accepted.
	Next []New
}

// Check refuses a report that can't be carried out, and cuts texts to their
// limits.
func (r *Report) Check() error {
	r.Error, r.Message = Cut(r.Error, MaxErrorBytes), Cut(r.Message, MaxMessageBytes)
	if len(r.Result) > 0 {
		if err := CheckJSON("result", r.Result, MaxResultBytes); err != nil {
			return err
		}
	}
	switch {
	case r.Kind > Later:
		return fault.New(fault.Invalid, "outcome: there is none of this kind")
	case r.Extend != 0 && (r.Extend < MinLease || r.Extend > MaxLease):
		return fault.New(fault.Invalid, "extend: %s is not from %s to %s", r.Extend, MinLease, MaxLease)
	case r.Progress != nil && (*r.Progress < 0 || *r.Progress > 100):
		return fault.New(fault.Invalid, "progress: %d is not from 0 to 100", *r.Progress)
	case r.Delay < 0 || r.Delay > MaxAhead:
		return fault.New(fault.Invalid, "delay: %s is not from 0s to ten years", r.Delay)
	}
	if r.Kind == Failed && r.Error == "" {
		r.Error = "the worker gave no reason"
	}
	return nil
}

// Reported is what became of a report.
type Reported struct {
	Function string
	State    State
	Until    time.Time // end of the lease while it runs
	Err      error     // ErrLease, fault.NotFound, or what is wrong with the report
}

// Query selects tasks of an owner.
type Query struct {
	Filter
	Before asset.ID // cursor: only ids below it; zero starts at the newest
	Limit  int      // 1 to 1000
}

// Page is a part of a listing. More tells that another may follow, with the last
// task's id as its cursor.
type Page struct {
	Tasks []Task
	More  bool
}

// Filter selects tasks; zero fields select all.
type Filter struct {
	Owner    string // "" is any
	ID       asset.ID
	States   []State
	Function string
	Name     string
	Image    asset.ID
}

// Matches tells whether a task is one that the filter selects.
func (f Filter) Matches(t *Task) bool {
	return (f.Owner == "" || f.Owner == t.Owner) && (f.ID == asset.ID{} || f.ID == t.ID) &&
		(len(f.States) == 0 || slices.Contains(f.States, t.State)) && (f.Function == "" || f.Function == t.Function) &&
		(f.Name == "" || f.Name == t.Name) && (f.Image == asset.ID{} || f.Image == t.Image)
}

// Action is what Alter does.
type Action uint8

// The actions.
const (
	Cancel Action = iota
	Retry
)

// Count is how many tasks of a function are in a state.
type Count struct {
	Function string
	State    State
	Tasks    int
	Oldest   time.Time // earliest RunAt of those that are ready
}

// Config is what an adapter needs beside its database.
type Config struct {
	Mint     *asset.Mint
	Policies Policies
	Signals  *Signals
	Now      func() time.Time // nil is time.Now
}

// NodePrefix begins the names of the workers inside a node.
const NodePrefix = "node:"
