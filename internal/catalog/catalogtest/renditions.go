package catalogtest

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"slices"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// keeper is a catalog that keeps renditions and publications.
type keeper interface {
	catalog.Catalog
	catalog.Janitor
	catalog.Renditions
	catalog.Publications
	catalog.Expiry
	catalog.Reconciliation
}

func keeping(t *testing.T, c catalog.Catalog) keeper {
	t.Helper()
	k, ok := c.(keeper)
	if !ok {
		t.Skip("the catalog keeps no renditions and publications")
	}
	return k
}

// Made is the digest of some rendition's bytes.
func Made(n uint64) asset.Digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("rendition"), n))
}

// NewRendition makes a rendition with the bytes n and with every field set.
func NewRendition(img asset.Image, preset string, n uint64) catalog.Rendition {
	return catalog.Rendition{
		Image: img.ID, Preset: preset,
		Rendition: asset.Rendition{
			Variant: asset.Variant(img.Source.Digest, preset), Source: img.Source.Digest, Options: "w=1&" + preset, Format: format.WebP,
			Width: 500, Height: 300, Pages: 7, Bytes: 2000 + int64(n), Digest: Made(n),
			Created: time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC),
		},
		FirstBytes: 9000, Encoder: "guetzli 1.0.1", Note: `{"score":1.2}`,
	}
}

func keep(t *testing.T, k keeper, who string, r catalog.Rendition) catalog.Rendition {
	t.Helper()
	if err := k.PutRendition(ctx, who, r); err != nil {
		t.Fatal(err)
	}
	got, err := k.RenditionOf(ctx, who, r.Image, r.Preset)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("RenditionOf gave\n%+v, %v; expected\n%+v", got, err, r)
	}
	return r
}

func putRenditions(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	thumb := keep(t, k, owner, NewRendition(img, "thumb", 1))
	plain := NewRendition(img, "cover", 2)
	plain.Encoder, plain.Note, plain.FirstBytes = "", "", 0
	keep(t, k, owner, plain)
	smaller := thumb
	smaller.Digest, smaller.Bytes, smaller.Encoder, smaller.Format, smaller.Width = Made(3), 10, "x 2", format.JPEG, 499
	smaller.Created, smaller.Variant, smaller.Options, smaller.Pages, smaller.Height = thumb.Created.Add(time.Hour), asset.VariantKey{1}, "o", 1, 1
	wantKind(t, k.PutRendition(ctx, owner, smaller), fault.Conflict) // an encoder's work of another variant
	smaller.Encoder = ""
	wantKind(t, k.PutRendition(ctx, owner, smaller), fault.Conflict) // which it has noted
	smaller.Note = ""
	keep(t, k, owner, smaller)
	smaller.Encoder, smaller.Note, smaller.Bytes, smaller.Digest = "x 3", "{}", 9, Made(5)
	keep(t, k, owner, smaller)
	list, err := k.RenditionsOf(ctx, owner, img.ID)
	if err != nil || !reflect.DeepEqual(list, []catalog.Rendition{plain, smaller}) {
		t.Fatalf("RenditionsOf gave %+v, %v", list, err)
	}
	got, err := k.UnknownRenditions(ctx, []asset.Digest{Made(1), Made(2), Made(3), Made(5), Digest(1)})
	if err != nil || !slices.Equal(got, []asset.Digest{Made(1), Made(3), Digest(1)}) {
		t.Fatalf("UnknownRenditions gave %v, %v", got, err)
	}
	wantKind(t, k.PutRendition(ctx, owner, NewRendition(img, "", 4)), fault.Internal)
	_, err = k.RenditionOf(ctx, owner, img.ID, "other")
	wantKind(t, err, fault.NotFound)
}

func renditionsGo(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	keep(t, k, owner, NewRendition(img, "thumb", 1))
	_, err := k.RenditionOf(ctx, "other", img.ID, "thumb")
	wantKind(t, err, fault.NotFound)
	wantKind(t, k.PutRendition(ctx, "other", NewRendition(img, "thumb", 2)), fault.NotFound)
	wantKind(t, k.PutRendition(ctx, "other", NewRendition(img, "cover", 2)), fault.NotFound)
	if list, err := k.RenditionsOf(ctx, "other", img.ID); err != nil || len(list) != 0 {
		t.Fatalf("another owner sees %+v, %v", list, err)
	}
	drop(t, k, img)
	_, err = k.RenditionOf(ctx, owner, img.ID, "thumb")
	wantKind(t, err, fault.NotFound)
	wantKind(t, k.PutRendition(ctx, owner, NewRendition(img, "thumb", 1)), fault.NotFound)
	if got, err := k.UnknownRenditions(ctx, []asset.Digest{Made(1)}); err != nil || len(got) != 1 {
		t.Fatalf("the rendition of a deleted image is still known: %v, %v", got, err)
	}
	if list, err := k.RenditionsWith(ctx, Made(1)); err != nil || len(list) != 0 {
		t.Fatalf("the rendition of a deleted image is still there: %v, %v", list, err)
	}
}

func keptVariant(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img, twin := add(t, k, NewImage(owner, 1, "a")).Image, add(t, k, NewImage("other", 1, "a")).Image
	_, err := k.KeptVariant(ctx, asset.Variant(img.Source.Digest, "thumb"))
	wantKind(t, err, fault.NotFound)
	want := func(expected catalog.Rendition) {
		t.Helper()
		got, err := k.KeptVariant(ctx, expected.Variant)
		if err != nil || !reflect.DeepEqual(got, expected) {
			t.Fatalf("KeptVariant gave %+v, %v; expected %+v", got, err, expected)
		}
	}
	fast := NewRendition(img, "thumb", 1)
	fast.Encoder, fast.Bytes = "", 10
	want(keep(t, k, owner, fast))
	large := keep(t, k, "other", NewRendition(twin, "thumb", 900))
	want(large) // optimised goes first, even where it is larger
	small := NewRendition(img, "again", 5)
	small.Variant = fast.Variant
	want(keep(t, k, owner, small))
	drop(t, k, img)
	want(large)
}

func renditionUses(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img, twin := add(t, k, NewImage(owner, 1, "a")).Image, add(t, k, NewImage("other", 1, "a")).Image
	a, b := keep(t, k, owner, NewRendition(img, "thumb", 1)), keep(t, k, "other", NewRendition(twin, "thumb", 1))
	keep(t, k, owner, NewRendition(img, "cover", 2))
	list, err := k.RenditionsWith(ctx, Made(1))
	if err != nil || len(list) != 2 || !slices.ContainsFunc(list, same(a)) || !slices.ContainsFunc(list, same(b)) {
		t.Fatalf("RenditionsWith gave %+v, %v", list, err)
	}
}

func same(a catalog.Rendition) func(catalog.Rendition) bool {
	return func(b catalog.Rendition) bool { return reflect.DeepEqual(a, b) }
}

func imagesOf(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	a, b := add(t, k, NewImage(owner, 1, "a")).Image, add(t, k, NewImage("other", 1, "b")).Image
	add(t, k, NewImage(owner, 2, "c"))
	want := func(expected ...asset.Image) {
		t.Helper()
		got, err := k.ImagesOf(ctx, Digest(1))
		slices.SortFunc(got, func(a, b asset.Image) int { return slices.Compare(a.ID[:], b.ID[:]) })
		if err != nil || !reflect.DeepEqual(got, expected) {
			t.Fatalf("ImagesOf gave %+v, %v; expected %+v", got, err, expected)
		}
	}
	want(a, b)
	drop(t, k, a)
	want(b)
	drop(t, k, b)
	want()

	var all []asset.ID
	for page, after := []asset.Image(nil), (asset.ID{}); ; after = page[0].ID {
		var err error
		if page, err = k.ImagesAfter(ctx, after, 1); err != nil || len(page) > 1 {
			t.Fatalf("ImagesAfter gave %d, %v", len(page), err)
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page[0].ID)
	}
	if len(all) != 1 {
		t.Fatalf("ImagesAfter gave %v", all)
	}
	for _, limit := range []int{0, 1001} {
		_, err := k.ImagesAfter(ctx, asset.ID{}, limit)
		wantKind(t, err, fault.Invalid)
	}
}
