package geom_test

import (
	"testing"

	"pgregory.net/rapid"

	"safelight/internal/geom"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	type s = geom.Size
	tests := []struct {
		name        string
		src, box    s
		fit         geom.Fit
		scaled, out s
	}{
		{"no box", s{400, 300}, s{}, geom.Cover, s{400, 300}, s{400, 300}},
		{"scale-down", s{400, 300}, s{200, 200}, geom.ScaleDown, s{200, 150}, s{200, 150}},
		{"scale-down never enlarges", s{40, 30}, s{200, 200}, geom.ScaleDown, s{40, 30}, s{40, 30}},
		{"scale-down by width", s{400, 300}, s{200, 0}, geom.ScaleDown, s{200, 150}, s{200, 150}},
		{"scale-down by height", s{400, 300}, s{0, 150}, geom.ScaleDown, s{200, 150}, s{200, 150}},
		{"scale-down by a larger width", s{400, 300}, s{800, 0}, geom.ScaleDown, s{400, 300}, s{400, 300}},
		{"inside enlarges", s{40, 30}, s{200, 200}, geom.Inside, s{200, 150}, s{200, 150}},
		{"inside by height", s{40, 30}, s{0, 60}, geom.Inside, s{80, 60}, s{80, 60}},
		{"contain", s{400, 300}, s{200, 200}, geom.Contain, s{200, 150}, s{200, 200}},
		{"contain enlarges", s{4, 3}, s{200, 200}, geom.Contain, s{200, 150}, s{200, 200}},
		{"contain by width", s{400, 300}, s{200, 0}, geom.Contain, s{200, 150}, s{200, 150}},
		{"cover", s{400, 300}, s{200, 200}, geom.Cover, s{267, 200}, s{200, 200}},
		{"cover a tall box", s{400, 300}, s{100, 200}, geom.Cover, s{267, 200}, s{100, 200}},
		{"cover by height", s{400, 300}, s{0, 150}, geom.Cover, s{200, 150}, s{200, 150}},
		{"fill", s{400, 300}, s{20, 200}, geom.Fill, s{20, 200}, s{20, 200}},
		{"fill by width", s{400, 300}, s{20, 0}, geom.Fill, s{20, 15}, s{20, 15}},
		{"outside", s{400, 300}, s{200, 200}, geom.Outside, s{267, 200}, s{267, 200}},
		{"outside by width", s{400, 300}, s{200, 0}, geom.Outside, s{200, 150}, s{200, 150}},
		{"a line stays a line", s{10000, 1}, s{10, 10}, geom.ScaleDown, s{10, 1}, s{10, 1}},
		{"a line covers", s{10000, 1}, s{10, 10}, geom.Cover, s{100000, 10}, s{10, 10}},
		{"a column by width", s{1, 65535}, s{1, 1}, geom.Contain, s{1, 1}, s{1, 1}},
		{"halves round up", s{3, 5}, s{0, 2}, geom.Inside, s{1, 2}, s{1, 2}},
		{"an unknown fit is the default", s{40, 30}, s{200, 200}, geom.Fit(99), s{40, 30}, s{40, 30}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := geom.Resolve(c.src, c.box, c.fit); got != (geom.Frame{Scaled: c.scaled, Out: c.out}) {
				t.Errorf("%v into %v, %s: %v; want %v, %v", c.src, c.box, c.fit, got, c.scaled, c.out)
			}
		})
	}
}

func drawSize(t *rapid.T, name string, low int) geom.Size {
	side := rapid.OneOf(rapid.IntRange(low, 50), rapid.IntRange(low, 65535))
	return geom.Size{W: side.Draw(t, name+" width"), H: side.Draw(t, name+" height")}
}

func TestResolveHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src, box := drawSize(t, "source", 1), drawSize(t, "box", 0)
		fit := geom.Fit(rapid.IntRange(0, len(geom.Fits())-1).Draw(t, "fit"))
		f := geom.Resolve(src, box, fit)
		if min(f.Scaled.W, f.Scaled.H, f.Out.W, f.Out.H) < 1 {
			t.Fatalf("a side is below 1: %v", f)
		}
		if box == (geom.Size{}) {
			if f.Scaled != src || f.Out != src {
				t.Fatalf("no box changes the size: %v", f)
			}
			return
		}
		both := box.W > 0 && box.H > 0
		within := (box.W == 0 || f.Scaled.W <= box.W) && (box.H == 0 || f.Scaled.H <= box.H)
		over := f.Scaled.W >= box.W && f.Scaled.H >= box.H
		meets := f.Scaled.W == box.W || f.Scaled.H == box.H
		ok := true
		switch fit {
		case geom.ScaleDown:
			ok = f.Scaled.W <= src.W && f.Scaled.H <= src.H && within && f.Out == f.Scaled
		case geom.Inside:
			ok = within && meets && f.Out == f.Scaled
		case geom.Contain:
			ok = within && meets && (!both && f.Out == f.Scaled || both && f.Out == box)
		case geom.Cover:
			ok = over && meets && (!both && f.Out == f.Scaled || both && f.Out == box)
		case geom.Outside:
			ok = over && meets && f.Out == f.Scaled
		case geom.Fill:
			ok = meets && f.Out == f.Scaled && (!both || f.Out == box)
		}
		if !ok {
			t.Fatalf("%v into %v, %s: %v", src, box, fit, f)
		}
	})
}

func TestFitNames(t *testing.T) {
	t.Parallel()
	want := []string{"scale-down", "inside", "contain", "cover", "fill", "outside"}
	for i, name := range want {
		if geom.Fit(i).String() != name || geom.Fits()[i] != name {
			t.Errorf("fit %d is %q; want %q", i, geom.Fit(i), name)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	pic := geom.Size{W: 100, H: 50}
	tests := []struct {
		g    geom.Gravity
		win  geom.Size
		want geom.Rect
	}{
		{geom.Center, geom.Size{W: 50, H: 50}, geom.Rect{X: 25, W: 50, H: 50}},
		{geom.Gravity{X: 0, Y: 0}, geom.Size{W: 50, H: 20}, geom.Rect{W: 50, H: 20}},
		{geom.Gravity{X: 1, Y: 1}, geom.Size{W: 50, H: 20}, geom.Rect{X: 50, Y: 30, W: 50, H: 20}},
		{geom.Gravity{X: 0.3, Y: 0.5}, geom.Size{W: 20, H: 10}, geom.Rect{X: 20, Y: 20, W: 20, H: 10}},
		{geom.Gravity{X: 0.05, Y: 0.95}, geom.Size{W: 20, H: 10}, geom.Rect{X: 0, Y: 40, W: 20, H: 10}},
		{geom.Gravity{X: 0.7, Y: 0.2}, geom.Size{W: 500, H: 500}, geom.Rect{W: 100, H: 50}},
	}
	for _, c := range tests {
		if got := c.g.Place(pic, c.win); got != c.want {
			t.Errorf("%v of %v at %v: %v; want %v", c.win, pic, c.g, got, c.want)
		}
	}
}

func TestPlaceIsInside(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pic, win := drawSize(t, "picture", 1), drawSize(t, "window", 1)
		g := geom.Gravity{X: rapid.Float64Range(0, 1).Draw(t, "x"), Y: rapid.Float64Range(0, 1).Draw(t, "y")}
		r := g.Place(pic, win)
		if r.X < 0 || r.Y < 0 || r.X+r.W > pic.W || r.Y+r.H > pic.H || r.W != min(win.W, pic.W) || r.H != min(win.H, pic.H) {
			t.Fatalf("%v of %v at %v: %v", win, pic, g, r)
		}
	})
}

// upright says where the stored pixel x, y of a picture of w×h stored pixels is
// shown, as Exif 2.3 describes orientations by the place of row 0 and column 0.
func upright(x, y, w, h, orientation int) (int, int) {
	switch orientation {
	case 2: // row 0 at the top, column 0 at the right
		return w - 1 - x, y
	case 3: // bottom, right
		return w - 1 - x, h - 1 - y
	case 4: // bottom, left
		return x, h - 1 - y
	case 5: // row 0 at the left, column 0 at the top
		return y, x
	case 6: // right, top
		return h - 1 - y, x
	case 7: // right, bottom
		return h - 1 - y, w - 1 - x
	case 8: // left, bottom
		return y, w - 1 - x
	}
	return x, y
}

func TestOrientAgainstPixels(t *testing.T) {
	t.Parallel()
	stored := geom.Size{W: 5, H: 3}
	for orientation := range 9 {
		up := stored
		if orientation >= 5 {
			up = geom.Size{W: stored.H, H: stored.W}
		}
		for x := range up.W {
			for y := range up.H {
				for w := 1; x+w <= up.W; w++ {
					for h := 1; y+h <= up.H; h++ {
						r := geom.Rect{X: x, Y: y, W: w, H: h}
						checkOriented(t, r, up, stored, orientation)
					}
				}
			}
		}
	}
}

// checkOriented holds the pixels of the mapped rectangle against those that
// are shown in r.
func checkOriented(t *testing.T, r geom.Rect, up, stored geom.Size, orientation int) {
	t.Helper()
	in := func(r geom.Rect, x, y int) bool { return x >= r.X && x < r.X+r.W && y >= r.Y && y < r.Y+r.H }
	got := geom.Orient(r, up, orientation)
	for x := range stored.W {
		for y := range stored.H {
			ux, uy := upright(x, y, stored.W, stored.H, orientation)
			if in(got, x, y) != in(r, ux, uy) {
				t.Fatalf("orientation %d: %v became %v, which is wrong at the stored pixel %d,%d", orientation, r, got, x, y)
			}
		}
	}
}

func TestTurned(t *testing.T) {
	t.Parallel()
	tests := []struct {
		degrees float64
		w, h    int
	}{
		{0, 100, 50}, {45, 107, 107}, {30, 112, 94}, {-30, 112, 94}, {330, 112, 94}, {1, 101, 52},
	}
	for _, c := range tests {
		if got := geom.Turned(geom.Size{W: 100, H: 50}, c.degrees); got != (geom.Size{W: c.w, H: c.h}) {
			t.Errorf("turned by %v: %v; want %d×%d", c.degrees, got, c.w, c.h)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := drawSize(t, "picture", 1)
		got := geom.Turned(s, rapid.Float64Range(-360, 360).Draw(t, "degrees"))
		if low := min(s.W, s.H); got.W < low || got.H < low || got.W > s.W+s.H+1 || got.H > s.W+s.H+1 {
			t.Fatalf("%v turned is %v", s, got)
		}
	})
}
