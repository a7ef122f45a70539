package codec

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"testing"

	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
)

// photo is a JPEG with something to see in it.
func photo(t testing.TB, w, h int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{uint8(x * 255 / w), uint8(y * 255 / h), uint8((x ^ y) & 63), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func renderJob(side int) plan.Job {
	return plan.Job{
		Load: plan.Load{Format: format.JPEG},
		Steps: []plan.Step{
			{Resize: &plan.Resize{To: geom.Size{W: side, H: side}}},
			{SRGB: true},
		},
		Save: &plan.Save{Format: format.JPEG, Quality: 80},
	}
}

func TestRender(t *testing.T) {
	p := openPool(t, testConfig())
	t.Logf("%+v", p.Info())
	out, err := p.Run(context.Background(), Interactive, renderJob(512), file(t, photo(t, 2048, 1536)))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b, err := io.ReadAll(out.File)
	if err != nil || int64(len(b)) != out.Bytes {
		t.Fatal(len(b), out.Bytes, err)
	}
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Dx() != 512 || m.Bounds().Dy() != 384 || out.Width != 512 || out.Height != 384 {
		t.Errorf("got %v, %+v", m.Bounds(), out.Result)
	}
	if n, err := out.File.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a sealed result took", n, "bytes")
	}
}
