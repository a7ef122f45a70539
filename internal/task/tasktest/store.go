package tasktest

import (
	"context"
	"encoding/json"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/task"
)

// submitReopen checks that what was answered is there after a restart.
func submitReopen(t *testing.T, b *bed) {
	again, ok := b.Queue.(Reopener)
	if !ok {
		t.Skip("the queue can't be opened again")
	}
	waits := b.add(t, full(plain))
	b.submit(t, named("held", "x"), job("done"))
	b.take(t, "held")
	r := says(b.take(t, "done"), task.Succeeded)
	r.Result = json.RawMessage(`{"ok":true}`)
	done := b.accept(t, r)
	repeat := full("held")
	repeat.Name = "x"
	held := b.add(t, repeat)
	if err := b.Announce(ctx, []string{plain}); err != nil {
		t.Fatal(err)
	}
	b.Queue = again.Reopen(t, b.cfg)
	for _, k := range []task.Task{waits, held, done} {
		b.want(t, k)
	}
	if asked, err := b.Announced(ctx); err != nil || asked[plain] != origin {
		t.Fatalf("Announced gave %v, %v", asked, err)
	}
	if got := b.accept(t, says(held, task.Succeeded)); got.State != task.Scheduled || got.Input != repeat.Input {
		t.Fatalf("after a restart the task became %+v, expected what was submitted while it ran", got)
	}
}

func missing(t *testing.T, b *bed) {
	id := mint.New(origin)
	_, err := b.Task(ctx, "", id)
	wantKind(t, err, fault.NotFound)
	for _, a := range []task.Action{task.Cancel, task.Retry} {
		_, err = b.Alter(ctx, a, task.Filter{ID: id})
		wantKind(t, err, fault.NotFound)
	}
	answer := b.report(t, task.Report{ID: id, Lease: "x", Kind: task.Succeeded})[0]
	wantKind(t, answer.Err, fault.NotFound)
}

func ownersApart(t *testing.T, b *bed) {
	mine := b.add(t, named(plain, "a"))
	n := named(plain, "a")
	n.Owner = "other"
	theirs := b.add(t, n)
	if mine.ID == theirs.ID {
		t.Fatal("owners share names")
	}
	if k, err := b.Task(ctx, "other", theirs.ID); err != nil || k.Owner != "other" {
		t.Fatalf("Task gave %+v, %v", k, err)
	}
	_, err := b.Task(ctx, "other", mine.ID)
	wantKind(t, err, fault.NotFound)
	_, err = b.Alter(ctx, task.Cancel, task.Filter{Owner: "other", ID: mine.ID})
	wantKind(t, err, fault.NotFound)
	b.want(t, mine)
	if found := b.find(t, task.Filter{Owner: "other"}); len(found) != 1 || found[0].ID != theirs.ID {
		t.Fatalf("List gave %+v", found)
	}
	b.alter(t, task.Cancel, task.Filter{Owner: "other"}, 1)
	b.want(t, mine)
	b.wantState(t, theirs.ID, task.Cancelled)
	b.none(t, task.Filter{Owner: "nobody"})
}

func cancelledContexts(t *testing.T, b *bed) {
	k := b.add(t, job(plain))
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for name, call := range map[string]func() error{
		"Submit":    func() error { _, err := b.Submit(gone, []task.New{job(plain)}); return err },
		"Claim":     func() error { _, err := b.Claim(gone, asks(1, plain)); return err },
		"Report":    func() error { _, err := b.Report(gone, []task.Report{says(k, task.Beat)}); return err },
		"Task":      func() error { _, err := b.Task(gone, "", k.ID); return err },
		"List":      func() error { _, err := b.List(gone, task.Query{Limit: 1}); return err },
		"Alter":     func() error { _, err := b.Alter(gone, task.Cancel, task.Filter{ID: k.ID}); return err },
		"Tick":      func() error { _, err := b.Tick(gone); return err },
		"Abandon":   func() error { _, err := b.Abandon(gone, "w1"); return err },
		"Prune":     func() error { _, err := b.Prune(gone, origin, origin, 1); return err },
		"Counts":    func() error { _, err := b.Counts(gone); return err },
		"Announce":  func() error { return b.Announce(gone, []string{plain}) },
		"Announced": func() error { _, err := b.Announced(gone); return err },
	} {
		if err := call(); fault.Of(err) != fault.Canceled {
			t.Errorf("%s with a cancelled context gave %v", name, err)
		}
	}
	b.want(t, k)
}
