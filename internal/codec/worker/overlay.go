package worker

import (
	"math"
	"strconv"
	"strings"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// canvas lays the picture on a larger one. What is larger than the canvas is
// cut to it first, at the same gravity.
func (p *picture) canvas(c plan.Canvas) error {
	g := c.Gravity
	if g.Smart {
		g = geom.Center
	}
	to := c.Size
	if to == (geom.Size{}) {
		from := p.size()
		to = geom.Size{W: from.W + c.Left + c.Right, H: from.H + c.Top + c.Bottom}
	} else if err := p.cut(g.Place(p.size(), to)); err != nil {
		return err
	}
	from := p.size()
	x, y := c.Left, c.Top
	if c.Size != (geom.Size{}) {
		x, y = lean(g.X, to.W, from.W, 0), lean(g.Y, to.H, from.H, 0)
	}
	if to.W < from.W || to.H < from.H || x < 0 || y < 0 {
		return fault.New(fault.Invalid, "a canvas can't be smaller than the picture on it")
	}
	if to == from {
		return nil
	}
	return p.each(func(i *vips.Image) (*vips.Image, error) {
		i, background, err := p.prepared(i, c.Background)
		if err != nil {
			return nil, err
		}
		return p.scope.Op("embed", i, vips.Set("x", x), vips.Set("y", y), vips.Set("width", to.W), vips.Set("height", to.H),
			vips.Set("extend", "background"), vips.Set("background", background))
	})
}

// lean is where a side of a length lies in a longer one: at a fraction of the
// free room, and away from an edge that it leans on by the margin.
func lean(at float64, total, length, margin int) int {
	return int(math.Round(at*float64(total-length) + (1-2*at)*float64(margin)))
}

// watermark lays input 1 over every frame.
func (p *picture) watermark(w plan.Watermark) error {
	if err := p.hold(); err != nil {
		return err
	}
	mark, err := p.loadOverlay(w.Format)
	if err != nil {
		return err
	}
	if w.Scale > 0 {
		wide := max(1, int(math.Round(w.Scale*float64(p.size().W))))
		high := max(1, int(math.Round(float64(mark.Height())*float64(wide)/float64(mark.Width()))))
		if mark, err = p.scale(mark, geom.Size{W: wide, H: high}); err != nil {
			return err
		}
	}
	if mark, err = p.fade(mark, w.Opacity); err != nil {
		return err
	}
	if w.Tile {
		return p.tile(mark, w.Margin)
	}
	return p.lay(mark, w.Gravity, w.Margin)
}

// loadOverlay reads input 1, upright, as 8-bit sRGB with alpha, into memory.
func (p *picture) loadOverlay(f format.Format) (*vips.Image, error) {
	if p.overlay != nil {
		return p.overlay, nil
	}
	if !f.Source() {
		return nil, fault.New(fault.Unsupported, "%s files are not accepted", f)
	}
	if p.files.Overlay < 0 {
		return nil, fault.New(fault.Invalid, "a watermark needs a second picture")
	}
	how, ok := loaders[f]
	if !ok || !vips.Has(how.operation) {
		return nil, fault.New(fault.Unsupported, "this installation's libvips can't read %s files", f)
	}
	i, err := p.open(plan.Load{Format: f}, p.files.Overlay, 1)
	if err != nil {
		return nil, err
	}
	if i, err = p.single(i); err != nil {
		return nil, err
	}
	if i, err = p.srgb(i); err != nil {
		return nil, err
	}
	if i.Interpretation() != vips.SRGB {
		if i, err = p.scope.Op("colourspace", i, vips.Set("space", "srgb")); err != nil {
			return nil, err
		}
	}
	if i, err = p.withAlpha(i); err != nil {
		return nil, err
	}
	if i, err = p.scope.CopyMemory(i); err != nil {
		return nil, err
	}
	p.overlay, err = p.scope.Op("autorot", i)
	return p.overlay, err
}

// fade multiplies the alpha of an 8-bit sRGB picture.
func (p *picture) fade(i *vips.Image, opacity float64) (*vips.Image, error) {
	if opacity >= 1 {
		return i, nil
	}
	return p.scope.Op("linear", i, vips.Set("a", []float64{1, 1, 1, max(opacity, 0)}),
		vips.Set("b", []float64{0, 0, 0, 0}), vips.Set("uchar", true))
}

// tile repeats the mark from the top left corner, with the margin around each.
func (p *picture) tile(mark *vips.Image, margin int) error {
	size := p.size()
	cell, err := p.scope.Op("embed", mark, vips.Set("x", margin), vips.Set("y", margin),
		vips.Set("width", mark.Width()+2*margin), vips.Set("height", mark.Height()+2*margin))
	if err != nil {
		return err
	}
	if cell, err = p.scope.CopyMemory(cell); err != nil {
		return err
	}
	across, down := (size.W-1)/cell.Width()+1, (size.H-1)/cell.Height()+1
	all, err := p.scope.Op("replicate", cell, vips.Set("across", across), vips.Set("down", down))
	if err != nil {
		return err
	}
	return p.lay(all, geom.Gravity{}, 0)
}

// lay composes an sRGB picture with alpha over every frame at a gravity. Only
// the part under it is computed anew; the rest of the frame is as it was. The
// frames must be held.
func (p *picture) lay(over *vips.Image, g geom.Gravity, margin int) error {
	if g.Smart {
		g = geom.Center
	}
	size := p.size()
	x, y := lean(g.X, size.W, over.Width(), margin), lean(g.Y, size.H, over.Height(), margin)
	left, top := max(x, 0), max(y, 0)
	right, bottom := min(x+over.Width(), size.W), min(y+over.Height(), size.H)
	if right <= left || bottom <= top {
		return nil
	}
	at := geom.Rect{X: left, Y: top, W: right - left, H: bottom - top}
	over, err := p.area(over, geom.Rect{X: left - x, Y: top - y, W: at.W, H: at.H})
	if err != nil {
		return err
	}
	return p.each(func(i *vips.Image) (*vips.Image, error) {
		i, err := p.coloured(i)
		if err != nil {
			return nil, err
		}
		under, err := p.area(i, at)
		if err != nil {
			return nil, err
		}
		mixed, err := p.compose(under, over)
		if err != nil {
			return nil, err
		}
		var out *vips.Image
		err = p.scope.Call("insert", vips.Set("main", i), vips.Set("sub", mixed), vips.Set("x", left), vips.Set("y", top), vips.Get("out", &out))
		return out, err
	})
}

// coloured is the picture as 8-bit sRGB of three bands, and alpha if it has some.
func (p *picture) coloured(i *vips.Image) (*vips.Image, error) {
	i, err := p.srgb(i)
	if err != nil || i.Interpretation() == vips.SRGB {
		return i, err
	}
	return p.scope.Op("colourspace", i, vips.Set("space", "srgb"))
}

// compose puts one 8-bit sRGB picture over another of its size (Porter-Duff "over").
func (p *picture) compose(under, over *vips.Image) (*vips.Image, error) {
	var out *vips.Image
	err := p.scope.Call("composite2", vips.Set("base", under), vips.Set("overlay", over), vips.Set("mode", "over"), vips.Get("out", &out))
	if err != nil {
		return nil, err
	}
	if !under.HasAlpha() { // libvips' result has alpha always
		if out, err = p.scope.Op("extract_band", out, vips.Set("band", 0), vips.Set("n", 3)); err != nil {
			return nil, err
		}
	}
	return p.scope.Op("cast", out, vips.Set("format", "uchar"))
}

// Pango reads its markup in a text; these would be taken for some.
var plainText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\n", " ", "\r", " ", "\x00", "")

// text lays a line of text over every frame. A line that is longer than the
// picture is wide is made smaller.
func (p *picture) text(t plan.Text) error {
	line := plainText.Replace(strings.ToValidUTF8(t.String, ""))
	if strings.TrimSpace(line) == "" || t.Size <= 0 {
		return nil
	}
	if err := p.hold(); err != nil {
		return err
	}
	size := p.size()
	var mask *vips.Image
	font := "sans " + strconv.FormatFloat(min(t.Size, float64(2*size.H)), 'f', 1, 64)
	err := p.scope.Call("text", vips.Set("text", line), vips.Set("font", font), vips.Set("dpi", 72), vips.Get("out", &mask))
	if err != nil { // no fonts, or none that the sandbox lets it open
		return fault.Wrap(fault.Unsupported, err, "this installation can't draw that text")
	}
	if room := max(1, size.W-2*t.Margin); mask.Width() > room {
		high := max(1, int(math.Round(float64(mask.Height())*float64(room)/float64(mask.Width()))))
		if mask, err = p.scale(mask, geom.Size{W: room, H: high}); err != nil {
			return err
		}
	}
	opacity := t.Opacity * float64(t.Color.A) / 255
	if mask, err = p.scope.Op("linear", mask, vips.Set("a", []float64{min(max(opacity, 0), 1)}),
		vips.Set("b", []float64{0}), vips.Set("uchar", true)); err != nil {
		return err
	}
	letters, err := p.inked(mask, t.Color)
	if err != nil {
		return err
	}
	return p.lay(letters, t.Gravity, t.Margin)
}

// inked makes a mask the alpha of one colour, in memory.
func (p *picture) inked(mask *vips.Image, c plan.RGB) (*vips.Image, error) {
	ink, err := p.scope.Op("linear", mask, vips.Set("a", []float64{0, 0, 0}),
		vips.Set("b", []float64{float64(c.R), float64(c.G), float64(c.B)}), vips.Set("uchar", true))
	if err != nil {
		return nil, err
	}
	var out *vips.Image
	if err = p.scope.Call("bandjoin", vips.Set("in", []*vips.Image{ink, mask}), vips.Get("out", &out)); err != nil {
		return nil, err
	}
	if out, err = p.scope.Op("copy", out, vips.Set("interpretation", "srgb")); err != nil {
		return nil, err
	}
	return p.scope.CopyMemory(out)
}
