package tasktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// reportBatch mixes reports that work with all sorts that can't: each has its
// own answer, in order.
func reportBatch(t *testing.T, b *bed) {
	const each = 20
	b.submit(t, repeated(job(plain), 6*each)...)
	held := b.claim(t, asks(6*each, plain))
	var reports []task.Report
	for i := range each {
		part := held[6*i:]
		stale, invalid, badNext := says(part[3], task.Succeeded), says(part[4], task.Succeeded), says(part[5], task.Failed)
		stale.Lease = "x"
		invalid.Result = json.RawMessage(`{`)
		badNext.Next = []task.New{{Owner: owner, Function: "?"}}
		missing := says(task.Task{ID: mint.New(origin), Lease: "x"}, task.Succeeded)
		good := says(part[0], task.Succeeded)
		good.Next = []task.New{numbered("child", i)}
		reports = append(reports, good, stale, says(part[1], task.Failed), missing, invalid, says(part[2], task.Later), badNext)
	}
	answers := b.report(t, reports...)
	for i := range each {
		got := answers[7*i:]
		for at, state := range map[int]task.State{0: task.Done, 2: task.Scheduled, 5: task.Ready} {
			if got[at].Err != nil || got[at].State != state {
				t.Fatalf("answer %d of part %d is %+v, expected %s", at, i, got[at], state)
			}
			b.wantState(t, reports[7*i+at].ID, state)
		}
		if !errors.Is(got[1].Err, task.ErrLease) {
			t.Fatalf("a stale report gave %+v", got[1])
		}
		wantKind(t, got[3].Err, fault.NotFound)
		wantKind(t, got[4].Err, fault.Invalid, "result")
		wantKind(t, got[6].Err, fault.Invalid, "function")
		for _, at := range []int{1, 4, 6} {
			b.wantState(t, reports[7*i+at].ID, task.Running)
		}
	}
	if got := b.claim(t, asks(1000, "child")); len(got) != each {
		t.Fatalf("%d tasks follow, expected %d", len(got), each)
	}
	if got := b.report(t); len(got) != 0 {
		t.Fatalf("Report of nothing gave %+v", got)
	}
	_, err := b.Report(ctx, make([]task.Report, task.MaxBatch+1))
	wantKind(t, err, fault.Invalid)
}

// reportOneTask: reports of one call are carried out in order.
func reportOneTask(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	half := 50
	beat := says(k, task.Beat)
	beat.Progress, beat.Extend = &half, 2*time.Minute
	got := b.report(t, beat, says(k, task.Failed), says(k, task.Succeeded), beat)
	if got[0].Err != nil || got[0].State != task.Running || !got[0].Until.Equal(b.Now().Add(2*time.Minute)) {
		t.Fatalf("a heartbeat gave %+v", got[0])
	}
	if got[1].Err != nil || got[1].State != task.Scheduled || !got[1].Until.IsZero() {
		t.Fatalf("a failure gave %+v", got[1])
	}
	for _, a := range got[2:] {
		if !errors.Is(a.Err, task.ErrLease) {
			t.Fatalf("a report after the attempt's end gave %+v", a)
		}
	}
	if k = b.wantState(t, k.ID, task.Scheduled); k.Progress != half {
		t.Fatalf("the task is %+v", k)
	}
}

func reportRefused(t *testing.T, b *bed) {
	b.add(t, job(plain))
	k := b.take(t, plain)
	percent := func(n int) *int { return &n }
	for name, change := range map[string]func(*task.Report){
		"outcome":           func(r *task.Report) { r.Kind = task.Later + 1 },
		"extend":            func(r *task.Report) { r.Extend = task.MinLease - time.Millisecond },
		"extend: 10m0.001s": func(r *task.Report) { r.Extend = task.MaxLease + time.Millisecond },
		"extend: -1s":       func(r *task.Report) { r.Extend = -time.Second },
		"progress: -1":      func(r *task.Report) { r.Progress = percent(-1) },
		"progress: 101":     func(r *task.Report) { r.Progress = percent(101) },
		"delay":             func(r *task.Report) { r.Kind, r.Delay = task.Later, -1 },
		"delay: 8":          func(r *task.Report) { r.Kind, r.Delay = task.Later, task.MaxAhead+time.Second },
		"result":            func(r *task.Report) { r.Result = json.RawMessage(`nonsense`) },
	} {
		r := says(k, task.Beat)
		change(&r)
		wantKind(t, b.report(t, r)[0].Err, fault.Invalid, name)
		b.want(t, k)
	}
	r := says(k, task.Succeeded)
	r.Result = fmt.Appendf(nil, "%q", strings.Repeat("x", task.MaxResultBytes-1))
	wantKind(t, b.report(t, r)[0].Err, fault.TooLarge, "result")
	b.want(t, k)
	r.Result = fmt.Appendf(nil, "%q", strings.Repeat("x", task.MaxResultBytes-2))
	b.accept(t, r)
}

func reportCut(t *testing.T, b *bed) {
	k := b.add(t, job(plain))
	held, half := b.take(t, plain), 50
	r := says(held, task.Beat)
	r.Progress, r.Message = &half, strings.Repeat("é", task.MaxMessageBytes)
	if got := b.accept(t, r); got.Message != strings.Repeat("é", task.MaxMessageBytes/2) {
		t.Fatalf("the message is %q", got.Message)
	}
	r = says(held, task.Failed)
	r.Error = "a\x00b\nc\xff" + strings.Repeat("é", task.MaxErrorBytes)
	got := b.accept(t, r)
	if len(got.Error) > task.MaxErrorBytes || len(got.Error) < task.MaxErrorBytes-2 || !strings.HasPrefix(got.Error, "a b\nc\ufffdé") {
		t.Fatalf("the error has %d bytes: %.20q", len(got.Error), got.Error)
	}
	b.after(t, time.Hour)
	r = says(b.take(t, plain), task.Failed)
	r.Error = ""
	if got := b.accept(t, r); got.Error == "" || got.ID != k.ID {
		t.Fatalf("a failure without a reason left %+v", got)
	}
}
