package jpeg

import (
	"bytes"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"safelight/internal/fault"
)

// scene makes pixels with gradients, edges and noise.
func scene(seed uint64, w, h, bands int) []uint8 {
	r := rand.New(rand.NewPCG(seed, 1))
	pix := make([]uint8, w*h*bands)
	fx, fy, noise := r.Float64()*0.3, r.Float64()*0.3, r.Float64()*40
	for y := range h {
		for x := range w {
			for b := range bands {
				v := 128 + 60*math.Sin(fx*float64(x)+float64(b)) + 50*math.Cos(fy*float64(y)) + noise*(r.Float64()-0.5)
				if (x/11+y/7)%3 == b {
					v += 40
				}
				pix[(y*w+x)*bands+b] = uint8(min(max(v, 0), 255))
			}
		}
	}
	return pix
}

func analyse(t testing.TB, pix []uint8, w, h, bands int, s Subsampling) *Picture {
	t.Helper()
	p, err := Analyse(pix, w, h, bands, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decode(t testing.TB, file []byte) image.Image {
	t.Helper()
	m, err := stdjpeg.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("the file cannot be decoded: %v", err)
	}
	return m
}

// samples are what a decoder should make of component i.
func (p *Picture) samples(i int) (s []float64, stride int) {
	c, t := &p.components[i], &p.table[i]
	stride = 8 * c.across
	s = make([]float64, stride*8*c.down)
	for b := range c.levels.mean {
		var f [64]float64
		f[0] = float64(c.levels.mean[b]) * float64(t.step[0])
		for _, e := range c.levels.block(b) {
			f[zigzag[e.at]] = float64(e.value) * float64(t.step[e.at])
		}
		inverse(&f)
		for y := range 8 {
			copy(s[(8*(b/c.across)+y)*stride+8*(b%c.across):], f[8*y:8*y+8])
		}
	}
	return s, stride
}

// inverse is A.3.3 by its definition.
func inverse(f *[64]float64) {
	for range 2 { // rows, transposed; then the same again
		var out [64]float64
		for y := range 8 {
			for x := range 8 {
				sum := f[8*y] / math.Sqrt2
				for u := 1; u < 8; u++ {
					sum += f[8*y+u] * math.Cos(float64((2*x+1)*u)*math.Pi/16)
				}
				out[8*x+y] = sum / 2
			}
		}
		*f = out
	}
}

// planesOf are the components of a decoded picture.
func planesOf(m image.Image) (pix [][]uint8, strides []int) {
	switch m := m.(type) {
	case *image.Gray:
		return [][]uint8{m.Pix}, []int{m.Stride}
	case *image.YCbCr:
		return [][]uint8{m.Y, m.Cb, m.Cr}, []int{m.YStride, m.CStride, m.CStride}
	}
	return nil, nil
}

func checkDecoded(t *testing.T, p *Picture, file []byte) {
	t.Helper()
	m := decode(t, file)
	if b := m.Bounds(); b.Dx() != p.w || b.Dy() != p.h {
		t.Fatalf("decoded to %v; want %d × %d", b, p.w, p.h)
	}
	pix, strides := planesOf(m)
	if len(pix) != len(p.components) {
		t.Fatalf("decoded to %T with %d components; want %d", m, len(pix), len(p.components))
	}
	for i := range p.components {
		want, stride := p.samples(i)
		for y := range p.components[i].h {
			for x := range p.components[i].w {
				w := min(max(want[y*stride+x]+128, 0), 255)
				if got := float64(pix[i][y*strides[i]+x]); math.Abs(got-w) > 2 {
					t.Fatalf("component %d at %d, %d: decoded to %v; want %.2f", i, x, y, got, w)
				}
			}
		}
	}
}

var kinds = []struct {
	bands int
	s     Subsampling
}{{1, S444}, {1, S420}, {3, S444}, {3, S420}}

func TestDecodesToItsCoefficients(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(fmt.Sprintf("%d bands, sampling %d", kind.bands, kind.s), func(t *testing.T) {
			t.Parallel()
			for w := 1; w <= 40; w++ {
				for h := 1; h <= 40; h++ {
					if testing.Short() && (w*h)%7 != 1 {
						continue
					}
					p := analyse(t, scene(uint64(w*64+h), w, h, kind.bands), w, h, kind.bands, kind.s)
					scale := []float64{0.5, 2, 8, 60}[(w+h)%4]
					checkDecoded(t, p, p.Encode(nil, Settings{Scale: scale}))
				}
			}
		})
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		n, w, h, bands int
		s              Subsampling
	}{
		{"no width", 0, 0, 1, 3, S444},
		{"negative", 3, -1, -1, 3, S444},
		{"too wide", 65536, 65536, 1, 1, S444},
		{"two bands", 8, 2, 2, 2, S444},
		{"four bands", 16, 2, 2, 4, S444},
		{"too short", 11, 2, 2, 3, S444},
		{"too long", 13, 2, 2, 3, S444},
		{"sampling", 12, 2, 2, 3, 7},
	} {
		if _, err := Analyse(make([]uint8, c.n), c.w, c.h, c.bands, c.s); fault.Of(err) != fault.Invalid || err == nil {
			t.Errorf("%s: got %v; want a fault of kind Invalid", c.name, err)
		}
	}
}

// photoLike makes colour pixels with as much detail at each size as photographs
// tend to have: noise of ever finer grain and ever less contrast.
func photoLike(w, h int) []uint8 {
	r := rand.New(rand.NewPCG(5, 6))
	sum := make([]float64, w*h*3)
	for grain := 256; grain >= 1; grain /= 2 {
		gw, gh := w/grain+2, h/grain+2
		noise := make([]float64, gw*gh)
		for i := range noise {
			noise[i] = r.NormFloat64() * 4 * math.Pow(float64(grain), 0.45)
		}
		for y := range h {
			for x := range w {
				fx, fy := float64(x)/float64(grain), float64(y)/float64(grain)
				i, j := int(fx), int(fy)
				fx, fy = fx-float64(i), fy-float64(j)
				n := noise[j*gw+i:]
				below := noise[(j+1)*gw+i:]
				v := (n[0]*(1-fx)+n[1]*fx)*(1-fy) + (below[0]*(1-fx)+below[1]*fx)*fy
				o := sum[3*(y*w+x):]
				o[0], o[1], o[2] = o[0]+v, o[1]+0.9*v, o[2]+0.8*v
			}
		}
	}
	pix := make([]uint8, len(sum))
	for i, v := range sum {
		pix[i] = uint8(min(max(128+v, 0), 255))
	}
	return pix
}
