package butteraugli

import (
	"math/rand/v2"
	"testing"

	"safelight/internal/metric"
)

// photo makes a picture with slopes, edges, flat parts and texture, from
// integers only, so that it is the same everywhere.
func photo(w, h int) metric.Image {
	m := metric.Image{W: w, H: h, Bands: 3, Pix: make([]uint8, 0, 3*w*h)}
	for y := range h {
		for x := range w {
			v := [3]int{60 + 120*x/w, 200 - 150*y/h, 90 + 100*(x+y)/(w+h)}
			if (x/17+y/23)%3 == 0 {
				v[0] += 50 - x*7%31
				v[1] += 20 + y*5%23
			}
			if x > w/2 && y > h/2 {
				v = [3]int{235, 232, 225}
			}
			m.Pix = append(m.Pix, uint8(v[0]), uint8(v[1]), uint8(v[2]))
		}
	}
	return m
}

// noisy moves every sample by at most so much up or down.
func noisy(m metric.Image, most int) metric.Image {
	random := rand.New(rand.NewPCG(1, 2))
	return each(m, func(v int) int { return v + random.IntN(2*most+1) - most })
}

// each changes every sample.
func each(m metric.Image, change func(v int) int) metric.Image {
	pix := make([]uint8, len(m.Pix))
	for i, v := range m.Pix {
		pix[i] = uint8(min(max(change(int(v)), 0), 255))
	}
	m.Pix = pix
	return m
}

// distance is that from a reference prepared for it alone.
func distance(t testing.TB, ref, dist metric.Image) Distance {
	t.Helper()
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Distance(dist)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
