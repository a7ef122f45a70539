package catalogtest

import (
	"slices"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
)

func janitor(t *testing.T, c catalog.Catalog) catalog.Janitor {
	t.Helper()
	j, ok := c.(catalog.Janitor)
	if !ok {
		t.Skip("the catalog is no janitor")
	}
	return j
}

func wantUsed(t *testing.T, j catalog.Janitor, d asset.Digest, expected bool) {
	t.Helper()
	if got, err := j.Used(ctx, d); err != nil || got != expected {
		t.Fatalf("Used gave %v, %v; expected %v", got, err, expected)
	}
}

func wantReleased(t *testing.T, j catalog.Janitor, before time.Time, expected ...asset.Digest) {
	t.Helper()
	got, err := j.Released(ctx, before, 1000)
	if err != nil || !slices.Equal(got, expected) {
		t.Fatalf("Released gave %v, %v; expected %v", got, err, expected)
	}
}

func drop(t *testing.T, c catalog.Catalog, img asset.Image) {
	t.Helper()
	commit(t, c, catalog.Change{Deletes: []catalog.Delete{{Owner: img.Owner, ID: img.ID}}})
}

func used(t *testing.T, c catalog.Catalog) {
	j := janitor(t, c)
	wantUsed(t, j, Digest(1), false)
	a, b := add(t, c, NewImage(owner, 1, "a")).Image, add(t, c, NewImage("other", 1, "b")).Image
	wantUsed(t, j, Digest(1), true)
	drop(t, c, a)
	wantUsed(t, j, Digest(1), true)
	drop(t, c, b)
	wantUsed(t, j, Digest(1), false)
}

func released(t *testing.T, c catalog.Catalog) {
	j := janitor(t, c)
	start, later := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	forget := func(d asset.Digest, before time.Time, expected bool) {
		t.Helper()
		if got, err := j.Forget(ctx, d, before); err != nil || got != expected {
			t.Fatalf("Forget gave %v, %v; expected %v", got, err, expected)
		}
	}
	first, twin := add(t, c, NewImage(owner, 1, "a")).Image, add(t, c, NewImage(owner, 1, "b")).Image
	other := add(t, c, NewImage(owner, 2, "c")).Image
	drop(t, c, first)
	wantReleased(t, j, later) // the twin still has it
	forget(Digest(1), later, false)
	drop(t, c, twin)
	wantReleased(t, j, later, Digest(1))
	wantReleased(t, j, start) // not for that long
	forget(Digest(1), start, false)

	back := add(t, c, NewImage(owner, 1, "a")).Image // a new use takes it back
	wantReleased(t, j, later)
	forget(Digest(1), later, false)
	n := NewImage(owner, 3, "a") // replacing releases too
	n.Rule = catalog.Replace
	if res := add(t, c, n); res.Replaced.ID != back.ID {
		t.Fatalf("replaced %v, expected %v", res.Replaced.ID, back.ID)
	}
	wantReleased(t, j, later, Digest(1))
	forget(Digest(1), later, true)
	forget(Digest(1), later, false)
	wantReleased(t, j, later)
	forget(Digest(9), later, false) // never heard of

	n = NewImage(owner, 3, "a") // the same source again: never released
	n.Rule = catalog.Replace
	add(t, c, n)
	wantReleased(t, j, later)
	wantImage(t, c, other)

	for i := range uint64(5) {
		drop(t, c, add(t, c, NewImage(owner, 10+i, "x")).Image)
	}
	if got, err := j.Released(ctx, later, 3); err != nil || len(got) != 3 {
		t.Fatalf("Released with a limit of 3 gave %d, %v", len(got), err)
	}
}

func unknown(t *testing.T, c catalog.Catalog) {
	j := janitor(t, c)
	add(t, c, NewImage(owner, 1, "a"))
	drop(t, c, add(t, c, NewImage(owner, 2, "b")).Image) // released, but there
	got, err := j.Unknown(ctx, []asset.Digest{Digest(3), Digest(1), Digest(2), Digest(4)})
	if err != nil || !slices.Equal(got, []asset.Digest{Digest(3), Digest(4)}) {
		t.Fatalf("Unknown gave %v, %v", got, err)
	}
	if got, err := j.Unknown(ctx, nil); err != nil || len(got) != 0 {
		t.Fatalf("Unknown of nothing gave %v, %v", got, err)
	}
	if ok, err := j.Forget(ctx, Digest(2), time.Now().Add(time.Minute)); !ok || err != nil {
		t.Fatalf("Forget gave %v, %v", ok, err)
	}
	if got, err := j.Unknown(ctx, []asset.Digest{Digest(2)}); err != nil || len(got) != 1 {
		t.Fatalf("a forgotten source is still known: %v, %v", got, err)
	}
}

func dropReplays(t *testing.T, c catalog.Catalog) {
	j := janitor(t, c)
	send := func(key string) catalog.Result {
		n := NewImage(owner, 1, key)
		n.Replay = catalog.Replay{Token: "t"}
		return add(t, c, n)
	}
	send("a")
	if n, err := j.DropReplays(ctx, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Fatalf("DropReplays of old ones gave %d, %v", n, err)
	}
	if !send("b").Replayed {
		t.Fatal("a young token was dropped")
	}
	if n, err := j.DropReplays(ctx, time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Fatalf("DropReplays gave %d, %v", n, err)
	}
	if send("b").Replayed {
		t.Fatal("a dropped token still works")
	}
}
