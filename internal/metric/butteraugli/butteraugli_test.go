package butteraugli

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"safelight/internal/fault"
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

func TestIdenticalIsZero(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{8, 8}, {9, 31}, {64, 40}, {131, 257}, {700, 8}} {
		m := photo(size[0], size[1])
		r, err := Prepare(m)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if d, err := r.Distance(m); err != nil || d != (Distance{}) {
				t.Errorf("%d × %d: %+v, %v; expected 0", m.W, m.H, d, err)
			}
		}
		for i, v := range r.Map() {
			if v != 0 {
				t.Fatalf("%d × %d: %v at %d; expected 0", m.W, m.H, v, i)
			}
		}
	}
}

// TestSmallSizes: from the least size on, differences are seen in all pixels.
func TestSmallSizes(t *testing.T) {
	t.Parallel()
	for w := MinSide; w <= 19; w++ {
		for h := MinSide; h <= 19; h++ {
			m := photo(w, h)
			r, err := Prepare(m)
			if err != nil {
				t.Fatal(err)
			}
			d, err := r.Distance(each(m, func(v int) int { return 255 - v }))
			if err != nil || !(d.P3 > 10 && d.P3 <= d.Max && d.Max < 300) {
				t.Errorf("%d × %d: the inverse is at %+v, %v", w, h, d, err)
			}
			most := float32(0)
			for i, v := range r.Map() {
				if !(v > 0) {
					t.Fatalf("%d × %d: %v at %d", w, h, v, i)
				}
				most = max(most, v)
			}
			if len(r.Map()) != w*h || float64(most) != d.Max {
				t.Errorf("%d × %d: %d distances up to %v; Max is %v", w, h, len(r.Map()), most, d.Max)
			}
		}
	}
}

func TestMoreDistortionIsFurther(t *testing.T) {
	t.Parallel()
	for name, ref := range map[string]metric.Image{"colour": photo(150, 100), "grey": greyed(photo(150, 100))} {
		r, err := Prepare(ref)
		if err != nil {
			t.Fatal(err)
		}
		last := Distance{}
		for _, most := range []int{1, 2, 4, 8, 16, 32, 64, 128} {
			d, err := r.Distance(noisy(ref, most))
			if err != nil {
				t.Fatal(err)
			}
			if d.P3 <= last.P3 || d.Max <= last.Max {
				t.Errorf("%s: noise of %d is at %+v, not further than %+v of less noise", name, most, d, last)
			}
			last = d
		}
	}
}

// TestSymmetry: which of two pictures is the reference matters for the masks
// alone, so that it matters little between pictures of like texture.
func TestSymmetry(t *testing.T) {
	t.Parallel()
	a := photo(160, 120)
	for _, b := range []metric.Image{noisy(a, 3), each(a, func(v int) int { return v + 5 }), blocks(a, 2)} {
		there, back := distance(t, a, b), distance(t, b, a)
		if ratio := there.P3 / back.P3; ratio < 0.7 || ratio > 1.4 {
			t.Errorf("%+v there, %+v back", there, back)
		}
	}
}

// TestMapShowsPlaces: a spot is found where it is, and nowhere far from it.
func TestMapShowsPlaces(t *testing.T) {
	t.Parallel()
	ref := photo(200, 150)
	dist := each(ref, func(v int) int { return v })
	const left, top, side = 120, 40, 6
	for y := top; y < top+side; y++ {
		for x := left; x < left+side; x++ {
			dist.Pix[3*(y*ref.W+x)+1] ^= 64
		}
	}
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	if r.Map() != nil {
		t.Error("there is a map before the first Distance")
	}
	d, err := r.Distance(dist)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range r.Map() {
		x, y := i%ref.W, i/ref.W
		if float64(v) == d.Max && (x < left-4 || x > left+side+4 || y < top-4 || y > top+side+4) {
			t.Errorf("the worst place is %d, %d", x, y)
		}
		if far := max(left-x, x-left-side, top-y, y-top-side); far > 100 && v != 0 {
			t.Fatalf("%v at %d, %d, %d pixels away", v, x, y, far)
		}
	}
}

// TestDistanceLeavesNothingBehind: it must not depend on the ones before it.
func TestDistanceLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ref := photo(90, 70)
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	want := distance(t, ref, noisy(ref, 9))
	clear(ref.Pix) // may be changed after Prepare
	ref = photo(90, 70)
	for _, most := range []int{9, 120, 9, 0, 9} {
		got, err := r.Distance(noisy(ref, most))
		if err != nil {
			t.Fatal(err)
		}
		if most == 9 && got != want {
			t.Errorf("%+v after others; %+v alone", got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	good := photo(20, 10)
	r, err := Prepare(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]metric.Image{
		"no pixels": {W: 0, H: 10, Bands: 3}, "negative": {W: 10, H: -1, Bands: 3},
		"too narrow": photo(7, 20), "too low": photo(20, 7),
		"grey": {W: 20, H: 10, Bands: 1, Pix: make([]uint8, 200)}, "alpha": {W: 20, H: 10, Bands: 4, Pix: make([]uint8, 800)},
		"too few samples":  {W: 20, H: 10, Bands: 3, Pix: good.Pix[:599]},
		"too many samples": {W: 20, H: 9, Bands: 3, Pix: good.Pix}, "overflow": {W: math.MaxInt / 2, H: 8, Bands: 3},
		"a row less": {W: 20, H: 10, Bands: 3, Pix: good.Pix[:540]},
	} {
		if _, err := Prepare(m); fault.Of(err) != fault.Invalid {
			t.Errorf("Prepare, %s: %v; expected invalid", name, err)
		}
		if _, err := r.Distance(m); fault.Of(err) != fault.Invalid {
			t.Errorf("Distance, %s: %v; expected invalid", name, err)
		}
	}
	if _, err := r.Distance(photo(10, 20)); fault.Of(err) != fault.Invalid {
		t.Errorf("another size: %v; expected invalid", err)
	}
	if r.Map() != nil {
		t.Error("there is a map after errors alone")
	}
}

func TestReferencesAreIndependent(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for i := range 4 {
		ref := photo(100+i, 80)
		want := distance(t, ref, noisy(ref, 7))
		r, err := Prepare(ref)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range 3 {
				if got, err := r.Distance(noisy(ref, 7)); err != nil || got != want {
					t.Errorf("%+v, %v beside others; %+v alone", got, err, want)
				}
			}
		})
	}
	all.Wait()
}

func FuzzDistance(f *testing.F) {
	f.Add(uint8(3), uint8(2), []byte("reference, and distorted after it"))
	f.Fuzz(func(t *testing.T, w, h uint8, pix []byte) {
		take := func() metric.Image {
			m := metric.Image{W: MinSide + int(w)%40, H: MinSide + int(h)%40, Bands: 3}
			m.Pix = make([]uint8, 3*m.W*m.H)
			pix = pix[copy(m.Pix, pix):]
			return m
		}
		ref, dist := take(), take()
		d := distance(t, ref, dist)
		if !(d.P3 >= 0 && d.P3 <= d.Max*(1+1e-6) && d.Max < 1e4) {
			t.Errorf("%+v", d)
		}
		if d := distance(t, ref, ref); d != (Distance{}) {
			t.Errorf("identical: %+v", d)
		}
	})
}

func ExampleReference_Distance() {
	original := metric.Image{W: 8, H: 8, Bands: 3, Pix: make([]uint8, 3*8*8)}
	ref, err := Prepare(original)
	if err != nil {
		panic(err)
	}
	distance, err := ref.Distance(original)
	fmt.Println(distance.P3, err)
	// Output: 0 <nil>
}
