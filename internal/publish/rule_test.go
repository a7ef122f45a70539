package publish

import (
	"fmt"
	"slices"
	"testing"

	"safelight/internal/asset"
)

func TestRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule            Rule
		owner, category string
		meets           bool
	}{
		{Rule{}, "anybody", "", true},
		{Rule{Owners: []string{"a", "b"}}, "b", "cats", true},
		{Rule{Owners: []string{"a", "b"}}, "c", "cats", false},
		{Rule{Categories: []string{"cats"}}, "c", "cats", true},
		{Rule{Categories: []string{"cats"}}, "c", "", false},
		{Rule{Categories: []string{""}}, "c", "", true},
		{Rule{Categories: []string{""}}, "c", "cats", false},
		{Rule{[]string{"a"}, []string{"cats"}}, "a", "cats", true},
		{Rule{[]string{"a"}, []string{"cats"}}, "a", "dogs", false},
		{Rule{[]string{"a"}, []string{"cats"}}, "b", "cats", false},
	} {
		if got := c.rule.meets(asset.Image{Owner: c.owner, Category: c.category}); got != c.meets {
			t.Errorf("%+v picks %q, %q: %t", c.rule, c.owner, c.category, got)
		}
	}
}

// A destination gets what its rule picks, and its reconciliation misses no more.
func TestDestinationsByRule(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "{id}/{preset}")
	x, y := f.destinations["x"], f.destinations["y"]
	x.only.Owners, y.sources = []string{"ann"}, false
	f.destinations["x"], f.destinations["y"] = x, y
	ann, ben := f.upload("ann", "a.jpg", "one"), f.upload("ben", "b.jpg", "two")
	for _, c := range []struct {
		img    asset.Image
		preset string
		where  []string
	}{
		{ann, "", []string{"x"}}, {ann, "thumb", []string{"x", "y"}}, {ben, "", nil}, {ben, "thumb", []string{"y"}},
	} {
		if got := f.For(c.img, c.preset); !slices.Equal(got, c.where) {
			t.Errorf("%s's %q goes to %v, not %v", c.img.Owner, c.preset, got, c.where)
		}
	}
	f.wantTold(Plan{Wanted: func(asset.Image) []string { return []string{"thumb"} }},
		fmt.Sprintf(`unpublished ""@x of %s`, ann.ID),
		fmt.Sprintf(`unrendered "thumb"@x of %s`, ann.ID), fmt.Sprintf(`unrendered "thumb"@y of %s`, ann.ID),
		fmt.Sprintf(`unrendered "thumb"@y of %s`, ben.ID))
}
