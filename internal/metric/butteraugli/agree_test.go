package butteraugli

import (
	"testing"

	"safelight/internal/encoder/jxl"
	"safelight/internal/metric"
)

func flat(r, g, b uint8) metric.Image {
	m := metric.Image{W: 64, H: 64, Bands: 3}
	for range 64 * 64 {
		m.Pix = append(m.Pix, r, g, b)
	}
	return m
}

func TestWhere(t *testing.T) {
	lib, err := jxl.Open("")
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]metric.Image{{flat(100, 100, 100), flat(101, 101, 101)}, {flat(10, 10, 10), flat(12, 12, 12)}, {flat(250, 250, 250), flat(240, 240, 240)},
		{flat(100, 100, 100), flat(110, 100, 100)}, {flat(100, 100, 100), flat(100, 110, 100)}, {flat(100, 100, 100), flat(100, 100, 110)}, {flat(0, 0, 0), flat(0, 0, 100)}, {flat(0, 0, 0), flat(3, 3, 3)}} {
		r, _ := Prepare(pair[0])
		d, _ := r.Distance(pair[1])
		want, err := lib.ButteraugliMap(jxl.Pixels(pair[0]), jxl.Pixels(pair[1]))
		if err != nil {
			t.Fatal(err)
		}
		at := 32*64 + 32
		t.Log(pair[0].Pix[:3], pair[1].Pix[:3], d, want.Max, want.P3, r.Map()[at], want.Map[at], r.Map()[at]/want.Map[at])
	}
}
