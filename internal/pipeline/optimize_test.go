package pipeline

import (
	"image"
	"strings"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/fault"
	"safelight/internal/render"
)

func TestOptimize(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	fast := f.row(img, "small")
	f.wantServed(img, "small", fast.Digest)
	epoch := f.Purge.Epochs().Of("main", img.Key).Load()
	out := f.must(about(Optimize, img, args{Preset: "small"}))
	r := f.row(img, "small")
	if r.Bytes >= fast.Bytes || r.Encoder != "fake 1.0" || r.FirstBytes != fast.Bytes || r.Variant != fast.Variant || r.Digest == fast.Digest || r.Note == "" {
		t.Errorf("%+v", r)
	}
	result := out.Result.(renditionResult)
	if result.Before != fast.Bytes || result.Bytes != r.Bytes || result.CPUSeconds != 2 || result.Encoder != "fake 1.0" || f.saved.Load() != fast.Bytes-r.Bytes {
		t.Errorf("%+v, %d saved", result, f.saved.Load())
	}
	if len(out.Next) != 1 || out.Next[0].Function != Publish || out.Next[0].Owner != "main" {
		t.Errorf("%+v", out.Next)
	}
	if status := f.wantServed(img, "small", r.Digest); status != render.FromMemory {
		t.Errorf("served from %d", status)
	}
	if f.Purge.Epochs().Of("main", img.Key).Load() == epoch {
		t.Error("prepared answers go on with the larger one")
	}
	f.emptyCaches(img)
	if status := f.wantServed(img, "small", r.Digest); status != render.FromHome {
		t.Errorf("served from %d", status)
	}
	if out := f.must(about(Render, img, args{Preset: "small"})); f.row(img, "small") != r || len(out.Next) != 1 {
		t.Errorf("a render has replaced it: %s", did(out))
	}
}

// A node that dies when the row is stored and the report is not leaves a task
// that is carried out again: what follows must follow.
func TestOptimizeAfterACrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	fast := f.row(img, "small")
	first := f.must(about(Optimize, img, args{Preset: "small"}))
	r := f.row(img, "small")
	data, _ := f.served(img, "small")
	f.emptyCaches(img)
	f.Render.Adopt(t.Context(), fast.Rendition, strings.NewReader(string(make([]byte, fast.Bytes)))) // as before the row changed
	again := f.must(about(Optimize, img, args{Preset: "small"}))
	if len(again.Next) != 1 || again.Next[0].Function != Publish || did(again) != did(first) {
		t.Errorf("%s, then %s", did(first), did(again))
	}
	if f.row(img, "small") != r || f.encoder.calls != 1 {
		t.Errorf("%d encodings, %+v", f.encoder.calls, f.row(img, "small"))
	}
	if now, _ := f.served(img, "small"); string(now) != string(data) {
		t.Error("the caches go on with the larger one")
	}
}

func TestOptimizeThatIsNoSmaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	f.encoder.encode = jpegOf(100)
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	fast := f.row(img, "small")
	out := f.must(about(Optimize, img, args{Preset: "small"}))
	r := f.row(img, "small")
	if r.Digest != fast.Digest || r.Encoder != "" || !strings.Contains(r.Note, `"tried":`) || len(out.Next) != 0 {
		t.Errorf("%s: %+v", did(out), r)
	}
	if result := out.Result.(renditionResult); result.Tried <= result.Bytes || result.Bytes != fast.Bytes || f.saved.Load() != 0 {
		t.Errorf("%+v", result)
	}
	if out := f.must(about(Render, img, args{Preset: "small"})); len(out.Next) != 1 {
		t.Errorf("it is tried again: %s", did(out))
	}
	if got := did(f.must(about(Optimize, img, args{Preset: "small"}))); !strings.Contains(got, "no smaller") || f.encoder.calls != 1 {
		t.Errorf("%s, %d calls", got, f.encoder.calls)
	}
	f.wantServed(img, "small", fast.Digest)
}

func TestOptimizeRefusesAResult(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		encode func(image.Image) []byte
		err    error
		kind   fault.Kind
		says   string
	}{
		"of another size":   {encode: func(image.Image) []byte { return jpegOf(10)(picture(99, 75, 0)) }, kind: fault.Unprocessable, says: "99×75"},
		"of another format": {encode: func(image.Image) []byte { return pngOf(picture(100, 75, 0)) }, kind: fault.Unprocessable, says: "png"},
		"that is nothing":   {encode: func(image.Image) []byte { return []byte("hello") }, kind: fault.Unprocessable, says: "no picture"},
		"that is empty":     {encode: func(image.Image) []byte { return nil }, kind: fault.Unprocessable, says: "no picture"},
		"that is truncated": {encode: func(m image.Image) []byte { b := jpegOf(30)(m); return b[:len(b)/2] }, kind: fault.Unprocessable},
		"that failed":       {err: fault.New(fault.Timeout, "too slow"), kind: fault.Timeout, says: "too slow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, setup{})
			f.encoder.encode, f.encoder.err = c.encode, c.err
			img := f.upload("a", picture(200, 150, 0))
			f.must(about(Render, img, args{Preset: "small"}))
			fast := f.row(img, "small")
			_, err := f.do(about(Optimize, img, args{Preset: "small"}))
			wantKind(t, err, c.kind, c.says)
			if f.row(img, "small") != fast {
				t.Errorf("%+v", f.row(img, "small"))
			}
			f.wantServed(img, "small", fast.Digest)
		})
	}
}

func TestOptimizeSkips(t *testing.T) {
	t.Parallel()
	presets := map[string]string{"small": "w=100", "png": "w=50&format=png", "large": "w=150", "not": "w=60"}
	f := newFixture(t, setup{presets: presets, config: func(c *Config) { c.Presets["not"] = []string{StepRender} }})
	f.OptimizePixels = 100 * 75
	img := f.upload("a", picture(200, 150, 0))
	if got := did(f.must(about(Optimize, img, args{Preset: "small"}))); got != `{"skipped":"there is no rendition yet"} ` {
		t.Error(got)
	}
	for preset, next := range map[string]int{"small": 1, "png": 0, "large": 0, "not": 0} {
		out := f.must(about(Render, img, args{Preset: preset}))
		if len(out.Next) != next {
			t.Errorf("%s: %s", preset, did(out))
		}
		if got := did(f.must(about(Optimize, img, args{Preset: preset}))); strings.Contains(got, "skipped") != (next == 0) {
			t.Errorf("%s: %s", preset, got)
		}
	}
	if f.encoder.calls != 1 {
		t.Errorf("%d encodings", f.encoder.calls)
	}
	_, err := f.do(about(Optimize, img, args{Preset: "nix"}))
	wantKind(t, err, fault.Unavailable, "nix")
}

// The encoder takes long: the image may be deleted, and the preset rendered
// with other options, meanwhile.
func TestOptimizeMeetsADelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	for _, encode := range []func(image.Image) []byte{jpegOf(20), jpegOf(100)} {
		img := f.upload("a", picture(200, 150, 0))
		f.must(about(Render, img, args{Preset: "small"}))
		f.encoder.encode, f.encoder.before = encode, func() { f.delete(img) }
		if got := did(f.must(about(Optimize, img, args{Preset: "small"}))); got != `{"skipped":"the image was deleted"} ` {
			t.Error(got)
		}
		f.settled()
	}
	f.wantObjects("x")
	swept := f.must(about(Sweep, asset.Image{}, args{}))
	if !strings.Contains(did(swept), `"renditions":`) {
		t.Error(did(swept))
	}
}

func TestOptimizeMeetsARender(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{})
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	other := newFixture(t, setup{over: f, presets: map[string]string{"small": "w=100&sat=0.5"}})
	if got := did(other.must(about(Optimize, img, args{Preset: "small"}))); !strings.Contains(got, "skipped") || other.encoder.calls != 0 {
		t.Errorf("a rendition of other options was optimised: %s", got)
	}
	for _, encode := range []func(image.Image) []byte{jpegOf(20), jpegOf(100)} {
		f.must(about(Render, img, args{Preset: "small"}))
		f.encoder.encode, f.encoder.before = encode, func() { other.must(about(Render, img, args{Preset: "small"})) }
		if got := did(f.must(about(Optimize, img, args{Preset: "small"}))); !strings.Contains(got, "skipped") {
			t.Error(got)
		}
		variant, _, err := other.Render.Identify(t.Context(), img, other.presets["small"])
		if r := f.row(img, "small"); err != nil || r.Variant != variant || r.Encoder != "" || r.Note != "" {
			t.Errorf("what was rendered meanwhile is lost: %+v, %v", r, err)
		}
		if !f.atHome(blob.RenditionName(f.row(img, "small").Digest.String())) {
			t.Error("its bytes are not at home")
		}
	}
}
