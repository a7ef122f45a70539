package catalogtest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

func order(t *testing.T, c catalog.Catalog) {
	var change catalog.Change
	for i := range 300 {
		n := NewImage(owner, uint64(i%50), "same", fmt.Sprintf("k%d", i))
		n.Replay = catalog.Replay{Token: "batch", Ordinal: i}
		change.Images = append(change.Images, n)
	}
	check := func(results []catalog.Result, replayed bool) {
		t.Helper()
		for i, r := range results {
			key := fmt.Sprintf("k%d", i)
			if i == 0 {
				key = "same"
			}
			if r.Image.ID != change.Images[i].Image.ID || r.Image.Key != key || r.Replayed != replayed {
				t.Fatalf("result %d is %+v, expected the key %q", i, r, key)
			}
		}
	}
	check(commit(t, c, change), false)
	wantCount(t, c, owner, 300)
	check(commit(t, c, change), true)
	wantCount(t, c, owner, 300)
}

// concurrent mixes changes that work with changes that can't, and checks that
// each gets its own answer.
func concurrent(t *testing.T, c catalog.Catalog) {
	add(t, c, NewImage(owner, 0, "taken"))
	const workers, each = 16, 15
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				n := NewImage(owner, uint64(i), fmt.Sprintf("%d/%d", w, i))
				bad := i%3 == 1
				if bad {
					n.Keys[0], n.Rule = "taken", catalog.Refuse
				}
				res, err := c.Commit(ctx, one(n))
				switch {
				case bad && fault.Of(err) != fault.Precondition:
					t.Errorf("a change that must fail gave %v", err)
				case !bad && err != nil:
					t.Errorf("Commit: %v", err)
				case !bad:
					if got, err := c.Image(ctx, owner, n.Image.ID); err != nil || got.Key != res[0].Image.Key {
						t.Errorf("an image is not readable right after Commit: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	wantCount(t, c, owner, 1+workers*each*2/3)
}

func oneKey(t *testing.T, c catalog.Catalog) {
	const workers = 12
	race := func(rule catalog.KeyRule, keys ...string) (won []asset.Image) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for w := range workers {
			n := NewImage(owner, uint64(w), keys...)
			n.Rule = rule
			wg.Go(func() {
				res, err := c.Commit(ctx, one(n))
				if err != nil && fault.Of(err) != fault.Precondition {
					t.Errorf("Commit: %v", err)
				} else if err == nil {
					mu.Lock()
					defer mu.Unlock()
					won = append(won, res[0].Image)
				}
			})
		}
		wg.Wait()
		return won
	}
	if won := race(catalog.Refuse, "once"); len(won) != 1 {
		t.Fatalf("%d images got a key that is given once", len(won))
	}
	if won := race(catalog.Replace, "last"); len(won) != workers {
		t.Fatalf("%d of %d replacements were carried out", len(won), workers)
	}
	var keys []string
	for i := range workers {
		keys = append(keys, fmt.Sprintf("free%d", i))
	}
	seen := map[string]bool{}
	for _, img := range race(catalog.TakeFree, keys...) {
		seen[img.Key] = true
	}
	if len(seen) != workers {
		t.Fatalf("%d images got %d keys", workers, len(seen))
	}
	wantCount(t, c, owner, 2+workers)
}

func concurrentReplays(t *testing.T, c catalog.Catalog) {
	const workers = 12
	ids := make([]asset.ID, workers)
	var wg sync.WaitGroup
	for w := range workers {
		n := NewImage(owner, 1, "a", fmt.Sprint(w))
		n.Replay = catalog.Replay{Token: "t"}
		wg.Go(func() {
			res, err := c.Commit(ctx, one(n))
			if err != nil {
				t.Errorf("Commit: %v", err)
				return
			}
			ids[w] = res[0].Image.ID
		})
	}
	wg.Wait()
	if len(slices.Compact(ids)) != 1 {
		t.Fatalf("one token made several images: %v", ids)
	}
	wantCount(t, c, owner, 1)
}

func secrets(t *testing.T, c catalog.Catalog) {
	const workers = 12
	got := make([][]byte, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var err error
			if got[w], err = c.Secret(ctx, "ids", func() []byte { return []byte{byte(w), 0, 255} }); err != nil {
				t.Errorf("Secret: %v", err)
			}
		})
	}
	wg.Wait()
	for _, s := range got {
		if len(s) != 3 || !bytes.Equal(s, got[0]) {
			t.Fatalf("nodes got different secrets: %v", got)
		}
	}
	again, err := c.Secret(ctx, "ids", func() []byte { t.Error("a stored secret was made again"); return nil })
	if err != nil || !bytes.Equal(again, got[0]) {
		t.Fatalf("the secret is now %v, %v", again, err)
	}
	other, err := c.Secret(ctx, "other", func() []byte { return []byte("x") })
	if err != nil || string(other) != "x" {
		t.Fatalf("another secret is %q, %v", other, err)
	}
}
