package jxl

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"os"
	"os/exec"
	"testing"
)

var lib *Library

func TestMain(m *testing.M) {
	var err error
	if lib, err = Open(""); err != nil {
		os.Stderr.WriteString("skipped: " + err.Error() + "\n")
		return
	}
	os.Exit(m.Run())
}

// scene is a picture with edges, gradients and texture.
func scene(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			wave := 40 * math.Sin(float64(x*y)/97)
			m.SetNRGBA(x, y, color.NRGBA{uint8(x * 255 / w), uint8(128 + wave), uint8((x ^ y) & 127), 255})
		}
	}
	return m
}

func pixels(m image.Image) Pixels {
	b := m.Bounds()
	p := Pixels{W: b.Dx(), H: b.Dy(), Bands: 3}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			p.Pix = append(p.Pix, c.R, c.G, c.B)
		}
	}
	return p
}

// tool runs a program of libjpeg-turbo on bytes; the test is skipped without it.
func tool(t testing.TB, in []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("no ", name, " (Debian's libjpeg-turbo-progs)")
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(name, args, err)
	}
	return out
}
