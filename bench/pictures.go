package main

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// photo makes a JPEG that costs a decoder about what a photograph does: octaves
// of smooth noise, so that there is detail at every size.
func photo(w, h, quality int, seed uint64) ([]byte, error) {
	const side = 256
	r := rand.New(rand.NewPCG(seed, 2))
	lattice := make([]float64, side*side)
	for i := range lattice {
		lattice[i] = r.Float64()*2 - 1
	}
	smooth := func(x, y float64) float64 {
		x0, y0 := math.Floor(x), math.Floor(y)
		fx, fy := x-x0, y-y0
		at := func(i, j int) float64 { return lattice[(int(y0)+j)&(side-1)*side+(int(x0)+i)&(side-1)] }
		top := at(0, 0)*(1-fx) + at(1, 0)*fx
		low := at(0, 1)*(1-fx) + at(1, 1)*fx
		return top*(1-fy) + low*fy
	}
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			var v float64
			for octave, weight := 0.004, 60.0; octave < 1; octave, weight = octave*2.5, weight*0.55 {
				v += weight * smooth(float64(x)*octave, float64(y)*octave)
			}
			base := 110 + v
			img.SetRGBA(x, y, color.RGBA{level(base + 20), level(base + v/4), level(base - 20 + v/3), 255})
		}
	}
	var out bytes.Buffer
	err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality})
	return out.Bytes(), err
}

func level(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

// unique gives a picture bytes of its own without changing it: what follows the
// end of the image is ignored.
func unique(picture []byte, n uint64, size int) []byte {
	out := make([]byte, max(size, len(picture)+8))
	copy(out, picture)
	r := rand.New(rand.NewPCG(n, 3))
	for i := len(picture); i+8 <= len(out); i += 8 {
		v := r.Uint64() &^ 0x8080808080808080 // no byte that could be a marker
		for j := range 8 {
			out[i+j] = byte(v >> (8 * j))
		}
	}
	return out
}
