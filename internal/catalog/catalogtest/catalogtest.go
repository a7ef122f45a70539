// Package catalogtest states the contract of catalog.Catalog and
// catalog.Janitor in executable form. Every catalog runs it.
package catalogtest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// Run checks a catalog; open gives an empty one that only this test uses. The
// janitor's part runs where the catalog implements catalog.Janitor too, and the
// part about tasks where it is Queued.
func Run(t *testing.T, open func(t *testing.T) catalog.Catalog) {
	for _, c := range []struct {
		name string
		test func(*testing.T, catalog.Catalog)
	}{
		{"store then read", storeThenRead},
		{"missing images and keys", missing},
		{"owners are apart", owners},
		{"an id is stored once", onceOnly},
		{"an empty change", emptyChange},
		{"keys: take the first free one", takeFree},
		{"keys: none is free", noneFree},
		{"keys: replace", replace},
		{"keys: replace takes a free one", replaceFree},
		{"keys: refuse", refuse},
		{"keys: no candidate", noKeys},
		{"replay: the same image comes back", replaySame},
		{"replay: other content", replayOther},
		{"replay: the image was deleted", replayDeleted},
		{"delete", remove},
		{"delete what is missing", removeMissing},
		{"deletes come before images", deletesFirst},
		{"all or nothing", allOrNothing},
		{"results in order", order},
		{"cancelled", cancelled},
		{"concurrent commits", concurrent},
		{"concurrent commits of one key", oneKey},
		{"concurrent replays", concurrentReplays},
		{"list newest first", list},
		{"list by prefix", listPrefix},
		{"list by tag", listTag},
		{"list limits", listLimits},
		{"secrets", secrets},
		{"ping", ping},
		{"janitor: sources in use", used},
		{"janitor: released and forgotten", released},
		{"janitor: unknown sources", unknown},
		{"janitor: replays are dropped", dropReplays},
		{"renditions: store, replace, read", putRenditions},
		{"renditions: they go with their image", renditionsGo},
		{"renditions: by variant", keptVariant},
		{"renditions: other formats", alternatives},
		{"renditions: who has some bytes", renditionUses},
		{"publications: from intent to confirmation", publishing},
		{"publications: names", publicationNames},
		{"publications: withdrawn before they are confirmed", withdrawnMeanwhile},
		{"publications: deleting and replacing withdraws", deletingWithdraws},
		{"publications: withdrawing a part", withdrawing},
		{"publications: pages", publicationPages},
		{"publications: forgotten", forgetting},
		{"publications: unknown names", unknownNames},
		{"expiry: images of a source", imagesOf},
		{"recompressions", recompressions},
		{"tasks: with an image", tasksWithImage},
		{"tasks: all or nothing", tasksOrNothing},
		{"tasks: not again for a replay", tasksReplayed},
		{"tasks: about an image that loses its key", tasksFarewell},
		{"tasks: outputs go with their image", outputsGo},
		{"tasks: with a delete", tasksOfDelete},
		{"tasks: of one name", tasksNamed},
		{"tasks: concurrently", tasksConcurrently},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("against a model", func(t *testing.T) { model(t, open(t)) })
}

const owner = "main"

var (
	ctx    = context.Background()
	mint   = asset.NewMint([]byte("a secret for tests"))
	clock  atomic.Int64 // ids and times of images go up
	origin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// Digest is some source's digest.
func Digest(n uint64) asset.Digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("source"), n))
}

// NewImage makes an image of source n, with every field set. Each call gives a
// newer image.
func NewImage(who string, source uint64, keys ...string) catalog.NewImage {
	at := origin.Add(time.Duration(clock.Add(1)) * time.Millisecond)
	return catalog.NewImage{
		Image: asset.Image{
			ID: mint.New(at), Owner: who, Name: "Ärger 100%.jpg", Category: "cats", Created: at,
			Source: asset.Source{
				Digest: Digest(source), Bytes: 1000 + int64(source),
				Header: format.Header{
					Format: format.JPEG, Width: 4000, Height: 3000, Pages: 1, Orientation: 6,
					Color: format.CMYK, Bands: 4, BitDepth: 8, ICC: true, Location: true, Scans: 3,
				},
			},
			Looks: asset.Looks{Verified: true, ThumbHash: []byte{1, 0, 255}, BlurHash: "LEHV6nWB2yk8", PHash: 1<<63 | 5},
		},
		Keys: keys,
	}
}

func commit(t *testing.T, c catalog.Catalog, change catalog.Change) []catalog.Result {
	t.Helper()
	results, err := c.Commit(ctx, change)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	if len(results) != len(change.Images) {
		t.Fatalf("Commit gave %d results for %d images", len(results), len(change.Images))
	}
	return results
}

// add stores one image and checks that it can be read.
func add(t *testing.T, c catalog.Catalog, n catalog.NewImage) catalog.Result {
	t.Helper()
	res := commit(t, c, catalog.Change{Images: []catalog.NewImage{n}})[0]
	wantImage(t, c, res.Image)
	return res
}

func fails(t *testing.T, c catalog.Catalog, kind fault.Kind, change catalog.Change) {
	t.Helper()
	res, err := c.Commit(ctx, change)
	wantKind(t, err, kind)
	if len(res) != 0 {
		t.Fatalf("a failed Commit gave results: %+v", res)
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.Of(err) != kind {
		t.Fatalf("got error %v (%v), expected kind %v", err, fault.Of(err), kind)
	}
}

func wantImage(t *testing.T, c catalog.Catalog, img asset.Image) {
	t.Helper()
	got, err := c.Image(ctx, img.Owner, img.ID)
	if err != nil || !reflect.DeepEqual(got, img) {
		t.Fatalf("Image gave\n%+v, %v; expected\n%+v", got, err, img)
	}
	if img.Key == "" {
		return
	}
	got, err = c.Resolve(ctx, img.Owner, img.Key)
	if err != nil || !reflect.DeepEqual(got, img) {
		t.Fatalf("Resolve(%q) gave\n%+v, %v; expected\n%+v", img.Key, got, err, img)
	}
}

func wantGone(t *testing.T, c catalog.Catalog, img asset.Image) {
	t.Helper()
	_, err := c.Image(ctx, img.Owner, img.ID)
	wantKind(t, err, fault.NotFound)
}

func wantCount(t *testing.T, c catalog.Catalog, who string, n int) {
	t.Helper()
	page, err := c.List(ctx, catalog.Query{Owner: who, Limit: 1000})
	if err != nil || len(page.Images) != n || page.More {
		t.Fatalf("List gave %d images, more %v, %v; expected %d", len(page.Images), page.More, err, n)
	}
}

func storeThenRead(t *testing.T, c catalog.Catalog) {
	full := NewImage(owner, 1, "a/b.jpg")
	full.Image.Tags = []string{"zebra", "Äpfel", "a b"}
	plain := NewImage(owner, 2, "c.jpg")
	plain.Image.Looks, plain.Image.Tags, plain.Image.Category = asset.Looks{}, nil, ""
	animated := NewImage(owner, 3, "d.webp")
	animated.Image.Source.Header = format.Header{
		Format: format.WebP, Width: 1, Height: 2, Pages: 9, Orientation: 1, Alpha: true, Animated: true, Bands: 4, BitDepth: 8,
	}
	for _, n := range []catalog.NewImage{full, plain, animated} {
		res := add(t, c, n)
		expected := n.Image
		expected.Key = n.Keys[0]
		if !reflect.DeepEqual(res, catalog.Result{Image: expected}) {
			t.Fatalf("the result is\n%+v, expected\n%+v", res, expected)
		}
	}
	odd := NewImage(owner, 4, "e.jpg")
	odd.Image.Created = time.Date(2026, 5, 6, 7, 8, 9, 123_456_789, time.FixedZone("x", 3600))
	if got, expected := add(t, c, odd).Image.Created, time.Date(2026, 5, 6, 6, 8, 9, 123_000_000, time.UTC); got != expected {
		t.Fatalf("Created is %v, expected %v (UTC, milliseconds)", got, expected)
	}
}

func missing(t *testing.T, c catalog.Catalog) {
	img := NewImage(owner, 1).Image
	wantGone(t, c, img)
	_, err := c.Resolve(ctx, owner, "nothing")
	wantKind(t, err, fault.NotFound)
	add(t, c, NewImage(owner, 1, "Key"))
	for _, key := range []string{"key", "Ke", "Key ", "%", ""} {
		_, err := c.Resolve(ctx, owner, key)
		wantKind(t, err, fault.NotFound)
	}
}

func owners(t *testing.T, c catalog.Catalog) {
	mine, theirs := NewImage(owner, 1, "k"), NewImage("other", 1, "k")
	for _, n := range []*catalog.NewImage{&mine, &theirs} {
		n.Image.Tags, n.Replay = []string{"t"}, catalog.Replay{Token: "same"}
	}
	a, b := add(t, c, mine), add(t, c, theirs)
	if a.Image.Key != "k" || b.Image.Key != "k" || b.Replayed {
		t.Fatalf("owners share keys or tokens: %+v, %+v", a, b)
	}
	_, err := c.Image(ctx, "other", a.Image.ID)
	wantKind(t, err, fault.NotFound)
	fails(t, c, fault.NotFound, catalog.Change{Deletes: []catalog.Delete{{Owner: "other", ID: a.Image.ID}}})
	for _, q := range []catalog.Query{{}, {Prefix: "k"}, {Tag: "t"}, {Prefix: "k", Tag: "t"}} {
		q.Owner, q.Limit = "other", 10
		page, err := c.List(ctx, q)
		if err != nil || len(page.Images) != 1 || page.Images[0].ID != b.Image.ID {
			t.Fatalf("List(%+v) gave %+v, %v", q, page, err)
		}
	}
	wantCount(t, c, "nobody", 0)
}

func onceOnly(t *testing.T, c catalog.Catalog) {
	first := NewImage(owner, 1, "a")
	add(t, c, first)
	again := NewImage(owner, 2, "b")
	again.Image.ID = first.Image.ID
	fails(t, c, fault.Conflict, catalog.Change{Images: []catalog.NewImage{again}})
	again.Image.Owner = "other"
	fails(t, c, fault.Conflict, catalog.Change{Images: []catalog.NewImage{again}})
	wantCount(t, c, owner, 1)
}

func emptyChange(t *testing.T, c catalog.Catalog) {
	commit(t, c, catalog.Change{})
}

func cancelled(t *testing.T, c catalog.Catalog) {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Commit(gone, catalog.Change{Images: []catalog.NewImage{NewImage(owner, 1, "a")}}); fault.Of(err) != fault.Canceled {
		t.Fatalf("Commit with a cancelled context gave %v", err)
	}
	if _, err := c.Resolve(gone, owner, "a"); fault.Of(err) != fault.Canceled {
		t.Fatalf("Resolve with a cancelled context gave %v", err)
	}
	wantCount(t, c, owner, 0)
}

func ping(t *testing.T, c catalog.Catalog) {
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
}
