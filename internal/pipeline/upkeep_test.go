package pipeline

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/task"
	"safelight/internal/work"
)

func TestBackfill(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{})
	var images []asset.Image
	for i := range 5 {
		images = append(images, f.upload(fmt.Sprint("k", i), picture(200, 150, i)))
	}
	f.settled()
	f = newFixture(t, setup{over: f, presets: map[string]string{"small": "w=100", "tiny": "w=30", "never": "w=31"}, config: func(c *Config) { c.Presets["never"] = nil }})
	backfill := func(preset string) (string, error) {
		k := about(Backfill, asset.Image{}, args{Preset: preset})
		run := &work.Run{Task: k}
		out, err := f.functions[Backfill].Do(t.Context(), run)
		return did(out), err
	}
	if got, err := backfill("small"); got != `{"images":5,"submitted":0} ` || err != nil || f.waiting(Render) != 0 {
		t.Errorf("%s, %v", got, err)
	}
	f.must(about(Render, images[2], args{Preset: "tiny"}))
	f.must(about(Optimize, images[2], args{Preset: "tiny"}))
	// One is about to be rendered: it must not lose its place.
	if _, err := f.tasks.Submit(t.Context(), own("main", []task.New{f.renderTask(images[3].ID, "tiny", priorityRender)})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		want := `{"images":5,"submitted":3} `
		if f.waiting(Render) == 4 {
			want = `{"images":5,"submitted":0} `
		}
		if got, err := backfill("tiny"); got != want || err != nil || f.waiting(Render) != 4 {
			t.Errorf("%s, %v, %d wait", got, err, f.waiting(Render))
		}
	}
	for _, k := range f.list(Render) {
		want := task.Idle
		if k.Image == images[3].ID {
			want = task.Prompt
		}
		if k.Priority != want || k.Owner != "main" {
			t.Errorf("%+v", k)
		}
	}
	f.settled()
	for _, img := range images {
		f.row(img, "tiny")
	}
	_, err := backfill("nix")
	wantKind(t, err, fault.Invalid, "nix")
	_, err = backfill("never")
	wantKind(t, err, fault.Invalid, "is not rendered beforehand")
	if other := did(f.must(task.Task{Function: Backfill, Owner: "other", Args: args{Preset: "tiny"}.encode()})); other != `{"images":0,"submitted":0} ` {
		t.Error(other)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.functions[Backfill].Do(ctx, &work.Run{Task: about(Backfill, asset.Image{}, args{Preset: "tiny"})}); err == nil {
		t.Error("a walk goes on after its end")
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	var images []asset.Image
	for i, key := range []string{"a/1", "a/2", "b/1", "b/2"} {
		images = append(images, f.upload(key, picture(60, 40, i)))
	}
	f.settled()
	left := func(want ...int) {
		t.Helper()
		for i, img := range images {
			_, err := f.db.Image(t.Context(), "main", img.ID)
			wanted := false
			for _, w := range want {
				wanted = wanted || w == i
			}
			if (err == nil) != wanted {
				t.Errorf("image %d: %v", i, err)
			}
		}
	}
	_, err := f.do(about(Purge, asset.Image{}, args{}))
	wantKind(t, err, fault.Invalid, "purge needs an image, a prefix or a tag")
	left(0, 1, 2, 3)
	k := about(Purge, asset.Image{}, args{Prefix: "a/"})
	k.Owner = "other"
	if got := did(f.must(k)); got != `{"deleted":0} ` {
		t.Error(got)
	}
	for range 2 { // by image, and again
		f.must(about(Purge, images[3], args{}))
		left(0, 1, 2)
	}
	if got := did(f.must(about(Purge, asset.Image{}, args{Prefix: "a/"}))); got != `{"deleted":2} ` {
		t.Error(got)
	}
	left(2)
	if got := did(f.must(about(Purge, asset.Image{}, args{Tag: "none"}))); got != `{"deleted":0} ` {
		t.Error(got)
	}
	left(2)
	f.settled()
	if got := len(f.objects("x")); got != 2 {
		t.Errorf("%d objects are left", got)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{})
	kept, gone := f.upload("a", picture(200, 150, 0)), f.upload("b", picture(200, 150, 1))
	f.must(about(Render, kept, args{Preset: "small"}))
	f.must(about(Render, gone, args{Preset: "small"}))
	fast := f.row(kept, "small")
	f.must(about(Optimize, kept, args{Preset: "small"}))
	stale, err := f.TakeOutput(t.Context(), task.Task{}, strings.NewReader("nobody's"))
	if err != nil {
		t.Fatal(err)
	}
	rendition := f.row(gone, "small").Digest
	f.delete(gone)
	f.Deps.Sweep.Grace = -time.Hour
	got := did(f.must(about(Sweep, asset.Image{}, args{})))
	if got != `{"temporary":0,"released":1,"orphans":0,"renditions":2,"outputs":1,"replays":0} ` {
		t.Error(got)
	}
	for name, want := range map[string]bool{
		blob.SourceName(kept.Source.Digest.String()): true, blob.RenditionName(f.row(kept, "small").Digest.String()): true,
		blob.SourceName(gone.Source.Digest.String()): false, blob.RenditionName(rendition.String()): false,
		blob.RenditionName(fast.Digest.String()): false, blob.OutputName(stale.Digest.String()): false,
	} {
		if f.atHome(name) != want {
			t.Errorf("%s: expected %t", name, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	presets := map[string]string{"big": "w=150", "small": "w=100", "never": "w=9", "bad": "w=70", "late": "w=60"}
	f := newFixture(t, setup{destinations: []string{"x"}, presets: presets, config: func(c *Config) {
		c.Presets["never"], c.Presets["big"] = nil, []string{StepRender}
	}})
	img := f.upload("a", picture(200, 150, 0))
	states := func() string {
		t.Helper()
		d, err := f.Describe(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, p := range d.Presets {
			if (p.Rendition != nil) != (p.State == Rendered || p.State == Optimized) {
				t.Errorf("%+v", p)
			}
			all = append(all, p.Preset+" "+p.State+p.Error)
		}
		return strings.Join(all, ", ")
	}
	if got := states(); got != "bad waiting, big waiting, late waiting, small waiting" {
		t.Error(got)
	}
	f.must(about(Render, img, args{Preset: "small"}))
	f.must(about(Render, img, args{Preset: "big"}))
	f.must(about(Optimize, img, args{Preset: "small"}))
	for range 4 {
		claimed, err := f.tasks.Claim(t.Context(), task.Claim{Functions: []string{Render}, Max: 1, Lease: time.Minute})
		if err != nil || len(claimed) != 1 {
			t.Fatal(claimed, err)
		}
		if strings.Contains(string(claimed[0].Args), `"bad"`) {
			r := task.Report{ID: claimed[0].ID, Lease: claimed[0].Lease, Kind: task.Failed, Error: "no!", Final: true}
			if _, err := f.tasks.Report(t.Context(), []task.Report{r}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := states(); got != "bad failedno!, big rendered, late waiting, small optimized" {
		t.Error(got)
	}
	f.must(about(Publish, img, args{Destination: "x"}))
	d, err := f.Describe(t.Context(), img)
	if err != nil || len(d.Publications) != 1 || len(d.Tasks) != 5 {
		t.Errorf("%+v, %v", d, err)
	}
	if got := strings.Join(f.Presets(), " "); got != "bad big late small" {
		t.Error(got)
	}
	stranger := img
	stranger.Owner = "other"
	if d, err := f.Describe(t.Context(), stranger); err != nil || len(d.Tasks) != 0 || d.Presets[1].Rendition != nil {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDestinationThatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x", "y"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	if err := os.Remove(f.object(img, "", "y")); err != nil {
		t.Fatal(err)
	}
	delete(f.dirs, "x")
	f = newFixture(t, setup{over: f})
	_, err := f.do(about(Reconcile, asset.Image{}, args{}))
	wantKind(t, err, fault.Unavailable, `there is no destination "x"`)
	f.settled() // what is at the other one is mended all the same
	if _, err := os.Stat(f.object(img, "", "y")); err != nil {
		t.Error(err)
	}
}
