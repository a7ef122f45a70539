package e2e

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"
)

// scene is a picture with smooth parts, edges and some noise, the same for the
// same seed.
func scene(w, h int, seed uint64) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(seed, 1))
	for y := range h {
		for x := range w {
			c := color.NRGBA{uint8(x * 255 / max(w-1, 1)), uint8(y * 255 / max(h-1, 1)), uint8((x*y/64 + int(seed)*37) % 256), 255}
			if (x/16+y/16)%2 == 0 {
				c.B = 255 - c.B
			}
			c.G = uint8(min(255, int(c.G)+r.IntN(8)))
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// movie is an animated GIF of n frames.
func movie(t testing.TB, w, h, n int) []byte {
	t.Helper()
	palette := color.Palette{color.Black, color.White, color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}}
	g := &gif.GIF{LoopCount: 2}
	for i := range n {
		frame := image.NewPaletted(image.Rect(0, 0, w, h), palette)
		for y := range h {
			for x := range w {
				frame.SetColorIndex(x, y, uint8((x*n/w+i)%len(palette)))
			}
		}
		g.Image, g.Delay = append(g.Image, frame), append(g.Delay, 10+i)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decoded reads a JPEG, PNG or GIF answer.
func decoded(t testing.TB, a answer) image.Image {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(a.body))
	if err != nil {
		t.Fatalf("answer %d (%s) can't be decoded: %v\n%.200s", a.status, a.header.Get("Content-Type"), err, a.body)
	}
	return img
}

// tinyPNG is a valid picture of one pixel.
var tinyPNG = func() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, scene(1, 1, 1)); err != nil {
		panic(err)
	}
	return b.Bytes()
}()
