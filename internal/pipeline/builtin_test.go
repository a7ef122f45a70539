package pipeline

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

// scene is a picture with gradients, an edge and texture.
func scene(w, h int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	rng := rand.New(rand.NewPCG(3, 4))
	for y := range h {
		for x := range w {
			v := 120 + 80*math.Sin(float64(x)/17+float64(y)/23)
			if x > w/2 {
				v += rng.Float64()*40 - 20
			}
			m.SetNRGBA(x, y, color.NRGBA{clamp(v), clamp(v*0.8 + float64(y)/4), clamp(200 - v/2), 255})
		}
	}
	return m
}

func clamp(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

func builtin(c *Config) { c.Encoder = EncoderBuiltin }

// accepted serves a preset to a client that accepts formats.
func (f *fixture) accepted(img asset.Image, preset, accept string) asset.Rendition {
	f.t.Helper()
	e, _, err := f.Render.Rendition(f.t.Context(), img, f.presets[preset], plan.ParseAccept(accept))
	if err != nil {
		f.t.Fatal(err)
	}
	defer e.Close()
	return e.Meta
}

func TestBuiltin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: builtin, destinations: []string{"x"}, presets: map[string]string{
		"jpeg": "w=100&format=jpeg", "webp": "w=100&format=webp", "avif": "w=100&format=avif", "png": "w=100&format=png", "q": "w=100&format=jpeg&q=90",
	}})
	img := f.upload("a", scene(300, 200))
	for preset := range f.presets {
		f.must(about(Render, img, args{Preset: preset}))
		fast := f.row(img, preset)
		out := f.must(about(Optimize, img, args{Preset: preset}))
		r := f.row(img, preset)
		n := noteOf(r)
		if r.Encoder == "" {
			if n.Tried < fast.Bytes && !n.Missed || r.Digest != fast.Digest {
				t.Errorf("%s: not replaced: %+v", preset, n)
			}
			continue
		}
		if r.Bytes >= fast.Bytes || r.Format != fast.Format || r.Variant != fast.Variant || r.Encoder != n.Encoder || n.Scores == nil || n.Settings == "" || n.Trials < 1 || n.CPUSeconds <= 0 {
			t.Errorf("%s: %+v, %+v", preset, r, n)
		}
		if preset == "q" {
			if n.Target == "80" || n.Scores.SSIMULACRA2 < 80 {
				t.Errorf("a named quality of 90 became %+v", n)
			}
		} else if n.Target != "80" || n.Scores.SSIMULACRA2 < 80 {
			t.Errorf("%s: %+v", preset, n)
		}
		if len(out.Next) != 1 || out.Next[0].Function != Publish {
			t.Errorf("%s: %+v", preset, out.Next)
		}
		f.wantServed(img, preset, r.Digest)
	}
	if f.row(img, "jpeg").Encoder == "" || f.row(img, "q").Encoder == "" {
		t.Error("a JPEG of a scene can be made smaller")
	}
	if f.encoder.calls != 0 {
		t.Error("the program was asked")
	}
}

// JPEG XL is a preset's own format, and an alternative for who accepts it.
func TestBuiltinJXL(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Formats = []string{"jxl"} }, presets: map[string]string{"own": "w=100&format=jxl", "auto": "w=120&format=auto"}})
	img := f.upload("a", scene(300, 200))
	if _, _, err := f.Render.Rendition(t.Context(), img, f.presets["own"], plan.Accept{}); fault.Of(err) == fault.Unsupported {
		t.Skip("this installation's libvips can't write JPEG XL: ", err)
	}
	for preset := range f.presets {
		f.must(about(Render, img, args{Preset: preset}))
		f.must(about(Optimize, img, args{Preset: preset}))
	}
	if r := f.row(img, "own"); r.Format != format.JXL || r.Note == "" || r.Encoder != "" && noteOf(r).Scores.SSIMULACRA2 < 80 {
		t.Errorf("%+v", r)
	}
	list, err := f.db.AlternativesOf(t.Context(), "main", img.ID)
	if err != nil || len(list) != 1 || list[0].Format != format.JXL || list[0].Preset != "auto" || list[0].Bytes >= f.row(img, "auto").Bytes {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := f.accepted(img, "auto", "image/jxl"); got.Digest != list[0].Digest {
		t.Errorf("who accepts JPEG XL gets %s", got.Format)
	}
	if got := f.accepted(img, "auto", "image/webp"); got.Format != format.JPEG {
		t.Errorf("who doesn't gets %s", got.Format)
	}
}

func TestBuiltinOutOfReach(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Target = "99" }, presets: map[string]string{"webp": "w=100&format=webp"}})
	img := f.upload("a", scene(300, 200))
	f.must(about(Render, img, args{Preset: "webp"}))
	fast := f.row(img, "webp")
	out := f.must(about(Optimize, img, args{Preset: "webp"}))
	if r := f.row(img, "webp"); r.Digest != fast.Digest || r.Encoder != "" || !noteOf(r).Missed || !strings.Contains(f.whyNot(r), "99") || len(out.Next) != 0 {
		t.Errorf("%+v: %s", r, f.whyNot(r))
	}
	f.wantServed(img, "webp", fast.Digest)
}

// A preset with format=auto gets alternatives, and clients the smallest that they accept.
func TestAlternatives(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: builtin, destinations: []string{"x"}, presets: map[string]string{"auto": "w=120&format=auto", "plain": "w=90&format=jpeg"}})
	img := f.upload("a", scene(300, 200))
	for _, preset := range []string{"auto", "plain"} {
		f.must(about(Render, img, args{Preset: preset}))
		f.must(about(Optimize, img, args{Preset: preset}))
	}
	main := f.row(img, "auto")
	list, err := f.db.AlternativesOf(t.Context(), "main", img.ID)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	var smallest catalog.Rendition
	for _, r := range list {
		n := noteOf(r)
		if r.Preset != "auto" || r.Bytes >= main.Bytes || n.Scores.SSIMULACRA2 < 80 || n.Missed || r.Format == main.Format {
			t.Errorf("%+v %+v", r, n)
		}
		if smallest.Bytes == 0 || r.Bytes < smallest.Bytes {
			smallest = r
		}
	}
	if got := f.accepted(img, "auto", "image/avif,image/webp"); got.Digest != smallest.Digest {
		t.Errorf("served %s of %d bytes; the smallest is %s of %d", got.Format, got.Bytes, smallest.Format, smallest.Bytes)
	}
	if got := f.accepted(img, "auto", "text/html"); got.Digest != main.Digest {
		t.Errorf("served %s to a client that accepts nothing new", got.Format)
	}
	for _, r := range list {
		f.emptyCaches(img)
		if got := f.accepted(img, "auto", r.Format.MIME()); got.Digest != r.Digest {
			t.Errorf("%s: served %s", r.Format, got.Format)
		}
	}
	before := f.renders.Load()
	if out := f.must(about(Render, img, args{Preset: "auto"})); len(out.Next) != 1 || f.optimizable(f.row(img, "auto")) {
		t.Errorf("it is done again: %s", did(out))
	}
	if got := did(f.must(about(Optimize, img, args{Preset: "auto"}))); f.renders.Load() != before || strings.Contains(got, "skipped") {
		t.Errorf("%s", got)
	}
	d, err := f.Describe(t.Context(), img)
	if err != nil || len(d.Presets) != 2 || len(d.Presets[0].Alternatives) != len(list) || len(d.Presets[1].Alternatives) != 0 {
		t.Errorf("%+v %v", d.Presets, err)
	}
	if err := f.Purge.Delete(t.Context(), "main", img.ID); err != nil {
		t.Fatal(err)
	}
	if list, _ := f.db.AlternativesTo(t.Context(), main.Variant); len(list) != 0 {
		t.Error("alternatives outlive their image")
	}
}

// A format that is configured later is made of what is optimised already.
func TestAlternativesLater(t *testing.T) {
	t.Parallel()
	presets := map[string]string{"auto": "w=100&format=auto"}
	first := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Formats = nil }, presets: presets})
	img := first.upload("a", scene(300, 200))
	first.must(about(Render, img, args{Preset: "auto"}))
	first.must(about(Optimize, img, args{Preset: "auto"}))
	main := first.row(img, "auto")
	f := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Formats = []string{"webp"} }, presets: presets, over: first})
	if !f.optimizable(main) {
		t.Fatal("nobody would make it")
	}
	f.must(about(Optimize, img, args{Preset: "auto"}))
	list, err := f.db.AlternativesTo(t.Context(), main.Variant)
	if err != nil || len(list) != 1 || list[0].Format != format.WebP || f.row(img, "auto").Digest != main.Digest {
		t.Errorf("%+v %v", list, err)
	}
	g := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Formats = []string{"avif", "webp"} }, presets: presets, over: first})
	g.must(about(Optimize, img, args{Preset: "auto"}))
	if list, _ = f.db.AlternativesTo(t.Context(), main.Variant); len(list) != 2 {
		t.Errorf("the one before was not kept: %+v", list)
	}
}

// An image that goes while it is optimised leaves nothing.
func TestAlternativesOfADeletedImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: builtin, presets: map[string]string{"auto": "w=100&format=auto"}})
	img := f.upload("a", scene(200, 150))
	f.must(about(Render, img, args{Preset: "auto"}))
	row := f.row(img, "auto")
	if err := f.Purge.Delete(t.Context(), "main", img.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.db.PutAlternatives(t.Context(), "main", row, []catalog.Rendition{row}); fault.Of(err) != fault.NotFound {
		t.Error(err)
	}
	if got := did(f.must(about(Optimize, img, args{Preset: "auto"}))); !strings.Contains(got, whyGone) {
		t.Error(got)
	}
}

// A changed target is reached by a backfill; what is not used is not told as
// what is served.
func TestBuiltinForAnotherTarget(t *testing.T) {
	t.Parallel()
	presets := map[string]string{"auto": "w=100&format=auto", "named": "w=100&format=jpeg&q=90"}
	low := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Target = "60" }, presets: presets})
	img := low.upload("a", scene(300, 200))
	for preset := range presets {
		low.must(about(Render, img, args{Preset: preset}))
		low.must(about(Optimize, img, args{Preset: preset}))
	}
	first, named := low.row(img, "auto"), low.row(img, "named")
	f := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Target = "72" }, presets: presets, over: low})
	if !f.optimizable(first) || f.optimizable(named) {
		t.Fatalf("%s; named: %s", f.whyNot(first), f.whyNot(named))
	}
	f.must(about(Optimize, img, args{Preset: "auto"}))
	r := f.row(img, "auto")
	n := noteOf(r)
	if r.Bytes <= first.Bytes || r.Bytes >= r.FirstBytes || n.Target != "72" || n.Scores.SSIMULACRA2 < 72 || f.optimizable(r) {
		t.Errorf("%+v %+v", r, n)
	}
	f.wantServed(img, "auto", r.Digest)
	list, err := f.db.AlternativesTo(t.Context(), r.Variant)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, a := range list {
		if noteOf(a).Scores.SSIMULACRA2 < 72 {
			t.Errorf("%+v", noteOf(a))
		}
	}
	high := newFixture(t, setup{config: func(c *Config) { builtin(c); c.Target = "95" }, presets: presets, over: low})
	high.must(about(Optimize, img, args{Preset: "auto"}))
	same := high.row(img, "auto")
	n = noteOf(same)
	if same.Digest != r.Digest || same.Encoder != r.Encoder || n.Scores == nil || n.Scores.SSIMULACRA2 > 90 || n.Rejected == nil || n.Tried == 0 || high.optimizable(same) {
		t.Errorf("a target that takes more than the fast file: %+v %+v", same, n)
	}
}

// The same source uploaded again gets what the first has, as what it is.
func TestBuiltinTwin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: builtin, presets: map[string]string{"auto": "w=100&format=auto"}})
	img := f.upload("a", scene(300, 200))
	f.must(about(Render, img, args{Preset: "auto"}))
	f.must(about(Optimize, img, args{Preset: "auto"}))
	r := f.row(img, "auto")
	twin := f.upload("b", scene(300, 200))
	f.must(about(Render, twin, args{Preset: "auto"}))
	got := f.row(twin, "auto")
	if got.Digest != r.Digest || got.FirstBytes != r.FirstBytes || got.Encoder != r.Encoder || noteOf(got).Scores == nil {
		t.Errorf("%+v, of %+v", got, r)
	}
	f.must(about(Optimize, twin, args{Preset: "auto"}))
	if err := f.Purge.Delete(t.Context(), "main", img.ID); err != nil {
		t.Fatal(err)
	}
	if list, _ := f.db.AlternativesTo(t.Context(), r.Variant); len(list) == 0 {
		t.Error("the twin has no alternatives of its own")
	}
}

// Where the main format comes out smallest, every client gets it.
func TestNoSmallerAlternative(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{config: builtin, presets: map[string]string{"auto": "w=100&format=auto"}})
	img := f.upload("a", scene(300, 200))
	f.must(about(Render, img, args{Preset: "auto"}))
	f.must(about(Optimize, img, args{Preset: "auto"}))
	r := f.row(img, "auto")
	if err := f.db.PutAlternatives(t.Context(), "main", r, nil); err != nil {
		t.Fatal(err)
	}
	if got := f.accepted(img, "auto", "image/avif,image/webp"); got.Digest != r.Digest {
		t.Errorf("served %s of %d bytes; the main one has %d", got.Format, got.Bytes, r.Bytes)
	}
}
