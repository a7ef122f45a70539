package catalogtest

import (
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

func recompressions(t *testing.T, c catalog.Catalog) {
	k, ok := c.(catalog.Recompressions)
	if !ok {
		t.Skip("the catalog remembers no recompressions")
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_000_000, time.UTC)
	missing := func(n uint64) {
		t.Helper()
		_, err := k.RecompressionOf(ctx, Digest(n))
		wantKind(t, err, fault.NotFound)
	}
	wantKind(t, k.PutRecompression(ctx, catalog.Recompression{Source: Digest(1), Tried: at}), fault.NotFound)
	mine, theirs := add(t, c, NewImage(owner, 1, "a")).Image, add(t, c, NewImage("other", 1, "a")).Image
	add(t, c, NewImage(owner, 2, "b"))
	missing(1)
	for _, r := range []catalog.Recompression{
		{Source: Digest(1), Reason: "no smaller", Tried: at},
		{Source: Digest(1), Bytes: 800, Tried: at.Add(time.Hour)},
	} {
		if err := k.PutRecompression(ctx, r); err != nil {
			t.Fatal(err)
		}
		if got, err := k.RecompressionOf(ctx, r.Source); err != nil || got != r {
			t.Fatalf("RecompressionOf gave %+v, %v; expected %+v", got, err, r)
		}
	}
	missing(2)
	j := janitor(t, c)
	for _, img := range []asset.Image{mine, theirs} {
		if _, err := k.RecompressionOf(ctx, Digest(1)); err != nil {
			t.Fatalf("it went while an image has the source: %v", err)
		}
		commit(t, c, catalog.Change{Deletes: []catalog.Delete{{Owner: img.Owner, ID: img.ID}}})
	}
	if forgot, err := j.Forget(ctx, Digest(1), time.Now().Add(time.Hour)); err != nil || !forgot {
		t.Fatal(forgot, err)
	}
	missing(1)
	wantKind(t, k.PutRecompression(ctx, catalog.Recompression{Source: Digest(1), Tried: at}), fault.NotFound)
}
