package worker

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

func TestEveryFormatRoundTrips(t *testing.T) {
	source := writePNG(t, quarters(64, 48, red, green, blue, yellow))
	clearCorner := writePNG(t, quarters(64, 48, red, green, blue, clear))
	grey := image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range grey.Pix {
		grey.Pix[i] = 90
	}
	for _, c := range []struct {
		save      plan.Save
		tolerance int
	}{
		{plan.Save{Format: format.JPEG, Quality: 90}, 24},
		{plan.Save{Format: format.JPEG, Quality: 90, Baseline: true}, 24},
		{plan.Save{Format: format.PNG}, 0},
		{plan.Save{Format: format.PNG, Effort: 1}, 0},
		{plan.Save{Format: format.WebP, Quality: 90}, 24},
		{plan.Save{Format: format.WebP, Lossless: true, Effort: 1}, 0},
		{plan.Save{Format: format.AVIF, Quality: 80, Effort: 1}, 24},
		{plan.Save{Format: format.GIF}, 24},
		{plan.Save{Format: format.JXL, Quality: 90}, 24},
		{plan.Save{Format: format.JXL, Quality: 90, Effort: 1}, 24},
		{plan.Save{Format: format.JXL, Lossless: true}, 0},
	} {
		f := c.save.Format
		if len(writes(t, f)) == 0 {
			continue
		}
		job := plan.Job{Load: plan.Load{Format: format.PNG}, Steps: []plan.Step{{SRGB: true}}, Save: &c.save}
		out, result, err := execute(t, job, source)
		if err != nil {
			t.Fatal(f, err)
		}
		if result.Width != 64 || result.Height != 48 || result.Pages != 1 {
			t.Errorf("%s: %+v", f, result)
		}
		header, err := format.Probe(bytes.NewReader(out), int64(len(out)))
		if err != nil || header.Format != f || header.Width != 64 || header.Height != 48 || header.Alpha && !f.HasAlpha() {
			t.Errorf("%s: %+v, %v", f, header, err)
		}
		m := decode(t, f, out, 0)
		sized(t, m, 64, 48)
		for _, s := range []spot{{4, 4, red}, {60, 4, green}, {4, 44, blue}, {60, 44, yellow}} {
			near(t, m, s.x, s.y, s.c, c.tolerance)
		}
		if out, _, err = execute(t, job, clearCorner); err != nil {
			t.Fatal(f, err)
		}
		if f.HasAlpha() {
			near(t, decode(t, f, out, 0), 60, 44, clear, 0)
		}
		if out, _, err = execute(t, job, writePNG(t, grey)); err != nil {
			t.Fatal(f, err)
		}
		near(t, decode(t, f, out, 0), 30, 30, color.NRGBA{90, 90, 90, 255}, 4)
	}
}

func TestProgressive(t *testing.T) {
	source := writePNG(t, quarters(64, 48, red, green, blue, yellow))
	for baseline, marker := range map[bool][]byte{true: {0xff, 0xc0}, false: {0xff, 0xc2}} {
		out, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.PNG},
			Save: &plan.Save{Format: format.JPEG, Quality: 80, Baseline: baseline}}, source)
		if err != nil || !bytes.Contains(out, marker) {
			t.Errorf("baseline %v: %v, no %x", baseline, err, marker)
		}
		if bytes.Contains(out, []byte("Exif")) || bytes.Contains(out, []byte("ICC_PROFILE")) {
			t.Error("there is metadata in the output")
		}
	}
}

// All formats with frames keep them, their delays and the loop, through every kind of step.
func TestAnimation(t *testing.T) {
	frames := []color.Color{red, green, blue, yellow}
	source := animation(t, 60, 40, []int{5, 10, 20, 40}, 3, frames...)
	mark := writePNG(t, flat(4, 4, white))
	job := plan.Job{Load: plan.Load{Format: format.GIF, Pages: -1}, Steps: []plan.Step{
		{Crop: &plan.Crop{Rect: geom.Rect{X: 0, Y: 0, W: 50, H: 40}, Of: geom.Size{W: 60, H: 40}}},
		{Resize: &plan.Resize{To: geom.Size{W: 100, H: 80}, Exact: true}},
		{SRGB: true},
		{Window: &plan.Window{Size: geom.Size{W: 80, H: 60}, Gravity: geom.Gravity{X: 0.5, Y: 1}}},
		{Rotate: &plan.Rotate{Degrees: 90}},
		{Flip: &plan.Flip{Horizontal: true, Vertical: true}},
		{Canvas: &plan.Canvas{Size: geom.Size{W: 70, H: 90}, Gravity: geom.Center, Background: plan.RGB{A: 255}}},
		{Watermark: &plan.Watermark{Format: format.PNG, Gravity: geom.Center, Opacity: 1}},
		{Text: &plan.Text{String: "x", Size: 8, Opacity: 1, Color: plan.RGB{A: 255}}},
	}, Save: &plan.Save{Format: format.WebP, Lossless: true}}
	for _, f := range []format.Format{format.WebP, format.GIF} {
		job.Save.Format = f
		out, result, err := execute(t, job, source, mark)
		if err != nil {
			t.Fatal(f, err)
		}
		if result.Width != 70 || result.Height != 90 || result.Pages != 4 {
			t.Fatalf("%s: %+v", f, result)
		}
		p := newPicture(Files{Source: memfd(t, out), Overlay: -1, Output: -1})
		if err := p.load(plan.Load{Format: f, Pages: -1}); err != nil {
			t.Fatal(err)
		}
		want := []int{50, 100, 200, 400}
		for i := range want {
			if len(p.delay) != 4 || p.delay[i] != want[i] {
				t.Fatalf("%s: delays %v instead of %v", f, p.delay, want)
			}
		}
		if p.loop != 3 && p.loop != 4 { // GIF files and libvips count repetitions and plays
			t.Errorf("%s: loop %d", f, p.loop)
		}
		p.close()
		for i, c := range frames {
			m := decode(t, f, out, i)
			sized(t, m, 70, 90)
			near(t, m, 2, 2, black, 8)
			near(t, m, 35, 45, white, 8)
			near(t, m, 7, 7, c.(color.NRGBA), 12)
			near(t, m, 62, 82, c.(color.NRGBA), 12)
		}
	}
	// A format without frames gets the first.
	job.Save.Format = format.PNG
	out, result, err := execute(t, job, source, mark)
	if err != nil || result.Pages != 1 {
		t.Fatal(result, err)
	}
	near(t, readPNG(t, out), 7, 7, red, 2)
}

func TestAnimationPart(t *testing.T) {
	source := animation(t, 20, 10, []int{5, 10, 20, 40}, 0, red, green, blue, yellow)
	job := plan.Job{Load: plan.Load{Format: format.GIF, Page: 1, Pages: 2}, Save: &plan.Save{Format: format.GIF}}
	out, result, err := execute(t, job, source)
	if err != nil || result.Pages != 2 {
		t.Fatal(result, err)
	}
	g, err := gif.DecodeAll(bytes.NewReader(out))
	if err != nil || len(g.Image) != 2 || g.Delay[0] != 10 || g.Delay[1] != 20 {
		t.Fatal(err, g)
	}
	// One frame, enlarged to a multiple of its height, is still one frame.
	job = plan.Job{Load: plan.Load{Format: format.GIF, Page: 2}, Save: &plan.Save{Format: format.WebP, Lossless: true},
		Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 40, H: 20}, Exact: true}}}}
	out, result, err = execute(t, job, source)
	if err != nil || result.Pages != 1 || result.Height != 20 {
		t.Fatal(result, err)
	}
	near(t, decode(t, format.WebP, out, 0), 20, 15, blue, 8)
}

// encodeAs writes a picture that Go's own encoders can't, metadata and all.
func encodeAs(t testing.TB, operation string, make func(s *vips.Scope) (*vips.Image, error), args ...vips.Arg) []byte {
	t.Helper()
	s := vips.NewScope()
	defer s.Close()
	i, err := make(s)
	if err != nil {
		t.Fatal(err)
	}
	fd := memfd(t, nil)
	target, err := s.TargetFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Call(operation, append(args, vips.Set("in", i), vips.Set("target", target))...); err != nil {
		t.Fatal(err)
	}
	return contents(t, fd)
}

func colourImage(s *vips.Scope, c color.NRGBA) (*vips.Image, error) {
	i, err := s.FromMemory(bytes.Repeat([]byte{c.R, c.G, c.B}, 32*32), 32, 32, 3)
	if err != nil {
		return nil, err
	}
	return s.Op("copy", i, vips.Set("interpretation", "srgb"))
}

func TestSRGB(t *testing.T) {
	p3 := encodeAs(t, "pngsave_target", func(s *vips.Scope) (*vips.Image, error) {
		i, err := colourImage(s, green)
		if err != nil {
			return nil, err
		}
		return s.Op("icc_transform", i, vips.Set("output_profile", "p3"), vips.Set("input_profile", "srgb"))
	})
	cmyk := encodeAs(t, "jpegsave_target", func(s *vips.Scope) (*vips.Image, error) {
		i, err := colourImage(s, color.NRGBA{120, 140, 100, 255})
		if err != nil {
			return nil, err
		}
		return s.Op("icc_transform", i, vips.Set("output_profile", "cmyk"), vips.Set("input_profile", "srgb"))
	}, vips.Set("Q", 95))
	bareCMYK := encodeAs(t, "jpegsave_target", func(s *vips.Scope) (*vips.Image, error) {
		i, err := colourImage(s, white)
		if err != nil {
			return nil, err
		}
		return s.Op("colourspace", i, vips.Set("space", "cmyk"))
	}, vips.Set("strip", true))
	broken := encodeAs(t, "pngsave_target", func(s *vips.Scope) (*vips.Image, error) {
		i, err := colourImage(s, green)
		if err == nil {
			i.SetBlob(profileField, bytes.Repeat([]byte{7}, 300))
		}
		return i, err
	})
	deep := image.NewNRGBA64(image.Rect(0, 0, 8, 8))
	deepGrey := image.NewGray16(image.Rect(0, 0, 8, 8))
	for y := range 8 {
		for x := range 8 {
			deep.SetNRGBA64(x, y, color.NRGBA64{0x8000, 0x4000, 0xffff, 0x8080})
			deepGrey.SetGray16(x, y, color.Gray16{0x8000})
		}
	}
	for _, c := range []struct {
		name      string
		format    format.Format
		source    []byte
		want      color.NRGBA
		tolerance int
	}{
		{"Display P3", format.PNG, p3, green, 3},
		{"CMYK with profile", format.JPEG, cmyk, color.NRGBA{120, 140, 100, 255}, 14},
		{"CMYK without", format.JPEG, bareCMYK, white, 6},
		{"damaged profile", format.PNG, broken, green, 0},
		{"16 bit with alpha", format.PNG, writePNG(t, deep), color.NRGBA{0x80, 0x40, 0xff, 0x80}, 1},
		{"16 bit grey", format.PNG, writePNG(t, deepGrey), color.NRGBA{0x80, 0x80, 0x80, 0xff}, 1},
	} {
		job := plan.Job{Load: plan.Load{Format: c.format}, Steps: []plan.Step{{SRGB: true}}, Save: &plan.Save{Format: format.PNG}}
		out, _, err := execute(t, job, c.source)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if bytes.Contains(out, []byte("iCCP")) || out[24] != 8 {
			t.Errorf("%s: the output has a profile, or %d bits", c.name, out[24])
		}
		m := readPNG(t, out)
		t.Log(c.name, m.At(4, 4))
		near(t, m, 4, 4, c.want, c.tolerance)
	}
	job := plan.Job{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.PNG, KeepICC: true}}
	if out, _, err := execute(t, job, p3); err != nil || !bytes.Contains(out, []byte("iCCP")) {
		t.Error("a profile to keep is gone", err)
	}
}

// What the camera wrote does not come out again, with or without the profile.
func TestMetadataGoes(t *testing.T) {
	source := encodeAs(t, "jpegsave_target", func(s *vips.Scope) (*vips.Image, error) {
		i, err := colourImage(s, green)
		if err != nil {
			return nil, err
		}
		if i, err = s.Op("icc_transform", i, vips.Set("output_profile", "p3"), vips.Set("input_profile", "srgb")); err != nil {
			return nil, err
		}
		i.SetBlob("xmp-data", []byte("<x:xmpmeta>secret place</x:xmpmeta>"))
		i.SetBlob("iptc-data", []byte("Photoshop 3.0\x00secret place"))
		i.SetInt("orientation", 6)
		return i, nil
	})
	if !bytes.Contains(source, []byte("secret place")) {
		t.Fatal("the test's picture has no metadata")
	}
	for _, f := range writes(t, format.JPEG, format.PNG, format.WebP, format.AVIF, format.JXL) {
		for _, keep := range []bool{false, true} {
			out, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.JPEG},
				Save: &plan.Save{Format: f, Quality: 80, Effort: 1, KeepICC: keep}}, source)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(out, []byte("secret place")) {
				t.Errorf("%s, keep ICC %v: metadata came through", f, keep)
			}
			if bytes.Contains(out, []byte("acsp")) != keep && f != format.PNG && f != format.JXL { // which have it compressed
				t.Errorf("%s, keep ICC %v: profile %v", f, keep, !keep)
			}
		}
	}
}

func TestShrinkOnLoad(t *testing.T) {
	source := writeJPEG(t, quarters(400, 240, red, green, blue, yellow))
	job := plan.Job{Load: plan.Load{Format: format.JPEG, Shrink: 4}, Steps: []plan.Step{
		{Crop: &plan.Crop{Rect: geom.Rect{X: 200, Y: 120, W: 200, H: 120}, Of: geom.Size{W: 400, H: 240}}},
		{Resize: &plan.Resize{To: geom.Size{W: 40, H: 24}, Exact: true}},
	}, Save: &plan.Save{Format: format.PNG}}
	out, _, err := execute(t, job, source)
	if err != nil {
		t.Fatal(err)
	}
	m := readPNG(t, out)
	sized(t, m, 40, 24)
	near(t, m, 20, 12, yellow, 20)
}

func TestErrors(t *testing.T) {
	good := writePNG(t, quarters(64, 48, red, green, blue, yellow))
	jpg := writeJPEG(t, quarters(640, 480, red, green, blue, yellow))
	save := &plan.Save{Format: format.PNG}
	for _, c := range []struct {
		name   string
		job    plan.Job
		source []byte
		kind   fault.Kind
		code   string
	}{
		{"no picture", plan.Job{Load: plan.Load{Format: format.JPEG}, Save: save}, []byte("hello"), fault.Unprocessable, "undecodable-image"},
		{"empty", plan.Job{Load: plan.Load{Format: format.WebP}, Inspect: true}, nil, fault.Unprocessable, "undecodable-image"},
		{"another format", plan.Job{Load: plan.Load{Format: format.GIF}, Save: save}, good, fault.Unprocessable, "undecodable-image"},
		{"truncated, strict", plan.Job{Load: plan.Load{Format: format.JPEG, Strict: true}, Inspect: true}, jpg[:len(jpg)/2], fault.Unprocessable, "undecodable-image"},
		{"unknown format", plan.Job{Save: save}, good, fault.Unsupported, ""},
		{"unknown output", plan.Job{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.TIFF}}, good, fault.Unsupported, ""},
		{"too long for WebP", plan.Job{Load: plan.Load{Format: format.PNG}, Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 17000, H: 2}, Exact: true}}},
			Save: &plan.Save{Format: format.WebP}}, good, fault.Unprocessable, "side-too-long"},
		{"no overlay", plan.Job{Load: plan.Load{Format: format.PNG}, Steps: []plan.Step{{Watermark: &plan.Watermark{Format: format.PNG}}}, Save: save}, good, fault.Invalid, ""},
	} {
		_, _, err := execute(t, c.job, c.source)
		if fault.Of(err) != c.kind || (c.code != "" && fault.As(err).Code != c.code) {
			t.Errorf("%s: %v (%v); expected %v %s", c.name, err, fault.Of(err), c.kind, c.code)
			continue
		}
		t.Log(c.name+":", fault.As(err).Message, "/", fault.As(err).Cause)
	}
	if _, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.JPEG}, Save: save}, jpg[:len(jpg)/2]); err != nil {
		t.Error("half a picture should be shown as far as it goes:", err)
	}
}

func TestNothingLeaks(t *testing.T) {
	source := animation(t, 60, 40, []int{5, 10, 20, 40}, 3, red, green, blue, yellow)
	jpg := writeJPEG(t, quarters(640, 480, red, green, blue, yellow))
	once := func() {
		for _, steps := range [][]plan.Step{{{Trim: &plan.Trim{Threshold: 5}}, {Blur: 2}, {Rotate: &plan.Rotate{Degrees: 7}}}, {{Resize: &plan.Resize{To: geom.Size{W: 9}}}}} {
			_, _, _ = execute(t, plan.Job{Load: plan.Load{Format: format.GIF, Pages: -1}, Steps: steps, Save: &plan.Save{Format: format.WebP}}, source)
			_, _, _ = execute(t, plan.Job{Load: plan.Load{Format: format.JPEG, Shrink: 2, Strict: true}, Steps: steps, Save: &plan.Save{Format: format.JPEG}}, jpg[:len(jpg)*2/3])
			_, _, _ = execute(t, plan.Job{Load: plan.Load{Format: format.JPEG, Shrink: 8}, Inspect: true}, jpg)
		}
	}
	once()
	allocations, bytes, files := vips.Tracked()
	for range 20 {
		once()
	}
	// A thread of libvips says that it has done its work before it gives back
	// what it held for it, so the count may lag behind on a busy machine.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		a, b, f := vips.Tracked()
		if a <= allocations && b <= bytes && f <= files {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("libvips held %d blocks, %d bytes, %d files; now %d, %d, %d", allocations, bytes, files, a, b, f)
		}
	}
}
