package catalogtest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// all pages through a query with a limit and gives the keys.
func all(t *testing.T, c catalog.Catalog, q catalog.Query, limit int) (keys []string) {
	t.Helper()
	q.Owner, q.Limit = owner, limit
	for {
		page, err := c.List(ctx, q)
		if err != nil {
			t.Fatalf("List(%+v): %v", q, err)
		}
		for _, img := range page.Images {
			keys = append(keys, img.Key)
		}
		if len(page.Images) > limit || page.More && len(page.Images) != limit {
			t.Fatalf("List(%+v) gave %d images, more %v", q, len(page.Images), page.More)
		}
		if !page.More {
			return keys
		}
		q.Before = page.Images[len(page.Images)-1].ID
	}
}

func check(t *testing.T, c catalog.Catalog, q catalog.Query, expected ...string) {
	t.Helper()
	for _, limit := range []int{1, 2, 3, 1000} {
		if got := all(t, c, q, limit); !slices.Equal(got, expected) {
			t.Fatalf("List(%+v) by %d gave %q, expected %q", q, limit, got, expected)
		}
	}
}

func list(t *testing.T, c catalog.Catalog) {
	check(t, c, catalog.Query{})
	var newest []string
	for i := range 7 {
		res := add(t, c, NewImage(owner, uint64(i%3), fmt.Sprint((i*5)%7)))
		newest = slices.Insert(newest, 0, res.Image.Key)
	}
	check(t, c, catalog.Query{}, newest...)
	page, err := c.List(ctx, catalog.Query{Owner: owner, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range page.Images {
		if got, err := c.Image(ctx, owner, img.ID); err != nil || !reflect.DeepEqual(got, img) {
			t.Fatalf("List says\n%+v, Image says\n%+v, %v", img, got, err)
		}
	}
	// The cursor may be any id, also of an image that is gone.
	commit(t, c, catalog.Change{Deletes: []catalog.Delete{{Owner: owner, ID: page.Images[2].ID}}})
	check(t, c, catalog.Query{Before: page.Images[2].ID}, newest[3:]...)
}

func listPrefix(t *testing.T, c catalog.Catalog) {
	keys := []string{"a/b", "a/b/c", "a0", "a%b", "a_b", "A/b", "ab", "é/1", "é2", "\U0010FFFF1"}
	for i, k := range keys {
		add(t, c, NewImage(owner, uint64(i), k))
	}
	slices.Reverse(keys)
	for _, prefix := range []string{
		"a", "a/", "a/b", "a/b/", "a%", "a_", "A", "%", "_", "é", "é/", "\xc3", "\U0010FFFF", "\xf4", "\xff", "zz", "a\xff",
	} {
		var expected []string
		for _, k := range keys {
			if len(k) >= len(prefix) && k[:len(prefix)] == prefix {
				expected = append(expected, k)
			}
		}
		check(t, c, catalog.Query{Prefix: prefix}, expected...)
	}
}

func listTag(t *testing.T, c catalog.Catalog) {
	for i := range 9 {
		n := NewImage(owner, uint64(i), fmt.Sprintf("%c%d", 'a'+rune(i%2), i))
		n.Image.Tags = []string{"all", "all"} // twice is once
		if i%3 == 0 {
			n.Image.Tags = append(n.Image.Tags, "third")
		}
		add(t, c, n)
	}
	check(t, c, catalog.Query{Tag: "third"}, "a6", "b3", "a0")
	check(t, c, catalog.Query{Tag: "third", Prefix: "a"}, "a6", "a0")
	check(t, c, catalog.Query{Tag: "all", Prefix: "b"}, "b7", "b5", "b3", "b1")
	check(t, c, catalog.Query{Tag: "al"})
	check(t, c, catalog.Query{Tag: "ALL"})
	check(t, c, catalog.Query{Tag: "%"})
}

func listLimits(t *testing.T, c catalog.Catalog) {
	for _, limit := range []int{-1, 0, 1001} {
		_, err := c.List(ctx, catalog.Query{Owner: owner, Limit: limit})
		wantKind(t, err, fault.Invalid)
	}
	add(t, c, NewImage(owner, 1, "a"))
	var zero asset.ID
	zero[15] = 1 // below every image
	check(t, c, catalog.Query{Before: zero})
}
