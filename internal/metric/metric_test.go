package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"safelight/internal/fault"
)

// photo makes a picture with slopes, edges, flat parts and texture, from
// integers only, so that it is the same everywhere.
func photo(w, h, bands int) Image {
	m := Image{W: w, H: h, Bands: bands, Pix: make([]uint8, 0, w*h*bands)}
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
			switch bands {
			case 1, 2:
				m.Pix = append(m.Pix, uint8(v[1]))
			default:
				m.Pix = append(m.Pix, uint8(v[0]), uint8(v[1]), uint8(v[2]))
			}
			if bands%2 == 0 {
				m.Pix = append(m.Pix, 255)
			}
		}
	}
	return m
}

// noisy moves every sample but alpha by at most so much up or down.
func noisy(m Image, most int) Image {
	random := rand.New(rand.NewPCG(1, 2))
	pix := make([]uint8, len(m.Pix))
	for i, v := range m.Pix {
		pix[i] = v
		if by := random.IntN(2*most+1) - most; m.Bands%2 == 1 || i%m.Bands != m.Bands-1 {
			pix[i] = uint8(min(max(int(v)+by, 0), 255))
		}
	}
	m.Pix = pix
	return m
}

// withBands gives a grey or opaque picture another number of bands.
func withBands(m Image, bands int) Image {
	out := Image{W: m.W, H: m.H, Bands: bands}
	for i := 0; i < len(m.Pix); i += m.Bands {
		p := m.Pix[i:]
		rgb := []uint8{p[0], p[0], p[0]}
		if m.Bands > 2 {
			rgb = p[:3]
		}
		if bands < 3 {
			rgb = rgb[:1]
		}
		out.Pix = append(out.Pix, rgb...)
		if bands%2 == 0 {
			out.Pix = append(out.Pix, 255)
		}
	}
	return out
}

// score is that of a reference prepared for it alone.
func score(t testing.TB, ref, dist Image) float64 {
	t.Helper()
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Score(dist)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestIdenticalIsHundred(t *testing.T) {
	t.Parallel()
	for _, bands := range []int{1, 2, 3, 4} {
		for _, size := range [][2]int{{1, 1}, {2, 9}, {8, 8}, {64, 40}, {131, 257}, {700, 3}} {
			m := photo(size[0], size[1], bands)
			if got := score(t, m, m); got != 100 {
				t.Errorf("%d × %d, %d bands: %v; expected 100", m.W, m.H, bands, got)
			}
		}
	}
}

func TestSmallSizes(t *testing.T) {
	t.Parallel()
	for w := 1; w <= 9; w++ {
		for h := 1; h <= 9; h++ {
			m := photo(w, h, 3)
			if got := score(t, m, m); got != 100 {
				t.Errorf("%d × %d: %v; expected 100", w, h, got)
			}
			inverse := Image{W: w, H: h, Bands: 3, Pix: make([]uint8, len(m.Pix))}
			for i, v := range m.Pix {
				inverse.Pix[i] = 255 - v
			}
			if got := score(t, m, inverse); got > 30 || math.IsNaN(got) {
				t.Errorf("%d × %d: the inverse scores %v; expected less than 30", w, h, got)
			}
		}
	}
}

// TestPartsScoreLikeTheWhole: a score must mean the same for small pictures.
func TestPartsScoreLikeTheWhole(t *testing.T) {
	t.Parallel()
	ref := photo(128, 128, 3)
	dist := noisy(ref, 12)
	whole := score(t, ref, dist)
	for _, side := range []int{64, 32} {
		sum, n := 0.0, 0
		for y := 0; y < ref.H; y += side {
			for x := 0; x < ref.W; x += side {
				sum += score(t, part(ref, x, y, side), part(dist, x, y, side))
				n++
			}
		}
		if mean := sum / float64(n); math.Abs(mean-whole) > 8 {
			t.Errorf("parts of %d pixels score %.1f; the whole %.1f", side, mean, whole)
		}
	}
}

// part cuts out a square.
func part(m Image, x, y, side int) Image {
	out := Image{W: side, H: side, Bands: m.Bands}
	for row := y; row < y+side; row++ {
		out.Pix = append(out.Pix, m.Pix[(row*m.W+x)*m.Bands:(row*m.W+x+side)*m.Bands]...)
	}
	return out
}

func TestMoreDistortionScoresLower(t *testing.T) {
	t.Parallel()
	ref := photo(300, 200, 3)
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	last := 100.0
	for _, most := range []int{1, 2, 4, 8, 16, 32, 64, 128} {
		got, err := r.Score(noisy(ref, most))
		if err != nil {
			t.Fatal(err)
		}
		if got >= last {
			t.Errorf("noise of %d scores %.2f, not below %.2f of less noise", most, got, last)
		}
		last = got
	}
	if last > 0 {
		t.Errorf("noise of half the range scores %.2f; expected less than 0", last)
	}
}

// TestScoreLeavesNothingBehind: a Score must not depend on the ones before it.
func TestScoreLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ref := photo(90, 70, 3)
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	want := score(t, ref, noisy(ref, 9))
	for _, most := range []int{9, 120, 9, 0, 9} {
		got, err := r.Score(noisy(ref, most))
		if err != nil {
			t.Fatal(err)
		}
		if most == 9 && got != want {
			t.Errorf("%v after other scores; %v alone", got, want)
		}
	}
}

func TestBandsMayDiffer(t *testing.T) {
	t.Parallel()
	grey, colour := photo(120, 90, 1), photo(120, 90, 3)
	for _, ref := range []Image{grey, colour} {
		want := score(t, ref, noisy(ref, 10))
		for _, bands := range []int{1, 2, 3, 4} {
			if ref.Bands == 3 && bands < 3 {
				continue
			}
			if got := score(t, ref, withBands(noisy(ref, 10), bands)); got != want {
				t.Errorf("%d bands against %d: %v; expected %v", bands, ref.Bands, got, want)
			}
			if got := score(t, withBands(ref, bands), noisy(ref, 10)); got != want {
				t.Errorf("%d bands against %d: %v; expected %v", ref.Bands, bands, got, want)
			}
		}
	}
}

// translucent lets the background through in a disc.
func translucent(m Image, alpha uint8) Image {
	m = withBands(m, 4)
	for y := range m.H {
		for x := range m.W {
			if dx, dy := x-m.W/2, y-m.H/2; dx*dx+dy*dy < m.H*m.H/9 {
				m.Pix[(y*m.W+x)*4+3] = alpha
			}
		}
	}
	return m
}

func TestAlpha(t *testing.T) {
	t.Parallel()
	opaque := photo(160, 120, 3)
	clear, half := translucent(opaque, 0), translucent(opaque, 128)
	if got := score(t, half, half); got != 100 {
		t.Errorf("identical with alpha: %v; expected 100", got)
	}
	for name, pair := range map[string][2]Image{
		"alpha lost": {half, opaque}, "alpha got": {opaque, half}, "alpha moved": {half, translucent(opaque, 160)},
	} {
		if got := score(t, pair[0], pair[1]); got > 95 {
			t.Errorf("%s: %v; expected less than 95", name, got)
		}
	}
	unseen := translucent(noisy(opaque, 0), 0)
	for i := 0; i < len(unseen.Pix); i += 4 {
		if unseen.Pix[i+3] == 0 {
			unseen.Pix[i] ^= 255
		}
	}
	if got := score(t, clear, unseen); got != 100 {
		t.Errorf("a difference that can't be seen through scores %v; expected 100", got)
	}
	// White shows on the dark ground only, black on the light one.
	for _, v := range []uint8{0, 255} {
		flat := Image{W: 64, H: 64, Bands: 2, Pix: make([]uint8, 64*64*2)}
		seen := Image{W: 64, H: 64, Bands: 2, Pix: make([]uint8, 64*64*2)}
		for i := range 64 * 64 {
			seen.Pix[2*i] = v
			if i%64 > 20 && i%64 < 40 {
				seen.Pix[2*i+1] = 255
			}
		}
		if got := score(t, flat, seen); got > 0 {
			t.Errorf("a stripe of %d scores %v; expected less than 0 for the ground that shows it", v, got)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	good := photo(20, 10, 3)
	for name, m := range map[string]Image{
		"no pixels": {W: 0, H: 10, Bands: 3}, "negative": {W: 10, H: -1, Bands: 3}, "no bands": {W: 1, H: 1, Pix: []uint8{1}},
		"five bands": {W: 1, H: 1, Bands: 5, Pix: make([]uint8, 5)}, "too few samples": {W: 20, H: 10, Bands: 3, Pix: good.Pix[:599]},
		"too many samples": {W: 20, H: 9, Bands: 3, Pix: good.Pix}, "overflow": {W: math.MaxInt / 2, H: 4, Bands: 4},
	} {
		if _, err := Prepare(m); fault.Of(err) != fault.Invalid {
			t.Errorf("Prepare, %s: %v; expected invalid", name, err)
		}
		r, err := Prepare(good)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Score(m); fault.Of(err) != fault.Invalid {
			t.Errorf("Score, %s: %v; expected invalid", name, err)
		}
	}
	r, err := Prepare(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Score(photo(10, 20, 3)); fault.Of(err) != fault.Invalid {
		t.Errorf("another size: %v; expected invalid", err)
	}
}

func TestReferencesAreIndependent(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for i := range 4 {
		ref := photo(100+i, 80, 3)
		want := score(t, ref, noisy(ref, 7))
		r, err := Prepare(ref)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range 3 {
				if got, err := r.Score(noisy(ref, 7)); err != nil || got != want {
					t.Errorf("%v, %v beside others; %v alone", got, err, want)
				}
			}
		})
	}
	all.Wait()
}

func FuzzScore(f *testing.F) {
	f.Add(uint8(3), uint8(2), uint8(3), uint8(4), []byte("reference, and distorted after it"))
	f.Fuzz(func(t *testing.T, w, h, refBands, distBands uint8, pix []byte) {
		take := func(bands int) Image {
			m := Image{W: 1 + int(w)%40, H: 1 + int(h)%40, Bands: bands}
			m.Pix = make([]uint8, m.W*m.H*bands)
			pix = pix[copy(m.Pix, pix):]
			return m
		}
		ref, dist := take(1+int(refBands)%4), take(1+int(distBands)%4)
		if got := score(t, ref, dist); math.IsNaN(got) || math.IsInf(got, 0) || got > 100 {
			t.Errorf("scores %v", got)
		}
		if got := score(t, ref, ref); got != 100 {
			t.Errorf("identical scores %v", got)
		}
	})
}

func ExampleReference_Score() {
	original := Image{W: 2, H: 1, Bands: 3, Pix: []uint8{255, 0, 0, 0, 0, 255}}
	ref, err := Prepare(original)
	if err != nil {
		panic(err)
	}
	score, err := ref.Score(original)
	fmt.Println(score, err)
	// Output: 100 <nil>
}
