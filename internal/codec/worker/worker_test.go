package worker

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

var engine *Engine

// The tests of steps run an engine in the test's own process; that of the
// sandbox starts this binary again as a codec process that tries to break out.
func TestMain(m *testing.M) {
	if os.Getenv("SAFELIGHT_CODEC_CHILD") != "" {
		os.Exit(run(breakOut))
	}
	var err error
	if engine, err = Open(wire.Setup{}); err != nil {
		fmt.Fprintln(os.Stderr, "skipped:", err)
		return
	}
	os.Exit(m.Run())
}

func memfd(t testing.TB, b []byte) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Write(fd, b); err != nil && len(b) > 0 {
		t.Fatal(err)
	}
	return fd
}

func contents(t testing.TB, fd int) []byte {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, st.Size)
	if _, err := unix.Pread(fd, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// execute runs a job on source bytes and an optional overlay.
func execute(t testing.TB, job plan.Job, source []byte, overlay ...[]byte) ([]byte, plan.Result, error) {
	t.Helper()
	files := Files{Source: memfd(t, source), Overlay: -1, Output: -1}
	if len(overlay) > 0 {
		files.Overlay = memfd(t, overlay[0])
	}
	if job.Save != nil {
		files.Output = memfd(t, nil)
	}
	result, err := engine.Execute(job, files)
	if err != nil || job.Save == nil {
		return nil, result, err
	}
	return contents(t, files.Output), result, nil
}

// render runs steps on a PNG and reads the result as a PNG.
func render(t testing.TB, source []byte, steps []plan.Step, overlay ...[]byte) image.Image {
	t.Helper()
	job := plan.Job{Load: plan.Load{Format: format.PNG}, Steps: steps, Save: &plan.Save{Format: format.PNG}}
	out, result, err := execute(t, job, source, overlay...)
	if err != nil {
		t.Fatal(err, fault.As(err).Cause)
	}
	m := readPNG(t, out)
	if m.Bounds().Dx() != result.Width || m.Bounds().Dy() != result.Height || result.Pages != 1 {
		t.Fatalf("the file is %v, the result says %+v", m.Bounds(), result)
	}
	return m
}

// writes is the formats, without those that this libvips can't write.
func writes(t testing.TB, list ...format.Format) []format.Format {
	t.Helper()
	return slices.DeleteFunc(list, func(f format.Format) bool {
		if engine.cantWrite[f] {
			t.Logf("left out: this libvips can't write %s", f)
		}
		return engine.cantWrite[f]
	})
}

// decode turns frame n of an encoded file into pixels, with this engine.
func decode(t testing.TB, f format.Format, b []byte, page int) image.Image {
	t.Helper()
	if !f.Source() { // nor is it made into another file
		return readBack(t, f, b)
	}
	job := plan.Job{Load: plan.Load{Format: f, Page: page}, Save: &plan.Save{Format: format.PNG}}
	out, _, err := execute(t, job, b)
	if err != nil {
		t.Fatal(f, err, fault.As(err).Cause)
	}
	return readPNG(t, out)
}

// readBack decodes a file of a format that is no source.
func readBack(t testing.TB, f format.Format, b []byte) image.Image {
	t.Helper()
	out := memfd(t, nil)
	p := newPicture(Files{Source: memfd(t, b), Overlay: -1, Output: out})
	defer p.close()
	err := p.load(plan.Load{Format: f})
	if err == nil {
		_, err = p.save(plan.Save{Format: format.PNG}, out)
	}
	if err != nil {
		t.Fatal(f, err)
	}
	return readPNG(t, contents(t, out))
}

func readPNG(t testing.TB, b []byte) image.Image {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func writePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeJPEG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	red    = color.NRGBA{230, 20, 10, 255}
	green  = color.NRGBA{10, 200, 30, 255}
	blue   = color.NRGBA{20, 30, 220, 255}
	yellow = color.NRGBA{240, 220, 0, 255}
	white  = color.NRGBA{255, 255, 255, 255}
	black  = color.NRGBA{0, 0, 0, 255}
	clear  = color.NRGBA{}
)

// quarters is a picture with one colour in each corner: top left, top right,
// bottom left, bottom right.
func quarters(w, h int, tl, tr, bl, br color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := tl
			switch {
			case x >= w/2 && y >= h/2:
				c = br
			case x >= w/2:
				c = tr
			case y >= h/2:
				c = bl
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func flat(w, h int, c color.NRGBA) *image.NRGBA { return quarters(w, h, c, c, c, c) }

// animation is a GIF of one-colour frames with different delays.
func animation(t testing.TB, w, h int, delays []int, loop int, colours ...color.Color) []byte {
	t.Helper()
	g := &gif.GIF{LoopCount: loop}
	for i, c := range colours {
		m := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{c, black, white, color.Transparent})
		for x := range w { // a black line at the top edge shows frames bleeding into each other
			m.SetColorIndex(x, 0, 1)
		}
		g.Image = append(g.Image, m)
		g.Delay = append(g.Delay, delays[i])
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// near checks one pixel; colours within the tolerance, alpha exactly.
func near(t testing.TB, m image.Image, x, y int, want color.NRGBA, tolerance int) {
	t.Helper()
	got := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
	diff := func(a, b uint8) bool { return int(a)-int(b) > tolerance || int(b)-int(a) > tolerance }
	if got.A != want.A || (want.A > 0 && (diff(got.R, want.R) || diff(got.G, want.G) || diff(got.B, want.B))) {
		t.Errorf("pixel %d,%d is %v; expected %v within %d", x, y, got, want, tolerance)
	}
}

func sized(t testing.TB, m image.Image, w, h int) {
	t.Helper()
	if m.Bounds().Dx() != w || m.Bounds().Dy() != h {
		t.Errorf("the picture is %d x %d; expected %d x %d", m.Bounds().Dx(), m.Bounds().Dy(), w, h)
	}
}
