// Package tasktest states the contract of task.Queue and task.Keeper in
// executable form. Every queue runs it. The clock of the queue is moved by
// hand: nothing in here waits for time to pass.
package tasktest

import (
	"context"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

// Queue is what the suite checks.
type Queue interface {
	task.Queue
	task.Keeper
}

// Reopener is implemented by a queue whose database can be closed and opened
// again; what was answered must be there then.
type Reopener interface {
	Reopen(t *testing.T, cfg task.Config) Queue
}

// Run checks a queue; open gives an empty one with a configuration, which only
// this test uses.
func Run(t *testing.T, open func(t *testing.T, cfg task.Config) Queue) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *bed)
	}{
		{"submit then read", submitThenRead},
		{"submit: what is left out", submitPlain},
		{"submit: times are milliseconds", submitMillis},
		{"submit: refusals", submitRefused},
		{"submit: all or none", submitAllOrNone},
		{"submit: limits of a call", submitLimits},
		{"submit: an id for each", submitIDs},
		{"submit: survives reopening", submitReopen},
		{"missing tasks", missing},
		{"owners are apart", ownersApart},
		{"cancelled contexts", cancelledContexts},

		{"again: a task that waits becomes the new one", againWaiting},
		{"again: a task that runs is run afterwards", againRunning},
		{"again: the last submission counts", againTwice},
		{"again: twice in one call", againInOneCall},
		{"again: a cancelled task isn't run again", againCancelled},
		{"names are free when a task is finished", namesFree},
		{"names are apart", namesApart},

		{"claim: what a task gets", claimFields},
		{"claim: refusals", claimRefused},
		{"claim: nothing to do", claimNone},
		{"claim: priorities across functions", claimPriority},
		{"claim: oldest first", claimOrder},
		{"claim: oldest first, whatever the locks", claimOrderLocks},
		{"claim: owners take turns", claimTurns},
		{"claim: many owners take turns", claimManyOwners},
		{"claim: one owner's only", claimOwner},
		{"claim: max", claimMax},
		{"claim: each task once", claimOnce},
		{"concurrency of a function", concurrency},
		{"concurrency: what is freed", concurrencyFreed},
		{"locks across functions", locks},
		{"locks and concurrency together", locksAndConcurrency},
		{"locks that are full block nobody else", fullLocks},

		{"lease: reports under a wrong token", fencing},
		{"lease: over before anybody took it back", leaseOver},
		{"lease: another's claim", leaseOther},
		{"lease: cancelled", leaseCancelled},
		{"lease: heartbeats", heartbeats},
		{"lease: never beyond the deadline", heartbeatDeadline},
		{"lease: expiry", expiry},
		{"lease: expiry of an attempt's time", deadlineExpiry},
		{"lease: a task that kills its workers", killer},
		{"lease: many expire at once", manyExpire},
		{"progress", progress},

		{"done", succeeded},
		{"done: with an output", succeededOutput},
		{"failed: delays", failedDelays},
		{"failed: delays have a bound", failedBound},
		{"failed: delays vary", failedJitter},
		{"failed: final", failedFinal},
		{"failed: out of attempts", failedOut},
		{"failed: dead leads to another task", onDead},
		{"later", later},
		{"later: too often", laterTooOften},
		{"next tasks", next},
		{"next tasks of a refused report", nextRefused},
		{"a batch of reports", reportBatch},
		{"a batch of reports about one task", reportOneTask},
		{"reports: refusals", reportRefused},
		{"reports: texts are cut", reportCut},

		{"cancel by id", cancelByID},
		{"retry by id", retryByID},
		{"retry while a live one has the name", retryNamed},
		{"cancel by filter", cancelByFilter},
		{"retry by filter", retryByFilter},
		{"alter many", alterMany},

		{"tick: to the millisecond", tickExact},
		{"tick: what is next", tickNext},
		{"tick: many at once", tickMany},
		{"abandon", abandon},
		{"abandon: counts leases only", abandonCount},
		{"taken back together with what follows", lostTogether},
		{"prune", prune},
		{"prune: limits", pruneLimit},
		{"counts", counts},
		{"announce", announce},

		{"list newest first", list},
		{"list by filter", listFilters},
		{"list limits", listLimits},

		{"signals: ready", signalsReady},
		{"signals: one for each", signalsEach},
		{"signals: changed", signalsChanged},
		{"signals: sooner", signalsSooner},

		{"under load", load},
		{"under load: failures fail nobody else", loadFailures},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newBed(t, open)) })
	}
	t.Run("against a model", func(t *testing.T) { model(t, newBed(t, open)) })
}

const owner = "main"

var (
	ctx    = context.Background()
	mint   = asset.NewMint([]byte("a secret for tests"))
	origin = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
)

// Functions of the suite, by their policies. Any other has the default.
const (
	plain    = "plain"    // 3 attempts, a second is the unit, later twice
	single   = "single"   // one at once
	triple   = "triple"   // three at once
	bounded  = "bounded"  // waits at most 30 s
	varied   = "varied"   // waits up to a half more, at random
	hurried  = "hurried"  // an attempt may last a minute
	fragile  = "fragile"  // one attempt, then mourn
	mourning = "mourning" // is submitted when fragile has died
)

func policies() task.Policies {
	base := task.Policy{MaxAttempts: 3, RetryUnit: time.Second, Timeout: time.Hour, MaxPostpones: 2}
	with := func(change func(*task.Policy)) task.Policy {
		p := base
		change(&p)
		return p
	}
	return task.Policies{Default: base, Of: map[string]task.Policy{
		single:  with(func(p *task.Policy) { p.Concurrency = 1 }),
		triple:  with(func(p *task.Policy) { p.Concurrency = 3 }),
		bounded: with(func(p *task.Policy) { p.RetryMax, p.MaxAttempts = 30*time.Second, 10 }),
		varied:  with(func(p *task.Policy) { p.RetryJitter, p.MaxAttempts = 0.5, 10 }),
		hurried: with(func(p *task.Policy) { p.Timeout = time.Minute }),
		fragile: with(func(p *task.Policy) { p.MaxAttempts, p.OnDead = 1, mourning }),
	}}
}
