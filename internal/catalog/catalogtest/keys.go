package catalogtest

import (
	"testing"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

func one(n catalog.NewImage) catalog.Change {
	return catalog.Change{Images: []catalog.NewImage{n}}
}

func takeFree(t *testing.T, c catalog.Catalog) {
	for i, key := range []string{"a", "b", "c"} {
		res := add(t, c, NewImage(owner, uint64(i), "a", "b", "c"))
		if res.Image.Key != key || res.Replaced.ID != (asset.ID{}) {
			t.Fatalf("image %d got the key %q and replaced %v, expected %q and none", i, res.Image.Key, res.Replaced.ID, key)
		}
	}
	wantCount(t, c, owner, 3)
}

func noneFree(t *testing.T, c catalog.Catalog) {
	first := add(t, c, NewImage(owner, 1, "a")).Image
	late := NewImage(owner, 2, "a")
	fails(t, c, fault.Conflict, one(late))
	wantGone(t, c, late.Image)
	wantImage(t, c, first)
}

func replace(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a")
	n.Image.Tags = []string{"t"}
	last := add(t, c, n).Image
	for source := range uint64(3) {
		n := NewImage(owner, source/2, "a", "b") // the same source twice, then another
		n.Rule = catalog.Replace
		res := add(t, c, n)
		if res.Image.Key != "a" || res.Replaced.ID != last.ID || res.Replaced.Source != last.Source || res.Replaced.Key != "a" {
			t.Fatalf("the result is %+v, expected the key a and %v replaced", res, last.ID)
		}
		wantGone(t, c, last)
		wantCount(t, c, owner, 1)
		last = res.Image
	}
	if page, err := c.List(ctx, catalog.Query{Owner: owner, Tag: "t", Limit: 10}); err != nil || len(page.Images) != 0 {
		t.Fatalf("the tag of a replaced image still finds %+v, %v", page, err)
	}
}

func replaceFree(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a", "b")
	n.Rule = catalog.Replace
	if res := add(t, c, n); res.Image.Key != "a" || res.Replaced.ID != (asset.ID{}) {
		t.Fatalf("the result is %+v, expected the key a and nothing replaced", res)
	}
}

func refuse(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a")
	n.Rule = catalog.Refuse
	first := add(t, c, n).Image
	n = NewImage(owner, 2, "a", "b")
	n.Rule = catalog.Refuse
	fails(t, c, fault.Precondition, one(n))
	wantImage(t, c, first)
	wantCount(t, c, owner, 1)
}

func noKeys(t *testing.T, c catalog.Catalog) {
	if _, err := c.Commit(ctx, one(NewImage(owner, 1))); err == nil {
		t.Fatal("an image without any key was stored")
	}
	wantCount(t, c, owner, 0)
}

func replaySame(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a", "b")
	n.Replay = catalog.Replay{Token: "t", Ordinal: 3}
	first := add(t, c, n).Image
	for _, rule := range []catalog.KeyRule{catalog.TakeFree, catalog.Replace, catalog.Refuse} {
		again := NewImage(owner, 1, "a", "b")
		again.Replay, again.Rule = n.Replay, rule
		res := add(t, c, again)
		if !res.Replayed || res.Image.ID != first.ID || res.Image.Key != "a" || res.Replaced.ID != (asset.ID{}) {
			t.Fatalf("rule %d: the result is %+v, expected the first image", rule, res)
		}
		wantCount(t, c, owner, 1)
	}
	for i, other := range []catalog.Replay{{Token: "t", Ordinal: 4}, {Token: "u", Ordinal: 3}, {}, {}} {
		n := NewImage(owner, 1, "a", "b", "c", "d", "e")
		n.Replay = other
		if res := add(t, c, n); res.Replayed {
			t.Fatalf("case %d: %+v counts as a repetition", i, other)
		}
	}
}

func replayOther(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a")
	n.Replay = catalog.Replay{Token: "t"}
	first := add(t, c, n).Image
	n = NewImage(owner, 2, "b")
	n.Replay = catalog.Replay{Token: "t"}
	fails(t, c, fault.Unprocessable, one(n))
	wantImage(t, c, first)
	wantCount(t, c, owner, 1)
}

func replayDeleted(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a")
	n.Replay = catalog.Replay{Token: "t"}
	first := add(t, c, n).Image
	commit(t, c, catalog.Change{Deletes: []catalog.Delete{{Owner: owner, ID: first.ID}}})
	again := NewImage(owner, 1, "a")
	again.Replay = n.Replay
	fails(t, c, fault.Conflict, one(again))
	wantCount(t, c, owner, 0)
}

func remove(t *testing.T, c catalog.Catalog) {
	n := NewImage(owner, 1, "a")
	n.Image.Tags = []string{"t"}
	first, second := add(t, c, n).Image, add(t, c, NewImage(owner, 1, "b")).Image
	commit(t, c, catalog.Change{Deletes: []catalog.Delete{{Owner: owner, ID: first.ID}}})
	wantGone(t, c, first)
	_, err := c.Resolve(ctx, owner, "a")
	wantKind(t, err, fault.NotFound)
	for _, q := range []catalog.Query{{Tag: "t"}, {Prefix: "a"}} {
		q.Owner, q.Limit = owner, 10
		if page, err := c.List(ctx, q); err != nil || len(page.Images) != 0 {
			t.Fatalf("List(%+v) still finds %+v, %v", q, page, err)
		}
	}
	wantImage(t, c, second)
	add(t, c, NewImage(owner, 3, "a")) // the key is free again
}

func removeMissing(t *testing.T, c catalog.Catalog) {
	img := add(t, c, NewImage(owner, 1, "a")).Image
	gone := catalog.Delete{Owner: owner, ID: NewImage(owner, 1).Image.ID}
	here := catalog.Delete{Owner: owner, ID: img.ID}
	for _, deletes := range [][]catalog.Delete{{gone}, {here, gone}, {gone, here}, {here, here}} {
		fails(t, c, fault.NotFound, catalog.Change{Deletes: deletes})
		wantImage(t, c, img)
	}
}

func deletesFirst(t *testing.T, c catalog.Catalog) {
	first := add(t, c, NewImage(owner, 1, "a")).Image
	change := one(NewImage(owner, 2, "a", "b"))
	change.Deletes = []catalog.Delete{{Owner: owner, ID: first.ID}}
	if res := commit(t, c, change); res[0].Image.Key != "a" {
		t.Fatalf("the key is %q, expected the one that the delete freed", res[0].Image.Key)
	}
	wantGone(t, c, first)
}

func allOrNothing(t *testing.T, c catalog.Catalog) {
	kept := add(t, c, NewImage(owner, 1, "taken")).Image
	fresh := NewImage(owner, 2, "x")
	fresh.Image.Tags, fresh.Replay = []string{"t"}, catalog.Replay{Token: "r"}
	moved := NewImage(owner, 3, "taken")
	moved.Rule = catalog.Replace
	refused := NewImage(owner, 4, "taken")
	refused.Rule = catalog.Refuse
	fails(t, c, fault.Precondition, catalog.Change{Images: []catalog.NewImage{fresh, moved, refused}})
	wantImage(t, c, kept)
	wantGone(t, c, fresh.Image)
	wantCount(t, c, owner, 1)
	if res := add(t, c, fresh); res.Replayed {
		t.Fatal("a failed change left its idempotency token")
	}
}
