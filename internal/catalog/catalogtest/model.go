package catalogtest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// state is what a catalog should hold, in the plainest form.
type state struct {
	images  map[asset.ID]asset.Image
	replays map[string]asset.Image // by owner, token and ordinal
	known   map[asset.Digest]bool  // sources that were ever stored
}

func (s state) clone() state {
	return state{maps.Clone(s.images), maps.Clone(s.replays), maps.Clone(s.known)}
}

func (s state) byKey(owner, key string) (asset.Image, bool) {
	for _, img := range s.images {
		if img.Owner == owner && img.Key == key {
			return img, true
		}
	}
	return asset.Image{}, false
}

// apply carries out a change; where it fails, the state is to be thrown away.
func (s state) apply(change catalog.Change) (results []catalog.Result, kind fault.Kind, ok bool) {
	for _, d := range change.Deletes {
		if img, found := s.images[d.ID]; !found || img.Owner != d.Owner {
			return nil, fault.NotFound, false
		}
		delete(s.images, d.ID)
	}
	for _, n := range change.Images {
		res, kind, ok := s.store(n)
		if !ok {
			return nil, kind, false
		}
		results = append(results, res)
	}
	return results, 0, true
}

func (s state) store(n catalog.NewImage) (res catalog.Result, kind fault.Kind, ok bool) {
	img := n.Image
	token := fmt.Sprintf("%s/%s/%d", img.Owner, n.Replay.Token, n.Replay.Ordinal)
	if earlier, found := s.replays[token]; found && n.Replay.Token != "" {
		if earlier.Source.Digest != img.Source.Digest {
			return res, fault.Unprocessable, false
		}
		if there, found := s.images[earlier.ID]; found {
			return catalog.Result{Image: there, Replayed: true}, 0, true
		}
		return res, fault.Conflict, false
	}
	old, taken := s.byKey(img.Owner, n.Keys[0])
	img.Key = n.Keys[0]
	switch n.Rule {
	case catalog.Refuse:
		if taken {
			return res, fault.Precondition, false
		}
	case catalog.Replace:
		if taken {
			delete(s.images, old.ID)
			res.Replaced = old
		}
	default:
		free := slices.IndexFunc(n.Keys, func(k string) bool { _, taken := s.byKey(img.Owner, k); return !taken })
		if free < 0 {
			return res, fault.Conflict, false
		}
		img.Key = n.Keys[free]
	}
	s.images[img.ID], s.known[img.Source.Digest] = img, true
	if n.Replay.Token != "" {
		s.replays[token] = img
	}
	res.Image = img
	return res, 0, true
}

var modelKeys = []string{"a", "b", "a/b", "a/c", "b%"}

// model commits random changes and compares every answer with state's. Each
// round has owners and sources of its own, so that one catalog does for all.
func model(t *testing.T, c catalog.Catalog) {
	round := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		round++
		owners := []string{fmt.Sprintf("o%d", round), fmt.Sprintf("p%d", round)}
		want := state{map[asset.ID]asset.Image{}, map[string]asset.Image{}, map[asset.Digest]bool{}}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			change := drawChange(rt, owners, round*10, want)
			next := want.clone()
			results, kind, ok := next.apply(change)
			got, err := c.Commit(ctx, change)
			switch {
			case !ok && (err == nil || fault.Of(err) != kind):
				rt.Fatalf("Commit gave %v, expected %v", err, kind)
			case ok && err != nil:
				rt.Fatalf("Commit: %v", err)
			case ok && !(len(got) == 0 && len(results) == 0) && !reflect.DeepEqual(got, results):
				rt.Fatalf("Commit gave\n%+v, expected\n%+v", got, results)
			case ok:
				want = next
			}
			for _, who := range owners {
				compare(rt, c, who, want)
			}
		}
		compareSources(rt, c, want)
	})
}

func drawChange(rt *rapid.T, owners []string, sources uint64, s state) (change catalog.Change) {
	who := rapid.SampledFrom(owners)
	there := slices.SortedFunc(maps.Keys(s.images), func(a, b asset.ID) int { return strings.Compare(string(a[:]), string(b[:])) })
	for range rapid.IntRange(0, 2).Draw(rt, "deletes") {
		if len(there) > 0 {
			id := rapid.SampledFrom(there).Draw(rt, "victim")
			change.Deletes = append(change.Deletes, catalog.Delete{Owner: s.images[id].Owner, ID: id})
		}
	}
	for range rapid.IntRange(0, 3).Draw(rt, "images") {
		keys := rapid.SliceOfNDistinct(rapid.SampledFrom(modelKeys), 1, 3, rapid.ID).Draw(rt, "keys")
		n := NewImage(who.Draw(rt, "owner"), sources+rapid.Uint64Range(0, 3).Draw(rt, "source"), keys...)
		n.Image.Tags = rapid.SampledFrom([][]string{nil, {"t"}, {"u", "t"}}).Draw(rt, "tags")
		n.Rule = rapid.SampledFrom([]catalog.KeyRule{catalog.TakeFree, catalog.TakeFree, catalog.Replace, catalog.Refuse}).Draw(rt, "rule")
		n.Replay.Token = rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(rt, "token")
		change.Images = append(change.Images, n)
	}
	return change
}

func compare(rt *rapid.T, c catalog.Catalog, who string, s state) {
	for _, q := range []catalog.Query{{}, {Prefix: "a"}, {Prefix: "b%"}, {Tag: "t"}, {Prefix: "a/", Tag: "u"}} {
		var expected []asset.Image
		for _, img := range s.images {
			if img.Owner == who && strings.HasPrefix(img.Key, q.Prefix) && (q.Tag == "" || slices.Contains(img.Tags, q.Tag)) {
				expected = append(expected, img)
			}
		}
		slices.SortFunc(expected, func(a, b asset.Image) int { return -strings.Compare(string(a.ID[:]), string(b.ID[:])) })
		q.Owner, q.Limit = who, 1000
		page, err := c.List(ctx, q)
		if err != nil || page.More || !reflect.DeepEqual(page.Images, expected) {
			rt.Fatalf("List(%+v) gave\n%+v, %v; expected\n%+v", q, page.Images, err, expected)
		}
	}
	for _, key := range modelKeys {
		img, found := s.byKey(who, key)
		got, err := c.Resolve(ctx, who, key)
		if found && (err != nil || !reflect.DeepEqual(got, img)) || !found && fault.Of(err) != fault.NotFound {
			rt.Fatalf("Resolve(%q) gave %+v, %v; expected %+v", key, got, err, img)
		}
	}
}

func compareSources(rt *rapid.T, c catalog.Catalog, s state) {
	j, ok := c.(catalog.Janitor)
	if !ok {
		return
	}
	free, err := j.Released(ctx, time.Now().Add(time.Hour), 100_000)
	if err != nil {
		rt.Fatal(err)
	}
	for d := range s.known {
		expected := false
		for _, img := range s.images {
			expected = expected || img.Source.Digest == d
		}
		if got, err := j.Used(ctx, d); err != nil || got != expected || slices.Contains(free, d) == expected {
			rt.Fatalf("source %v: Used gave %v, %v, released %v; expected used %v", d, got, err, slices.Contains(free, d), expected)
		}
	}
}
