package pipeline

import (
	"reflect"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/render"
	"safelight/internal/task"
)

func TestRender(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	if n := f.waiting(Render); n != 1 || f.waiting(Publish) != 1 { // the source
		t.Fatalf("%d renders wait", n)
	}
	out := f.must(about(Render, img, args{Preset: "small"}))
	r := f.row(img, "small")
	if r.Width != 100 || r.Height != 75 || r.Format != format.JPEG || r.Encoder != "" || r.FirstBytes != r.Bytes || r.Pages != 1 {
		t.Errorf("%+v", r)
	}
	if !f.atHome(blob.RenditionName(r.Digest.String())) {
		t.Error("the rendition is not at home")
	}
	if result := out.Result.(renditionResult); !reflect.DeepEqual(result, resultOf(r)) {
		t.Errorf("%+v", result)
	}
	if len(out.Next) != 2 || out.Next[0].Function != Publish || out.Next[1].Function != Optimize || out.Next[0].Owner != "main" || out.Next[1].Owner != "main" {
		t.Errorf("%+v", out.Next)
	}
	f.wantServed(img, "small", r.Digest)
	again := f.must(about(Render, img, args{Preset: "small"}))
	if did(again) != did(out) || f.row(img, "small") != r || f.renders.Load() != 1 {
		t.Errorf("again: %s, %d renders", did(again), f.renders.Load())
	}
	f.emptyCaches(img)
	if status := f.wantServed(img, "small", r.Digest); status != render.FromHome {
		t.Errorf("served from %d", status)
	}
	f.loseAtHome(blob.RenditionName(r.Digest.String())) // the row is there, the bytes are not
	f.emptyCaches(img)
	f.must(about(Render, img, args{Preset: "small"}))
	if !f.atHome(blob.RenditionName(f.row(img, "small").Digest.String())) || f.renders.Load() != 2 {
		t.Error("lost bytes are not made again")
	}
}

func TestRenderOfWhatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{})
	img := f.upload("a", picture(200, 150, 0))
	_, err := f.do(about(Render, img, args{Preset: "nix"}))
	wantKind(t, err, fault.Unavailable, `preset: none of the name "nix"`) // another node may have it
	_, err = f.do(about(Render, asset.Image{}, args{Preset: "small"}))
	wantKind(t, err, fault.Invalid, "image: render needs one")
	k := about(Render, img, args{})
	k.Args = []byte(`{"preset":1}`)
	_, err = f.do(k)
	wantKind(t, err, fault.Invalid, "args: render")
	k = about(Render, img, args{Preset: "small"})
	k.Owner = "other"
	if got := did(f.must(k)); got != `{"skipped":"the image was deleted"} ` {
		t.Errorf("another owner's image: %s", got)
	}
	f.delete(img)
	for _, function := range []string{Render, Optimize, Expire} {
		if got := did(f.must(about(function, img, args{Preset: "small"}))); got != `{"skipped":"the image was deleted"} ` {
			t.Errorf("%s: %s", function, got)
		}
	}
}

func TestRenderWithOtherOptions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.settled()
	old := f.row(img, "small")
	if old.Encoder != "fake 1.0" {
		t.Fatalf("%+v", old)
	}
	f = newFixture(t, setup{over: f, presets: map[string]string{"small": "w=80&format=png"}})
	f.must(about(Render, img, args{Preset: "small"}))
	f.must(about(Publish, img, args{Preset: "small", Destination: "x"}))
	if r := f.row(img, "small"); r.Width != 80 || r.Variant == old.Variant || r.Format != format.PNG || r.Encoder != "" || r.Note != "" {
		t.Errorf("%+v", r)
	}
	f.wantObjects("x", "original.jpg", "small.png") // and no small.jpg
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	out := f.must(about(Render, img, args{Preset: "small"}))
	for _, n := range append(f.ForNew(img), out.Next...) {
		want := map[string]int{Render: task.Prompt, Publish: task.Normal, Optimize: task.Slow}[n.Function]
		if n.Priority != want || n.Image != img.ID || n.Name == "" {
			t.Errorf("%+v", n)
		}
	}
}
