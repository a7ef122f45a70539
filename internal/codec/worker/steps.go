package worker

import (
	"math"

	"safelight/internal/fault"
	"safelight/internal/geom"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// apply runs the steps in their order.
func (p *picture) apply(steps []plan.Step) error {
	for _, s := range steps {
		if err := p.step(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *picture) step(s plan.Step) error {
	switch {
	case s.Trim != nil:
		return p.trim(*s.Trim)
	case s.Crop != nil:
		return p.crop(*s.Crop)
	case s.Resize != nil:
		return p.resize(*s.Resize)
	case s.Orient > 1:
		return p.orient(s.Orient)
	case s.SRGB:
		return p.each(p.srgb)
	case s.Window != nil:
		return p.window(*s.Window)
	case s.Rotate != nil:
		return p.rotate(*s.Rotate)
	case s.Flip != nil:
		return p.flip(*s.Flip)
	case s.Adjust != nil:
		return p.each(func(i *vips.Image) (*vips.Image, error) { return p.adjust(i, *s.Adjust) })
	case s.Gray:
		return p.op("colourspace", vips.Set("space", "b-w"))
	case s.Blur > 0:
		return p.each(func(i *vips.Image) (*vips.Image, error) {
			return p.premultiplied(i, "gaussblur", vips.Set("sigma", s.Blur))
		})
	case s.Sharpen > 0:
		return p.each(func(i *vips.Image) (*vips.Image, error) {
			return p.premultiplied(i, "sharpen", vips.Set("sigma", s.Sharpen))
		})
	case s.Canvas != nil:
		return p.canvas(*s.Canvas)
	case s.Flatten != nil:
		return p.each(func(i *vips.Image) (*vips.Image, error) { return p.flatten(i, *s.Flatten) })
	case s.Watermark != nil:
		return p.watermark(*s.Watermark)
	case s.Text != nil:
		return p.text(*s.Text)
	}
	return nil // an orientation of 1, a blur of 0 …
}

// trim finds the border on every frame and cuts off what is border on all.
func (p *picture) trim(t plan.Trim) error {
	if err := p.hold(); err != nil {
		return err
	}
	left, top, right, bottom := math.MaxInt, math.MaxInt, 0, 0
	for _, f := range p.frames {
		r, err := p.content(f, t.Threshold)
		if err != nil {
			return err
		}
		if r.W == 0 || r.H == 0 {
			continue
		}
		left, top = min(left, r.X), min(top, r.Y)
		right, bottom = max(right, r.X+r.W), max(bottom, r.Y+r.H)
	}
	if right <= left || bottom <= top {
		return nil
	}
	return p.cut(geom.Rect{X: left, Y: top, W: right - left, H: bottom - top})
}

// content is the rectangle of what differs from the top left pixel. Where that
// pixel is transparent, whatever is transparent is border, of any colour.
func (p *picture) content(i *vips.Image, threshold float64) (geom.Rect, error) {
	var corner []float64
	if err := p.scope.Call("getpoint", vips.Set("in", i), vips.Set("x", 0), vips.Set("y", 0), vips.Get("out-array", &corner)); err != nil {
		return geom.Rect{}, err
	}
	if i.HasAlpha() {
		last := len(corner) - 1
		if corner[last] == 0 {
			alpha, err := p.scope.Op("extract_band", i, vips.Set("band", last))
			if err != nil {
				return geom.Rect{}, err
			}
			i, corner = alpha, []float64{0}
		} else {
			corner = corner[:last]
		}
	}
	var r geom.Rect
	err := p.scope.Call("find_trim", vips.Set("in", i), vips.Set("threshold", threshold), vips.Set("background", corner),
		vips.Get("left", &r.X), vips.Get("top", &r.Y), vips.Get("width", &r.W), vips.Get("height", &r.H))
	return r, err
}

func (p *picture) cut(r geom.Rect) error {
	size := p.size()
	x, y := min(max(r.X, 0), size.W-1), min(max(r.Y, 0), size.H-1)
	w, h := min(max(r.W, 1), size.W-x), min(max(r.H, 1), size.H-y)
	if w == size.W && h == size.H {
		return nil
	}
	return p.each(func(i *vips.Image) (*vips.Image, error) { return p.area(i, geom.Rect{X: x, Y: y, W: w, H: h}) })
}

// crop scales its rectangle to the picture at hand, which shrink-on-load may have made smaller.
func (p *picture) crop(c plan.Crop) error {
	if c.Of.W < 1 || c.Of.H < 1 {
		return fault.New(fault.Invalid, "a crop needs the size that its rectangle refers to")
	}
	size := p.size()
	sx, sy := float64(size.W)/float64(c.Of.W), float64(size.H)/float64(c.Of.H)
	at := func(v int, scale float64) int { return int(math.Round(float64(v) * scale)) }
	x, y := at(c.Rect.X, sx), at(c.Rect.Y, sy)
	return p.cut(geom.Rect{X: x, Y: y, W: at(c.Rect.X+c.Rect.W, sx) - x, H: at(c.Rect.Y+c.Rect.H, sy) - y})
}

func (p *picture) resize(r plan.Resize) error {
	to := r.To
	if !r.Exact {
		to = geom.Resolve(p.size(), r.To, r.Fit).Scaled
	}
	if to.W < 1 || to.H < 1 {
		return fault.New(fault.Invalid, "a picture can't be resized to %d x %d pixels", to.W, to.H)
	}
	return p.each(func(i *vips.Image) (*vips.Image, error) { return p.scale(i, to) })
}

// scale makes a picture of exactly the size.
func (p *picture) scale(i *vips.Image, to geom.Size) (*vips.Image, error) {
	from := sizeOf(i)
	if from == to {
		return i, nil
	}
	i, err := p.premultiplied(i, "resize", vips.Set("scale", float64(to.W)/float64(from.W)),
		vips.Set("vscale", float64(to.H)/float64(from.H)))
	if err != nil || sizeOf(i) == to {
		return i, err
	}
	// libvips rounds in its own way when it shrinks in two goes.
	return p.scope.Op("embed", i, vips.Set("x", 0), vips.Set("y", 0),
		vips.Set("width", to.W), vips.Set("height", to.H), vips.Set("extend", "copy"))
}

// premultiplied runs an operation that mixes neighbouring pixels so that
// transparent ones lend no colour to others.
func (p *picture) premultiplied(i *vips.Image, name string, args ...vips.Arg) (*vips.Image, error) {
	if !i.HasAlpha() {
		return p.scope.Op(name, i, args...)
	}
	format := i.Format()
	out, err := p.scope.Op("premultiply", i)
	if err == nil && name == "sharpen" { // works on integers only
		out, err = p.scope.Op("cast", out, vips.Set("format", format))
	}
	if err == nil {
		out, err = p.scope.Op(name, out, args...)
	}
	if err == nil {
		out, err = p.scope.Op("unpremultiply", out)
	}
	if err != nil {
		return nil, err
	}
	return p.scope.Op("cast", out, vips.Set("format", format))
}

// window cuts to a size at a gravity. The place that a smart crop finds on the
// first frame holds for all.
func (p *picture) window(w plan.Window) error {
	size := p.size()
	want := geom.Size{W: min(w.Size.W, size.W), H: min(w.Size.H, size.H)}
	if want.W < 1 || want.H < 1 {
		return fault.New(fault.Invalid, "a picture can't be cut to %d x %d pixels", w.Size.W, w.Size.H)
	}
	if want == size {
		return nil
	}
	if !w.Gravity.Smart {
		return p.cut(w.Gravity.Place(size, want))
	}
	if err := p.hold(); err != nil {
		return err
	}
	var found *vips.Image
	err := p.scope.Call("smartcrop", vips.Set("input", p.frames[0]), vips.Get("out", &found),
		vips.Set("width", want.W), vips.Set("height", want.H), vips.Set("interesting", "attention"))
	if err != nil {
		return err
	}
	x, y := found.Offset()
	return p.cut(geom.Rect{X: -x, Y: -y, W: want.W, H: want.H})
}
