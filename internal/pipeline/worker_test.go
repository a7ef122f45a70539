package pipeline

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/task"
	"safelight/internal/work"
)

// finish takes over what a worker has uploaded for a task; nil is nothing.
func (f *fixture) finish(k task.Task, data []byte) (work.Outcome, error) {
	f.t.Helper()
	if data != nil {
		out, err := f.TakeOutput(f.t.Context(), k, bytes.NewReader(data))
		if err != nil {
			f.t.Fatal(err)
		}
		k.Output = &out
	}
	return f.functions[k.Function].Finish(f.t.Context(), k, nil)
}

// outside is a fixture whose optimisations are left to workers outside.
func outside(t *testing.T, s setup) *fixture {
	f := newFixture(t, s)
	f.Encoder = nil
	return f
}

func TestRenditionsOfWorkers(t *testing.T) {
	t.Parallel()
	f := outside(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	k := about(Render, img, args{Preset: "small"})
	bomb := jpegOf(90)(picture(16, 16, 0))
	i := bytes.Index(bomb, []byte{0xff, 0xc0})
	copy(bomb[i+5:], []byte{0xea, 0x60, 0xea, 0x60}) // 60000×60000 px
	whole := jpegOf(80)(picture(100, 75, 0))
	for name, c := range map[string]struct {
		data []byte
		kind fault.Kind
		says string
	}{
		"nothing":        {nil, fault.Invalid, "upload the result"},
		"no picture":     {[]byte("hello"), fault.Unsupported, ""},
		"empty":          {[]byte{}, fault.Unsupported, ""},
		"another format": {pngOf(picture(100, 75, 0)), fault.Unprocessable, "the output is png; this preset's renditions are jpeg"},
		"another size":   {jpegOf(80)(picture(100, 50, 0)), fault.Unprocessable, "the output is 100×50 px; this preset's rendition of the image is 100×75 px"},
		"a bomb":         {bomb, fault.Unprocessable, "60000×60000 px"},
		"truncated":      {whole[:len(whole)*2/3], fault.Unprocessable, ""},
		"a header only":  {whole[:bytes.Index(whole, []byte{0xff, 0xda})], fault.Unprocessable, ""},
	} {
		_, err := f.finish(k, c.data)
		if err == nil || fault.Of(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%s); expected %s with %q", name, err, fault.Of(err), c.kind, c.says)
		}
	}
	if _, err := f.db.RenditionOf(t.Context(), "main", img.ID, "small"); fault.Of(err) != fault.NotFound {
		t.Fatalf("what was refused is kept: %v", err)
	}
	out, err := f.finish(k, whole)
	if err != nil {
		t.Fatal(err)
	}
	r := f.row(img, "small")
	if r.Digest != asset.Digest(sha256.Sum256(whole)) || r.Width != 100 || r.Height != 75 || r.Format != format.JPEG || r.Encoder != "" {
		t.Errorf("%+v", r)
	}
	if len(out.Next) != 2 || out.Next[0].Function != Publish || out.Next[1].Function != Optimize {
		t.Errorf("%s", did(out))
	}
	f.wantServed(img, "small", r.Digest)
	f.emptyCaches(img)
	f.wantServed(img, "small", r.Digest)
	again, err := f.finish(k, whole)
	if err != nil || did(again) != did(out) || f.renders.Load() != 0 {
		t.Errorf("%s, %v", did(again), err)
	}
	f.delete(img)
	if out, err := f.finish(k, whole); err != nil || !strings.Contains(did(out), whyGone) {
		t.Errorf("%s, %v", did(out), err)
	}
}

func TestOptimisationsOfWorkers(t *testing.T) {
	t.Parallel()
	f := outside(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	k := about(Optimize, img, args{Preset: "small"})
	if out, err := f.finish(k, []byte("x")); err != nil || !strings.Contains(did(out), "no rendition yet") {
		t.Errorf("%s, %v", did(out), err)
	}
	if out := f.must(about(Render, img, args{Preset: "small"})); len(out.Next) != 2 || out.Next[1].Function != Optimize {
		t.Fatalf("workers are not asked to optimise: %s", did(out))
	}
	fast := f.row(img, "small")
	in, err := f.Input(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	m, err := png.Decode(in)
	if err != nil || m.Bounds() != image.Rect(0, 0, 100, 75) || in.Type != "image/png" {
		t.Fatalf("%v, %v, %s", m.Bounds(), err, in.Type)
	}
	good := jpegOf(20)(m)
	for name, data := range map[string][]byte{
		"another size": jpegOf(10)(picture(75, 100, 0)), "another format": pngOf(m), "no picture": []byte("hello"), "truncated": good[:len(good)/2], "nothing": nil,
	} {
		if _, err := f.finish(k, data); err == nil || f.row(img, "small") != fast {
			t.Errorf("%s: %v", name, err)
		}
	}
	out, err := f.finish(k, good)
	if err != nil {
		t.Fatal(err)
	}
	r := f.row(img, "small")
	if r.Digest != asset.Digest(sha256.Sum256(good)) || r.Encoder != "worker w" || r.FirstBytes != fast.Bytes || len(out.Next) != 1 {
		t.Errorf("%s: %+v", did(out), r)
	}
	f.wantServed(img, "small", r.Digest)
	// The node died before the report was stored: another worker does it again.
	again, err := f.finish(k, good)
	if err != nil || did(again) != did(out) || f.row(img, "small") != r {
		t.Errorf("%s, %v", did(again), err)
	}
	if _, err := f.do(k); err != nil {
		t.Error(err)
	}
}

func TestOptimisationOfAWorkerThatIsNoSmaller(t *testing.T) {
	t.Parallel()
	f := outside(t, setup{})
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	fast := f.row(img, "small")
	out, err := f.finish(about(Optimize, img, args{Preset: "small"}), jpegOf(100)(picture(100, 75, 0)))
	if r := f.row(img, "small"); err != nil || r.Digest != fast.Digest || r.Encoder != "" || r.Note == "" || len(out.Next) != 0 {
		t.Errorf("%s, %v, %+v", did(out), err, r)
	}
	if out := f.must(about(Render, img, args{Preset: "small"})); len(out.Next) != 0 {
		t.Errorf("it is tried again: %s", did(out))
	}
}

func TestPublicationsOfWorkers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{destinations: []string{"x"}})
	img := f.upload("a", picture(200, 150, 0))
	f.must(about(Render, img, args{Preset: "small"}))
	for _, preset := range []string{"", "small"} {
		k := about(Publish, img, args{Preset: preset, Destination: "x"})
		in, err := f.Input(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil || asset.Digest(sha256.Sum256(data)) != in.Digest {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		path := f.object(img, preset, "x") // noted before anything is written
		_, err = f.finish(k, nil)
		wantKind(t, err, fault.Unavailable, "")
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]byte{"short": data[:10], "long": append(bytes.Clone(data), 0), "other": make([]byte, len(data))} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := f.finish(k, nil); err == nil {
				t.Errorf("%s bytes are confirmed", name)
			}
			f.wantState(img, preset, catalog.Writing)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			out, err := f.finish(k, nil)
			if err != nil || out.Result.(publication).SHA256 != in.Digest {
				t.Fatalf("%s, %v", did(out), err)
			}
			f.wantState(img, preset, catalog.Confirmed)
		}
	}
	// Deleted while the worker wrote: what it has written goes.
	path := f.object(img, "", "x")
	f.delete(img)
	if out, err := f.finish(about(Publish, img, args{Destination: "x"}), nil); err != nil || !strings.Contains(did(out), whyGone) {
		t.Errorf("%s, %v", did(out), err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the object is still there: %v", err)
	}
}

func (f *fixture) wantState(img asset.Image, preset string, state catalog.PublicationState) {
	f.t.Helper()
	rows, err := f.db.PublicationsOf(f.t.Context(), img.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range rows {
		if p.Preset == preset && p.State == state {
			return
		}
	}
	f.t.Fatalf("%q is not %s: %+v", preset, state, rows)
}

func TestInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{})
	data := jpegOf(90)(picture(200, 150, 0))
	// An APP1 segment with a GPS directory of one entry, behind the SOI.
	exif := "Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x88\x25\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00" +
		"\x00\x01\x00\x01\x00\x02\x00\x00\x00\x02N\x00\x00\x00\x00\x00\x00\x00"
	app1 := fmt.Sprintf("\xff\xe1%c%c%s", (len(exif)+2)>>8, (len(exif)+2)&255, exif)
	located := append(append(bytes.Clone(data[:2]), app1...), data[2:]...)
	for name, c := range map[string]struct {
		source []byte
		same   bool
	}{"as it is": {data, true}, "without its location": {located, false}} {
		img := f.store("k"+name, c.source)
		if img.Source.Header.Location == c.same {
			t.Fatalf("%s: %+v", name, img.Source.Header)
		}
		in, err := f.Input(t.Context(), about("custom", img, args{}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil || bytes.Equal(got, c.source) != c.same || len(got) != len(c.source) || in.Bytes != int64(len(got)) || in.Type != "image/jpeg" {
			t.Errorf("%s: %d bytes, %v, %+v", name, len(got), err, in)
		}
		if (in.Digest == asset.Digest{}) == c.same {
			t.Errorf("%s: %s", name, in.Digest)
		}
		k := about("custom", img, args{})
		k.Input = "w=64&format=png"
		if in, err = f.Input(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		m, err := png.DecodeConfig(in)
		if err := errors.Join(err, in.Close()); err != nil || m.Width != 64 || in.Type != "image/png" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		k.Input = "w=-1"
		_, err = f.Input(t.Context(), k)
		wantKind(t, err, fault.Invalid, "w")
		f.delete(img)
		_, err = f.Input(t.Context(), k)
		wantKind(t, err, fault.NotFound, "was deleted")
	}
	_, err := f.Input(t.Context(), task.Task{Function: "custom", Owner: "main"})
	wantKind(t, err, fault.Invalid, "image: custom needs one")
}

// broken gives some bytes and then an error.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, errors.New("connection reset")
}

func TestTakeOutput(t *testing.T) {
	t.Parallel()
	f := newFixture(t, setup{})
	f.MaxOutput = 1000
	for body, media := range map[string]string{"": "application/octet-stream", strings.Repeat("x", 1000): "application/octet-stream", string(pngOf(picture(2, 2, 0))): "image/png"} {
		out, err := f.TakeOutput(t.Context(), task.Task{}, strings.NewReader(body))
		if err != nil || out.Bytes != int64(len(body)) || out.Type != media || out.Digest != asset.Digest(sha256.Sum256([]byte(body))) {
			t.Errorf("%+v, %v", out, err)
		}
		c, err := f.OpenOutput(t.Context(), task.Task{Output: &out})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err := errors.Join(err, c.Close()); err != nil || string(got) != body || c.Type != media || c.Bytes != out.Bytes {
			t.Errorf("%q, %v", got, err)
		}
	}
	_, err := f.TakeOutput(t.Context(), task.Task{}, strings.NewReader(strings.Repeat("x", 1001)))
	wantKind(t, err, fault.TooLarge, "larger than 1000 bytes")
	_, err = f.TakeOutput(t.Context(), task.Task{}, broken{strings.NewReader("some")})
	wantKind(t, err, fault.Invalid, "broke off after 4 bytes")
	_, err = f.OpenOutput(t.Context(), task.Task{})
	wantKind(t, err, fault.NotFound, "no output")
	if swept, err := f.Purge.Sweep(t.Context(), f.Home, f.Deps.Sweep); err != nil || swept.Temp != 0 {
		t.Errorf("%+v, %v", swept, err)
	}
}
