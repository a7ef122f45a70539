// Package geom computes sizes and rectangles: how a picture of one size is
// fitted into a box of another. All values are pixels; nothing here knows of
// images. The names of fits are those of CSS object-fit and sharp.
package geom

import "math"

// Fit says how a picture meets the box that was asked for.
type Fit uint8

// The fits. ScaleDown is the default: the whole picture within the box, never enlarged.
const (
	ScaleDown Fit = iota // whole picture within the box; keeps its shape; never enlarged
	Inside               // as ScaleDown, but enlarged to meet the box
	Contain              // as Inside, and the rest of the box is filled with the background
	Cover                // fills the box; what is over is cropped off at the gravity
	Fill                 // stretched to the box exactly
	Outside              // smallest size that covers the box; keeps its shape; nothing is cropped
)

var fitNames = []string{"scale-down", "inside", "contain", "cover", "fill", "outside"}

func (f Fit) String() string { return fitNames[f] }

// Fits lists the names of all fits in the order of their values.
func Fits() []string { return fitNames }

// Size is a width and a height in pixels.
type Size struct{ W, H int }

// Rect is a rectangle in pixels from the top left corner.
type Rect struct{ X, Y, W, H int }

// Frame is what a fit comes to: the picture is scaled to Scaled, then a window
// of the size Out is taken from it (Cover) or laid around it (Contain).
type Frame struct {
	Scaled Size
	Out    Size
}

// Resolve fits a picture of size src into a box; a side of the box that is 0
// follows from the picture's shape, and a box of 0×0 is the picture's own size.
func Resolve(src, box Size, fit Fit) Frame {
	if box.W == 0 && box.H == 0 {
		return Frame{src, src}
	}
	sx, sy := float64(box.W)/float64(src.W), float64(box.H)/float64(src.H)
	oneSided := box.W == 0 || box.H == 0
	if box.W == 0 {
		sx = sy
	}
	if box.H == 0 {
		sy = sx
	}
	low, high := math.Min(sx, sy), math.Max(sx, sy)
	switch fit {
	case Fill:
		if oneSided {
			return whole(scaled(src, low, low))
		}
		return whole(box)
	case Cover:
		out := box
		if oneSided {
			return whole(scaled(src, high, high))
		}
		s := scaled(src, high, high)
		return Frame{Size{max(s.W, out.W), max(s.H, out.H)}, out}
	case Outside:
		return whole(scaled(src, high, high))
	case Contain:
		s := scaled(src, low, low)
		if oneSided {
			return whole(s)
		}
		return Frame{Size{min(s.W, box.W), min(s.H, box.H)}, box}
	case Inside:
		return whole(scaled(src, low, low))
	default:
		low = math.Min(low, 1)
		return whole(scaled(src, low, low))
	}
}

func whole(s Size) Frame { return Frame{s, s} }

func scaled(s Size, x, y float64) Size {
	return Size{atLeast1(float64(s.W) * x), atLeast1(float64(s.H) * y)}
}

func atLeast1(v float64) int { return max(1, int(math.Round(v))) }

// Gravity is the point of a picture that a crop keeps in view: X and Y are
// fractions from the left and the top, 0 to 1. Smart asks for the most
// interesting part instead.
type Gravity struct {
	X, Y  float64
	Smart bool
}

// Center is the default gravity.
var Center = Gravity{X: 0.5, Y: 0.5}

// Place puts a window of size win on a picture of size pic with its centre at
// the gravity point, moved inside the edges. The window comes out no larger
// than the picture.
func (g Gravity) Place(pic, win Size) Rect {
	w, h := min(win.W, pic.W), min(win.H, pic.H)
	return Rect{X: slide(g.X, pic.W, w), Y: slide(g.Y, pic.H, h), W: w, H: h}
}

func slide(at float64, total, win int) int {
	free := total - win
	return min(free, max(0, int(math.Round(at*float64(total)-float64(win)/2))))
}

// Orient maps a rectangle of an upright picture of size up into the pixels as
// they are stored under an Exif orientation (1 to 8).
func Orient(r Rect, up Size, orientation int) Rect {
	switch orientation {
	case 2:
		return Rect{up.W - r.X - r.W, r.Y, r.W, r.H}
	case 3:
		return Rect{up.W - r.X - r.W, up.H - r.Y - r.H, r.W, r.H}
	case 4:
		return Rect{r.X, up.H - r.Y - r.H, r.W, r.H}
	case 5:
		return Rect{r.Y, r.X, r.H, r.W}
	case 6:
		return Rect{r.Y, up.W - r.X - r.W, r.H, r.W}
	case 7:
		return Rect{up.H - r.Y - r.H, up.W - r.X - r.W, r.H, r.W}
	case 8:
		return Rect{up.H - r.Y - r.H, r.X, r.H, r.W}
	}
	return r
}

// Turned is the size of the upright box around a picture turned by degrees.
func Turned(s Size, degrees float64) Size {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	sin, cos = math.Abs(sin), math.Abs(cos)
	w, h := float64(s.W), float64(s.H)
	return Size{int(math.Ceil(w*cos + h*sin)), int(math.Ceil(w*sin + h*cos))}
}
