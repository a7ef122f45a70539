package optimize

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

func TestMeasuresOnly(t *testing.T) {
	t.Parallel()
	source := asJPEG(t, scene(160, 120, 255), 98)
	dir := put(t, map[string][]byte{"a.jpg": source})
	r := optimized(t, openPool(t), config(75), filepath.Join(dir, "a.jpg"))["a.jpg"]
	if r.State != Optimized || r.Output != "" || r.Format != format.JPEG || r.Before != int64(len(source)) || r.Bytes >= r.Before ||
		r.Ratio != float64(r.Bytes)/float64(r.Before) || r.Width != 160 || r.Height != 120 {
		t.Errorf("%+v", r)
	}
	if r.Scores == nil || r.Scores.SSIMULACRA2 < 75 || !*r.Met || r.Targets.SSIMULACRA2 != 75 || r.Encoder == "" || r.Settings == "" || r.Trials < 1 || r.CPUSeconds <= 0 {
		t.Errorf("%+v", r)
	}
	if tree(t, dir) != "a.jpg" || !bytes.Equal(read(t, dir, "a.jpg"), source) {
		t.Error("there are", tree(t, dir))
	}
}

// Sub-paths stay; what is no smaller is copied as it is; damaged files fail.
func TestIntoDirectory(t *testing.T) {
	t.Parallel()
	photo := asJPEG(t, scene(160, 120, 255), 98)
	small := asJPEG(t, scene(160, 120, 255), 15)
	dir := put(t, map[string][]byte{
		"a.JPG": photo, "sub/small.jpg": small, "sub/b.png": asPNG(t, scene(96, 64, 255)), "cut.jpg": photo[:len(photo)/2],
		"moving.gif": movie(t), "apng.png": apng(t), "notes.txt": []byte("hello"), "head.jpg": []byte("\xff\xd8\xff\xe0\x00\x10JFIF"),
	})
	out := filepath.Join(t.TempDir(), "new/out")
	c := config(90)
	c.Out = out
	results := optimized(t, openPool(t), c, dir)
	for name, want := range map[string]State{"a.JPG": Optimized, "small.jpg": Kept, "b.png": Kept, "cut.jpg": Failed, "apng.png": Failed, "head.jpg": Failed} {
		if got := results[name]; got.State != want && !(name == "b.png" && got.State == Optimized) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := tree(t, out); got != "a.JPG moving.gif sub/b.png sub/small.jpg" {
		t.Error("there are", got)
	}
	if !bytes.Equal(read(t, out, "sub/small.jpg"), small) || !strings.Contains(results["small.jpg"].Reason, "no smaller") || results["small.jpg"].Tried < int64(len(small)) {
		t.Errorf("what was kept is another: %+v", results["small.jpg"])
	}
	made := read(t, out, "a.JPG")
	if m, err := jpeg.Decode(bytes.NewReader(made)); err != nil || m.Bounds().Dx() != 160 || int64(len(made)) != results["a.JPG"].Bytes {
		t.Error(err, len(made))
	}
	if !strings.Contains(results["cut.jpg"].Error, "damaged") || !strings.Contains(results["apng.png"].Error, "animated png") {
		t.Errorf("%+v, %+v", results["cut.jpg"], results["apng.png"])
	}
	if _, ok := results["notes.txt"]; ok || len(results) != 7 {
		t.Errorf("%+v", results)
	}

	for name, r := range optimized(t, openPool(t), c, dir) { // everything is there now
		if !strings.Contains(tree(t, out), name) {
			continue
		}
		if r.State != Failed || !strings.Contains(r.Error, "is there already, and is not overwritten") || r.CPUSeconds != 0 {
			t.Errorf("%+v", r)
		}
	}
	if !bytes.Equal(read(t, out, "a.JPG"), made) {
		t.Error("a result was overwritten")
	}
}

func TestCollisions(t *testing.T) {
	t.Parallel()
	picture := scene(64, 48, 255)
	dir := put(t, map[string][]byte{"x/photo.png": asPNG(t, picture), "x/photo.jpg": asJPEG(t, picture, 95), "y/photo.jpg": asJPEG(t, picture, 90)})
	pool := openPool(t)
	paths := []string{dir + "/x/photo.png", dir + "/x/photo.jpg", dir + "/y/photo.jpg"}
	tests := []struct {
		name   string
		format format.Format
		auto   bool
		failed int
		fixed  string // who has the name, where that is certain
	}{
		{"webp", format.WebP, false, 2, "x/photo.png"},
		{"own", format.Unknown, false, 1, "x/photo.jpg"},
		{"auto", format.Unknown, true, 2, ""},
	}
	for _, c := range tests {
		config := config(70)
		config.Out, config.Format, config.Auto = t.TempDir(), c.format, c.auto
		sources, _, err := Find(context.Background(), paths, config.Out)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		err = Run(context.Background(), pool, config, sources, func(r Result) error {
			if r.State == Failed {
				failed++
				if !strings.Contains(r.Error, "which is that of ") || !strings.HasSuffix(r.Error, c.fixed) || strings.HasSuffix(r.File, "x/photo.png") && c.fixed != "" {
					t.Errorf("%s: %s: %s", c.name, r.File, r.Error)
				}
			}
			return nil
		})
		if files := strings.Fields(tree(t, config.Out)); err != nil || failed != c.failed || len(files) != 3-c.failed {
			t.Errorf("%s: %d failed, there are %v; %v", c.name, failed, files, err)
		}
	}
}

func TestInPlace(t *testing.T) {
	t.Parallel()
	photo := asJPEG(t, scene(160, 120, 255), 98)
	small := asJPEG(t, scene(160, 120, 255), 10)
	lossy := asJPEG(t, scene(160, 120, 255), 90)
	dir := put(t, map[string][]byte{"a.jpg": photo, "small.jpg": small, "cut.jpg": photo[:len(photo)/2], "elsewhere/target.jpg": lossy})
	link := filepath.Join(dir, "link.jpg")
	if err := os.Symlink("elsewhere/target.jpg", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a.jpg"), 0o604); err != nil {
		t.Fatal(err)
	}
	c := config(90)
	c.InPlace = true
	pool := openPool(t)
	results := optimized(t, pool, c, filepath.Join(dir, "a.jpg"), filepath.Join(dir, "small.jpg"), filepath.Join(dir, "cut.jpg"), link)
	a, info := results["a.jpg"], read(t, dir, "a.jpg")
	if stat, err := os.Stat(filepath.Join(dir, "a.jpg")); err != nil || stat.Mode() != 0o604 {
		t.Error(stat.Mode(), err)
	}
	if a.State != Optimized || a.Output != filepath.Join(dir, "a.jpg") || int64(len(info)) != a.Bytes || len(info) >= len(photo) {
		t.Errorf("%+v; it has %d bytes", a, len(info))
	}
	if results["small.jpg"].State != Kept || !bytes.Equal(read(t, dir, "small.jpg"), small) {
		t.Errorf("%+v", results["small.jpg"])
	}
	if results["cut.jpg"].State != Failed || !bytes.Equal(read(t, dir, "cut.jpg"), photo[:len(photo)/2]) {
		t.Errorf("%+v", results["cut.jpg"])
	}
	if r := results["link.jpg"]; r.State != Failed || !strings.Contains(r.Error, "symbolic link") || !bytes.Equal(read(t, dir, "elsewhere/target.jpg"), lossy) {
		t.Errorf("%+v", r)
	}
	if target, err := os.Readlink(link); err != nil || target != "elsewhere/target.jpg" {
		t.Error(target, err)
	}
	if got := tree(t, dir); got != "a.jpg cut.jpg elsewhere/target.jpg link.jpg small.jpg" {
		t.Error("there are", got)
	}
	again := optimized(t, pool, c, filepath.Join(dir, "a.jpg"))["a.jpg"]
	if !bytes.Equal(read(t, dir, "a.jpg"), info) && again.State == Kept {
		t.Errorf("what was kept is another: %+v", again)
	}
}

// A picture whose samples are finer than any result's is not replaced.
func TestInPlaceKeepsDepth(t *testing.T) {
	t.Parallel()
	deep := image.NewRGBA64(image.Rect(0, 0, 80, 60))
	for y := range 60 {
		for x := range 80 {
			deep.SetRGBA64(x, y, color.RGBA64{uint16(700 * x), uint16(900 * y), uint16(300 * (x + y)), math.MaxUint16})
		}
	}
	dir := put(t, map[string][]byte{"deep.png": asPNG(t, deep)})
	c := config(60)
	c.InPlace = true
	r := optimized(t, openPool(t), c, filepath.Join(dir, "deep.png"))["deep.png"]
	if r.State != Kept || !strings.Contains(r.Reason, "8 bits") || !bytes.Equal(read(t, dir, "deep.png"), asPNG(t, deep)) {
		t.Errorf("%+v", r)
	}
}

func TestUnchanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(put(t, map[string][]byte{"a.jpg": asJPEG(t, scene(64, 48, 255), 90)}), "a.jpg")
	p, err := new(run).look(Source{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer p.file.Close()
	if err := unchanged(p); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, p.info.Size()-1); err != nil {
		t.Fatal(err)
	}
	if err := unchanged(p); fault.Of(err) != fault.Conflict {
		t.Error(err)
	}
}

// What can't reach the target is not used, in its own format or another.
func TestTargetsMissed(t *testing.T) {
	t.Parallel()
	source := asPNG(t, scene(96, 64, 255))
	dir := put(t, map[string][]byte{"a.png": source})
	c := config(99)
	c.Out, c.Format = t.TempDir(), format.WebP
	r := optimized(t, openPool(t), c, dir)["a.png"]
	if r.State != Kept || !strings.HasPrefix(r.Reason, "no webp reaches the target 99: the best scores ") || r.Format != format.PNG || r.Ratio != 1 || r.Scores != nil {
		t.Errorf("%+v", r)
	}
	if tree(t, c.Out) != "a.png" || !bytes.Equal(read(t, c.Out, "a.png"), source) {
		t.Error("there are", tree(t, c.Out))
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	dir := put(t, map[string][]byte{"opaque.png": asPNG(t, scene(96, 64, 255)), "clear.png": asPNG(t, scene(96, 64, 60)), "moving.gif": movie(t)})
	pool := openPool(t)
	c := config(75)
	c.Auto = true
	results := optimized(t, pool, c, dir)
	for name, never := range map[string]format.Format{"opaque.png": format.PNG, "clear.png": format.JPEG, "moving.gif": format.AVIF} {
		r := results[name]
		if r.State == Failed || r.Format == never || r.Bytes > r.Before {
			t.Errorf("%s: %+v", name, r)
		}
	}
	c.Auto = false
	for _, f := range []format.Format{format.JPEG, format.WebP, format.AVIF, format.PNG} {
		c.Format = f
		results := optimized(t, pool, c, dir)
		for _, name := range []string{"opaque.png", "clear.png"} {
			if r := results[name]; r.State == Failed || r.State == Optimized && (r.Format != f || !*r.Met) {
				t.Errorf("%s as %s: %+v", name, f, r)
			}
		}
		if r := results["moving.gif"]; (r.State == Failed) != (f != format.WebP) || r.State == Failed && !strings.Contains(r.Error, "it is animated") {
			t.Errorf("as %s: %+v", f, r)
		}
	}
}

func TestFast(t *testing.T) {
	t.Parallel()
	dir := put(t, map[string][]byte{"a.jpg": asJPEG(t, scene(160, 120, 255), 98), "b.png": asPNG(t, scene(40, 30, 200)), "c.gif": movie(t)})
	c := config(75)
	c.Search = plan.Search{Tier: quality.Fast, Targets: quality.Web}
	for name, r := range optimized(t, openPool(t), c, dir) {
		if r.State == Failed || r.Scores != nil || r.Met != nil || name == "a.jpg" && (r.State != Optimized || r.Settings == "") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// An end in the middle leaves whole files only, and nothing beside them.
func TestCanceled(t *testing.T) {
	t.Parallel()
	files := make(map[string][]byte)
	for _, name := range strings.Fields("a b c d e f g h") {
		files[name+".jpg"] = asJPEG(t, scene(200, 150, 255), 98)
	}
	dir := put(t, files)
	c := config(80)
	c.Out = t.TempDir()
	sources, _, err := Find(context.Background(), []string{dir}, c.Out)
	if err != nil {
		t.Fatal(err)
	}
	pool := openPool(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var results []Result
	err = Run(ctx, pool, c, sources, func(r Result) error {
		results = append(results, r)
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(results) == 0 || len(results) >= len(sources) {
		t.Errorf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		if r.State != Optimized {
			t.Errorf("%+v", r)
		}
	}
	for name := range strings.FieldsSeq(tree(t, c.Out)) {
		if _, err := jpeg.Decode(bytes.NewReader(read(t, c.Out, name))); err != nil {
			t.Error(name, err)
		}
	}
	full := errors.New("nobody reads any more")
	c.Out = t.TempDir()
	if err := Run(context.Background(), pool, c, sources, func(Result) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 99_400: "99.4 kB", 99_600: "100 kB", 999_600: "1.0 MB", 5_000_000_000: "5.0 GB", -1500: "-1500 B"} {
		if got := Size(bytes); got != want {
			t.Errorf("%d: %s; want %s", bytes, got, want)
		}
	}
}

// What a limit of the configuration stops names the setting.
func TestLimits(t *testing.T) {
	t.Parallel()
	dir := put(t, map[string][]byte{"a.png": asPNG(t, scene(96, 64, 255))})
	pool := openPool(t)
	c := config(75)
	c.Plan.MaxAVIFPixels, c.Format = 100, format.AVIF
	if r := optimized(t, pool, c, dir)["a.png"]; r.State == Failed {
		t.Errorf("a limit for requests is in force: %+v", r)
	}
	c.Plan.MaxOutputPixels = 100
	if r := optimized(t, pool, c, dir)["a.png"]; r.State != Failed || !strings.HasSuffix(r.Error, "the limit is 100 (render.max_output_pixels)") {
		t.Errorf("%+v", r)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	_, missing := os.Open("/nowhere/at/all")
	tests := []struct {
		err  error
		want string
	}{
		{missing, "no such file or directory"},
		{os.Rename("/nowhere/a", "/nowhere/b"), "no such file or directory"},
		{fault.Limit(fault.Invalid, "render.max", 1, 2, "too many"), "too many (render.max)"},
		{fault.Limit(fault.Invalid, "side of it", 1, 2, "too long"), "too long"},
		{fault.Wrap(fault.Unprocessable, errors.New("VipsJpeg: secrets"), "it is damaged"), "it is damaged"},
		{errors.New("else"), "else"},
	}
	for _, c := range tests {
		if got := describe(c.err); got != c.want {
			t.Errorf("%v: %s; want %s", c.err, got, c.want)
		}
	}
}
