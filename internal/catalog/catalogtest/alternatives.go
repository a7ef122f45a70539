package catalogtest

import (
	"reflect"
	"slices"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// alternative is a rendition beside another, in another format.
func alternative(to catalog.Rendition, f format.Format, n uint64) catalog.Rendition {
	a := to
	a.Format, a.Bytes, a.Digest = f, int64(n), Made(n)
	a.Variant = asset.Variant(to.Source, to.Preset+f.String())
	return a
}

func alternatives(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	main := keep(t, k, owner, NewRendition(img, "thumb", 1))
	other := keep(t, k, owner, NewRendition(img, "cover", 2))
	webp, avif := alternative(main, format.WebP, 20), alternative(main, format.AVIF, 10)
	put := func(to catalog.Rendition, list ...catalog.Rendition) {
		t.Helper()
		if err := k.PutAlternatives(ctx, owner, to, list); err != nil {
			t.Fatal(err)
		}
	}
	want := func(to asset.VariantKey, expected ...catalog.Rendition) {
		t.Helper()
		got, err := k.AlternativesTo(ctx, to)
		if err != nil || len(got) != len(expected) || len(got) > 0 && !reflect.DeepEqual(got, expected) {
			t.Fatalf("AlternativesTo gave %+v, %v; expected %+v", got, err, expected)
		}
	}
	put(main, webp)
	want(main.Variant, webp)
	put(main, webp, avif) // in the place of those before
	put(other, alternative(other, format.WebP, 30))
	want(main.Variant, avif, webp)
	all, err := k.AlternativesOf(ctx, owner, img.ID)
	if err != nil || len(all) != 3 || all[0].Preset != "cover" || all[1].Format != format.AVIF || all[2].Format != format.WebP {
		t.Fatalf("AlternativesOf gave %+v, %v", all, err)
	}
	if list, err := k.AlternativesOf(ctx, "other", img.ID); err != nil || len(list) != 0 {
		t.Fatalf("another owner sees %+v, %v", list, err)
	}
	if list, err := k.RenditionsOf(ctx, owner, img.ID); err != nil || len(list) != 2 {
		t.Fatalf("alternatives are taken for main renditions: %+v, %v", list, err)
	}
	if got, err := k.KeptVariant(ctx, avif.Variant); err != nil || !reflect.DeepEqual(got, avif) {
		t.Fatalf("KeptVariant gave %+v, %v", got, err)
	}
	if got, err := k.UnknownRenditions(ctx, []asset.Digest{Made(10), Made(11), Made(30)}); err != nil || !slices.Equal(got, []asset.Digest{Made(11)}) {
		t.Fatalf("UnknownRenditions gave %v, %v", got, err)
	}
	if list, err := k.RenditionsWith(ctx, Made(10)); err != nil || len(list) != 1 {
		t.Fatalf("RenditionsWith gave %v, %v", list, err)
	}
	wantKind(t, k.PutAlternatives(ctx, "other", main, nil), fault.NotFound)
	stale := main
	stale.Variant = asset.VariantKey{9}
	wantKind(t, k.PutAlternatives(ctx, owner, stale, []catalog.Rendition{webp}), fault.Conflict)
	want(main.Variant, avif, webp)

	again := main // with other options
	again.Variant, again.Encoder, again.Note = asset.VariantKey{9}, "", ""
	keep(t, k, owner, again)
	want(main.Variant)
	want(other.Variant, alternative(other, format.WebP, 30))
	wantKind(t, k.PutAlternatives(ctx, owner, main, []catalog.Rendition{webp}), fault.Conflict)
	drop(t, k, img)
	want(other.Variant)
	wantKind(t, k.PutAlternatives(ctx, owner, again, []catalog.Rendition{webp}), fault.NotFound)
}
