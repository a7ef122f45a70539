package catalogtest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
)

// NewPublication makes a publication with the bytes n, whose name is its own.
func NewPublication(img asset.Image, preset, destination string, n uint64) catalog.Publication {
	return catalog.Publication{
		Image: img.ID, Owner: img.Owner, Preset: preset, Destination: destination,
		Name: fmt.Sprintf("%s/%s ü.jpg", img.ID, preset), Digest: Made(n), Bytes: 100 + int64(n),
	}
}

func intend(t *testing.T, k keeper, p catalog.Publication) catalog.Publication {
	t.Helper()
	if err := k.Intend(ctx, p); err != nil {
		t.Fatal(err)
	}
	p.State = catalog.Writing
	wantPublication(t, k, p)
	return p
}

func confirm(t *testing.T, k keeper, p catalog.Publication) catalog.Publication {
	t.Helper()
	if ok, err := k.Confirm(ctx, p); err != nil || !ok {
		t.Fatalf("Confirm gave %v, %v", ok, err)
	}
	p.State = catalog.Confirmed
	wantPublication(t, k, p)
	return p
}

// wantPublication looks for a publication, whose time must be of late.
func wantPublication(t *testing.T, k keeper, p catalog.Publication) {
	t.Helper()
	list, err := k.PublicationsOf(ctx, p.Image)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range list {
		if got.Preset != p.Preset || got.Destination != p.Destination {
			continue
		}
		if age := time.Since(got.Updated); age < -time.Second || age > time.Minute || got.Updated.Location() != time.UTC {
			t.Fatalf("Updated is %v", got.Updated)
		}
		if got.Updated = p.Updated; got != p {
			t.Fatalf("the publication is\n%+v, expected\n%+v", got, p)
		}
		return
	}
	t.Fatalf("%+v is not among %+v", p, list)
}

func wantPublished(t *testing.T, k keeper, d asset.Digest, names ...string) {
	t.Helper()
	list, err := k.Published(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range list {
		got = append(got, p.Name)
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Fatalf("Published gave %v, expected %v", got, names)
	}
}

func publishing(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	wantKind(t, k.Intend(ctx, NewPublication(NewImage(owner, 1).Image, "", "archive", 1)), fault.NotFound)
	stolen := NewPublication(img, "", "archive", 1)
	stolen.Owner = "other"
	wantKind(t, k.Intend(ctx, stolen), fault.NotFound)

	p := intend(t, k, NewPublication(img, "", "archive", 1))
	wantPublished(t, k, Made(1))
	intend(t, k, p) // a second try
	confirm(t, k, p)
	confirm(t, k, p) // and a second confirmation
	wantPublished(t, k, Made(1), p.Name)

	better := p
	better.Digest, better.Bytes = Made(2), 7
	better = intend(t, k, better)
	wantPublished(t, k, Made(1)) // being overwritten
	_, err := k.Confirm(ctx, p)  // by one that came too late
	wantKind(t, err, fault.Conflict)
	wantPublication(t, k, better)
	confirm(t, k, better)
	wantPublished(t, k, Made(2), p.Name)

	other := add(t, k, NewImage("other", 1, "a")).Image
	q := confirm(t, k, intend(t, k, NewPublication(other, "thumb", "archive", 2)))
	wantPublished(t, k, Made(2), p.Name, q.Name) // of every owner
}

func publicationNames(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img, second := add(t, k, NewImage(owner, 1, "a")).Image, add(t, k, NewImage(owner, 2, "b")).Image
	theirs := add(t, k, NewImage("other", 2, "b")).Image
	p := confirm(t, k, intend(t, k, NewPublication(img, "", "archive", 1)))
	taken := func(img asset.Image, told bool) {
		t.Helper()
		clash := NewPublication(img, "", "archive", 2)
		clash.Name = p.Name
		err := k.Intend(ctx, clash)
		wantKind(t, err, fault.Conflict)
		if strings.Contains(err.Error(), p.Image.String()+";") != told || !strings.Contains(err.Error(), p.Name) {
			t.Fatalf("the error says %q", err)
		}
		clash.Destination = "elsewhere " + clash.Image.String()
		intend(t, k, clash)
	}
	taken(second, true)
	taken(theirs, false)
	for _, name := range []string{p.Name + "/below", p.Name[:strings.LastIndex(p.Name, "/")]} { // a file can't be a folder
		clash := NewPublication(second, "", "archive", 2)
		clash.Name = name
		wantKind(t, k.Intend(ctx, clash), fault.Conflict)
	}
	moved := p
	moved.Name = "new"
	wantKind(t, k.Intend(ctx, moved), fault.Conflict)
	wantPublication(t, k, p)
	drop(t, k, img)
	clash := NewPublication(second, "", "archive", 2)
	clash.Name = p.Name
	err := k.Intend(ctx, clash)
	if wantKind(t, err, fault.Unavailable); fault.As(err).Code != catalog.NameWithdrawn {
		t.Fatalf("a name that is not free yet: %v", err)
	}
	rows, err := k.PublicationsOf(ctx, img.ID)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	if ok, err := k.ForgetPublication(ctx, rows[0]); !ok || err != nil {
		t.Fatalf("ForgetPublication gave %v, %v", ok, err)
	}
	intend(t, k, clash)
}

func withdrawnMeanwhile(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	p := intend(t, k, NewPublication(img, "", "archive", 1))
	if _, err := k.Withdraw(ctx, img.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	refused := func(p catalog.Publication) {
		t.Helper()
		if ok, err := k.Confirm(ctx, p); ok || err != nil {
			t.Fatalf("Confirm of what was withdrawn gave %v, %v", ok, err)
		}
	}
	refused(p)
	p.State = catalog.Withdrawn
	wantPublication(t, k, p)
	confirm(t, k, intend(t, k, p)) // it may be published again
	intend(t, k, p)
	drop(t, k, img)
	refused(p)
	p.State = catalog.Withdrawn
	wantPublication(t, k, p)
	wantPublished(t, k, Made(1))
	wantKind(t, k.Intend(ctx, p), fault.NotFound)
	refused(NewPublication(add(t, k, NewImage(owner, 3, "b")).Image, "", "archive", 1)) // never intended
}

func deletingWithdraws(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	first, stays := add(t, k, NewImage(owner, 1, "a")).Image, add(t, k, NewImage(owner, 1, "b")).Image
	a, b := confirm(t, k, intend(t, k, NewPublication(first, "", "x", 1))), confirm(t, k, intend(t, k, NewPublication(stays, "", "x", 1)))
	intend(t, k, NewPublication(first, "thumb", "x", 2))
	n := NewImage(owner, 3, "a")
	n.Rule = catalog.Replace
	add(t, k, n)
	a.State = catalog.Withdrawn
	wantPublication(t, k, a)
	thumb := NewPublication(first, "thumb", "x", 2)
	thumb.State = catalog.Withdrawn
	wantPublication(t, k, thumb)
	wantPublication(t, k, b)
	wantPublished(t, k, Made(1), b.Name)
}

func withdrawing(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img, other := add(t, k, NewImage(owner, 1, "a")).Image, add(t, k, NewImage(owner, 2, "b")).Image
	for i, preset := range []string{"", "thumb"} {
		for _, destination := range []string{"x", "y"} {
			confirm(t, k, intend(t, k, NewPublication(img, preset, destination, uint64(i))))
		}
	}
	apart := confirm(t, k, intend(t, k, NewPublication(other, "", "x", 9)))
	source, x := "", "x"
	want := func(preset, destination *string, expected ...string) {
		t.Helper()
		list, err := k.Withdraw(ctx, img.ID, preset, destination)
		var got []string
		for _, p := range list {
			got = append(got, p.Preset+"@"+p.Destination)
			if p.State != catalog.Withdrawn {
				t.Fatalf("%+v was not withdrawn", p)
			}
			wantPublication(t, k, catalog.Publication{Image: p.Image, Owner: p.Owner, Preset: p.Preset, Destination: p.Destination,
				Name: p.Name, Digest: p.Digest, Bytes: p.Bytes, State: p.State, Updated: p.Updated})
		}
		if err != nil || !slices.Equal(got, expected) {
			t.Fatalf("Withdraw gave %v, %v; expected %v", got, err, expected)
		}
	}
	want(&source, &x, "@x")
	want(nil, &x, "@x", "thumb@x")
	want(&source, nil, "@x", "@y")
	want(nil, nil, "@x", "@y", "thumb@x", "thumb@y")
	want(nil, nil, "@x", "@y", "thumb@x", "thumb@y") // as often as one likes
	wantPublication(t, k, apart)
	if list, err := k.Withdraw(ctx, NewImage(owner, 1).Image.ID, nil, nil); err != nil || len(list) != 0 {
		t.Fatalf("an unknown image's: %v, %v", list, err)
	}
}

func publicationPages(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	var all []catalog.Publication
	for i := range uint64(3) {
		img := add(t, k, NewImage([]string{owner, "other"}[i%2], i, fmt.Sprint(i))).Image
		for _, preset := range []string{"", "a", "b"} {
			for _, destination := range []string{"x", "y"} {
				p := intend(t, k, NewPublication(img, preset, destination, i))
				if preset == "a" {
					p = confirm(t, k, p)
				}
				all = append(all, p)
			}
		}
	}
	if n, err := k.CountPublications(ctx); n != len(all) || err != nil {
		t.Fatalf("CountPublications gave %d, %v; expected %d", n, err, len(all))
	}
	confirmed, future, past := catalog.Confirmed, time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	pages := func(q catalog.PublicationQuery, expected func(catalog.Publication) bool) {
		t.Helper()
		var got []catalog.Publication
		for q.Limit = 4; ; {
			page, err := k.ListPublications(ctx, q)
			if err != nil || len(page) > 4 {
				t.Fatalf("ListPublications gave %d, %v", len(page), err)
			}
			for i := range page {
				q.After = page[i]
				page[i].Updated = time.Time{}
			}
			if got = append(got, page...); len(page) < 4 {
				break
			}
		}
		want := slices.DeleteFunc(slices.Clone(all), func(p catalog.Publication) bool { return !expected(p) })
		if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("pages of %+v gave\n%+v, expected\n%+v", q, got, want)
		}
	}
	pages(catalog.PublicationQuery{}, func(catalog.Publication) bool { return true })
	pages(catalog.PublicationQuery{Before: future}, func(catalog.Publication) bool { return true })
	pages(catalog.PublicationQuery{Before: past}, func(catalog.Publication) bool { return false })
	pages(catalog.PublicationQuery{State: &confirmed}, func(p catalog.Publication) bool { return p.State == catalog.Confirmed })
	pages(catalog.PublicationQuery{State: &confirmed, Before: past}, func(catalog.Publication) bool { return false })
	for _, limit := range []int{0, 1001} {
		_, err := k.ListPublications(ctx, catalog.PublicationQuery{Limit: limit})
		wantKind(t, err, fault.Invalid)
	}
}

func forgetting(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	p := confirm(t, k, intend(t, k, NewPublication(img, "", "x", 1)))
	forget := func(p catalog.Publication, expected bool) {
		t.Helper()
		if ok, err := k.ForgetPublication(ctx, p); ok != expected || err != nil {
			t.Fatalf("ForgetPublication gave %v, %v; expected %v", ok, err, expected)
		}
	}
	current, err := k.PublicationsOf(ctx, img.ID)
	if err != nil || len(current) != 1 {
		t.Fatal(current, err)
	}
	forget(current[0], false) // not withdrawn
	list, err := k.Withdraw(ctx, img.ID, nil, nil)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	stale := list[0]
	stale.Updated = stale.Updated.Add(-time.Millisecond)
	forget(stale, false)
	intend(t, k, p)
	forget(list[0], false) // it is being published again
	if list, err = k.Withdraw(ctx, img.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	forget(list[0], true)
	forget(list[0], false)
	p.Name = "another" // the name and the place are free again
	intend(t, k, p)
}

func unknownNames(t *testing.T, c catalog.Catalog) {
	k := keeping(t, c)
	img := add(t, k, NewImage(owner, 1, "a")).Image
	p := intend(t, k, NewPublication(img, "", "x", 1))
	for destination, expected := range map[string][]string{"x": {"z", "a"}, "y": {"z", p.Name, "a"}} {
		got, err := k.UnknownNames(ctx, destination, []string{"z", p.Name, "a"})
		if err != nil || !slices.Equal(got, expected) {
			t.Fatalf("UnknownNames at %s gave %v, %v", destination, got, err)
		}
	}
}
