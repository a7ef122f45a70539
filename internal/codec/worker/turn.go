package worker

import (
	"math"

	"safelight/internal/plan"
	"safelight/internal/vips"
)

// orient undoes an Exif orientation: it turns clockwise, then mirrors left and right.
func (p *picture) orient(orientation int) error {
	turns := map[int]string{3: "d180", 5: "d90", 6: "d90", 7: "d270", 8: "d270"}
	switch orientation {
	case 2:
		return p.flip(plan.Flip{Horizontal: true})
	case 4:
		return p.flip(plan.Flip{Vertical: true})
	}
	angle, ok := turns[orientation]
	if !ok {
		return nil
	}
	if err := p.anyOrder("rot", vips.Set("angle", angle)); err != nil {
		return err
	}
	if orientation == 5 || orientation == 7 {
		return p.flip(plan.Flip{Horizontal: true})
	}
	return nil
}

func (p *picture) flip(f plan.Flip) error {
	if f.Horizontal {
		if err := p.op("flip", vips.Set("direction", "horizontal")); err != nil {
			return err
		}
	}
	if f.Vertical {
		return p.anyOrder("flip", vips.Set("direction", "vertical"))
	}
	return nil
}

func (p *picture) rotate(r plan.Rotate) error {
	degrees := math.Mod(math.Mod(r.Degrees, 360)+360, 360)
	switch degrees {
	case 0:
		return nil
	case 90, 180, 270:
		angle := map[float64]string{90: "d90", 180: "d180", 270: "d270"}[degrees]
		return p.anyOrder("rot", vips.Set("angle", angle))
	}
	if err := p.hold(); err != nil {
		return err
	}
	return p.each(func(i *vips.Image) (*vips.Image, error) { return p.tilt(i, degrees, r.Background) })
}

// tilt turns by an angle that is no multiple of 90; the corners show the background.
func (p *picture) tilt(i *vips.Image, degrees float64, c plan.RGB) (*vips.Image, error) {
	i, background, err := p.prepared(i, c)
	if err != nil {
		return nil, err
	}
	if i.HasAlpha() { // similarity premultiplies the picture, but not the background
		for b := range len(background) - 1 {
			background[b] *= float64(c.A) / 255
		}
	}
	return p.scope.Op("similarity", i, vips.Set("angle", degrees), vips.Set("background", background))
}

// prepared makes a picture able to show a colour: it gets bands for it where it
// is grey and the colour is not, and alpha where the colour is not opaque. The
// colour is returned as values for its bands.
func (p *picture) prepared(i *vips.Image, c plan.RGB) (*vips.Image, []float64, error) {
	i, err := p.srgb(i)
	if err != nil {
		return nil, nil, err
	}
	if i.Interpretation() == vips.BW && (c.R != c.G || c.G != c.B) && c.A > 0 {
		if i, err = p.scope.Op("colourspace", i, vips.Set("space", "srgb")); err != nil {
			return nil, nil, err
		}
	}
	if c.A < 255 {
		if i, err = p.withAlpha(i); err != nil {
			return nil, nil, err
		}
	}
	values := []float64{float64(c.R), float64(c.G), float64(c.B)}
	if i.Interpretation() == vips.BW {
		values = values[:1]
	}
	if i.HasAlpha() {
		values = append(values, float64(c.A))
	}
	return i, values, nil
}

// withAlpha adds an opaque alpha band to an 8-bit picture that has none.
func (p *picture) withAlpha(i *vips.Image) (*vips.Image, error) {
	if i.HasAlpha() {
		return i, nil
	}
	return p.scope.Op("bandjoin_const", i, vips.Set("c", []float64{255}))
}
