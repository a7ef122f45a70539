package publish

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
)

// reconciled runs a reconciliation and gives what was told, sorted.
func (f *fixture) reconciled(plan Plan) (told []string, report Report) {
	f.t.Helper()
	plan.Due = func(d Due) error {
		told = append(told, fmt.Sprintf("%s %q@%s of %s", d.Reason, d.Preset, d.Destination, d.Image))
		return nil
	}
	plan.Stray = func(destination string, o blob.Info) error {
		told = append(told, fmt.Sprintf("stray %s@%s, %d bytes", o.Name, destination, o.Bytes))
		return nil
	}
	report, err := f.Reconcile(f.t.Context(), plan)
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(told)
	return told, report
}

func (f *fixture) wantTold(plan Plan, expected ...string) Report {
	f.t.Helper()
	told, report := f.reconciled(plan)
	slices.Sort(expected)
	if !slices.Equal(told, expected) {
		f.t.Fatalf("told\n%q, expected\n%q", told, expected)
	}
	return report
}

func TestReconcileObjects(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	var images []asset.Image
	var published []catalog.Publication
	for i := range 5 {
		img := f.upload("main", fmt.Sprint(i), fmt.Sprint("source ", i))
		images, published = append(images, img), append(published, f.publish(img, "", "x"))
	}
	f.wantTold(Plan{Depth: Bytes})
	if err := os.Remove(f.object(published[0])); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(f.object(published[1]), 3); err != nil {
		t.Fatal(err)
	}
	f.damage(published[2])
	if err := f.db.Intend(t.Context(), published[3]); err != nil { // a process that died
		t.Fatal(err)
	}
	stray := filepath.Join(f.dirs["x"], "somebody", "else's")
	if err := os.MkdirAll(filepath.Dir(stray), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stray, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	always := []string{
		fmt.Sprintf(`missing ""@x of %s`, images[0].ID), fmt.Sprintf(`resized ""@x of %s`, images[1].ID),
		"stray somebody/else's@x, 4 bytes",
	}
	f.wantTold(Plan{}, always...) // within the hour
	f.settle = -1
	unfinished := fmt.Sprintf(`unfinished ""@x of %s`, images[3].ID)
	f.wantTold(Plan{}, append(always, unfinished)...)
	damaged := fmt.Sprintf(`damaged ""@x of %s`, images[2].ID)
	if r := f.wantTold(Plan{Depth: Bytes}, append(always, unfinished, damaged)...); r != (Report{Checked: 5, Due: 4, Strays: 1}) {
		t.Errorf("the report is %+v", r)
	}
	for i, img := range images {
		f.wantObject(f.publish(img, "", "x"), fmt.Sprint("source ", i))
	}
	f.wantTold(Plan{Depth: Bytes}, always[2])
	if _, err := os.Stat(stray); err != nil {
		t.Errorf("the stray object: %v", err)
	}
}

func TestReconcileWithdrawn(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "{name}")
	img := f.upload("main", "a.jpg", "source")
	p := f.publish(img, "", "x")
	f.delete(img)
	if r := f.wantTold(Plan{}); r.Removed != 0 { // within the hour
		t.Fatalf("%+v", r)
	}
	f.wantObject(p, "source")
	f.settle = -1
	if r := f.wantTold(Plan{}); r != (Report{Checked: 1, Removed: 1}) {
		t.Fatalf("%+v", r)
	}
	f.wantNoObjects("x")
	f.wantState(img)
	f.publish(f.upload("main", "a.jpg", "another"), "", "x") // the name is free again
}

// What was deleted while the configuration did not know its destination leaves
// nothing there when it does again.
func TestReconcileDeletedWhileAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "{name}")
	gone, stays := f.upload("main", "a.jpg", "source"), f.upload("main", "b.jpg", "other")
	f.publish(gone, "", "x")
	p := f.publish(stays, "", "x")
	f.settle = -1
	x := f.destinations["x"]
	delete(f.destinations, "x")
	f.delete(gone)
	wantKind(t, f.Unpublish(t.Context(), gone.ID, nil, nil), fault.Unavailable)
	_, err := f.Reconcile(t.Context(), Plan{})
	wantKind(t, err, fault.Unavailable)
	f.destinations["x"] = x
	if r := f.wantTold(Plan{}); r != (Report{Checked: 2, Removed: 1}) {
		t.Fatalf("%+v", r)
	}
	f.wantState(gone)
	f.wantObject(p, "other")
	f.publish(f.upload("main", "a.jpg", "another"), "", "x") // the name is free again
}

func TestReconcileWanted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	y := f.destinations["y"]
	y.sources = false
	f.destinations["y"] = y
	img := f.upload("main", "a.jpg", "source")
	f.render(img, "thumb", format.JPEG, "fast")
	f.publish(img, "thumb", "x")
	f.render(img, "thumb", format.JPEG, "optimised")
	wanted := func(asset.Image) []string { return []string{"thumb", "cover"} }
	f.wantTold(Plan{Wanted: wanted},
		fmt.Sprintf(`unpublished ""@x of %s`, img.ID), fmt.Sprintf(`outdated "thumb"@x of %s`, img.ID), fmt.Sprintf(`unpublished "thumb"@y of %s`, img.ID),
		fmt.Sprintf(`unrendered "cover"@x of %s`, img.ID), fmt.Sprintf(`unrendered "cover"@y of %s`, img.ID))
	f.render(img, "cover", format.JPEG, "cover")
	for _, target := range [][2]string{{"", "x"}, {"thumb", "x"}, {"thumb", "y"}, {"cover", "x"}, {"cover", "y"}} {
		f.publish(img, target[0], target[1])
	}
	f.wantTold(Plan{Wanted: wanted})
	y1 := "y"
	if err := f.Unpublish(t.Context(), img.ID, nil, &y1); err != nil {
		t.Fatal(err)
	}
	f.wantTold(Plan{Wanted: wanted}, fmt.Sprintf(`unpublished "thumb"@y of %s`, img.ID), fmt.Sprintf(`unpublished "cover"@y of %s`, img.ID))
}

func TestReconcilePages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	f.settle = -1
	const images = pageRows/2 + 20
	for i := range images {
		img := f.upload("main", fmt.Sprint(i), "same")
		for _, destination := range []string{"x", "y"} {
			p := catalog.Publication{Image: img.ID, Owner: img.Owner, Destination: destination, Name: fmt.Sprint(i), Digest: img.Source.Digest, Bytes: 4}
			if err := f.db.Intend(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	var seen [][2]int
	_, report := f.reconciled(Plan{Progress: func(done, total int) { seen = append(seen, [2]int{done, total}) }})
	if report != (Report{Checked: 2 * images, Due: 2 * images}) {
		t.Errorf("%+v", report)
	}
	if expected := [][2]int{{pageRows, 2 * images}, {2 * images, 2 * images}}; !slices.Equal(seen, expected) {
		t.Errorf("progress was %v", seen)
	}
}

func TestReconcileGoesOnWithoutADestination(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "")
	f.settle = -1
	img, gone := f.upload("main", "a.jpg", "source"), f.upload("main", "b.jpg", "other")
	f.publish(img, "", "x")
	f.publish(gone, "", "x")
	p := f.publish(img, "", "y")
	f.delete(gone)
	if err := os.Remove(f.object(p)); err != nil {
		t.Fatal(err)
	}
	delete(f.destinations, "x")
	var due []Due
	report, err := f.Reconcile(t.Context(), Plan{Due: func(d Due) error { due = append(due, d); return nil }})
	wantKind(t, err, fault.Unavailable)
	if len(due) != 1 || due[0] != (Due{img.ID, "main", "", "y", Missing}) || report.Removed != 0 {
		t.Errorf("%+v, %+v", due, report)
	}
	f.wantState(gone, catalog.Withdrawn) // not forgotten
	stop := errors.New("stop")
	if _, err := f.Reconcile(t.Context(), Plan{Due: func(Due) error { return stop }}); err != stop {
		t.Errorf("an error of the plan gave %v", err)
	}
}
