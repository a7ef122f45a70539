// Package options holds typed processing options: what a client may ask of a
// rendition, in one vocabulary whatever the URL dialect. One field table
// describes each option (name, unit, range, default, sentence); the parser, the
// canonical form, the reference documentation and OpenAPI all come from it.
package options

import (
	"safelight/internal/format"
	"safelight/internal/geom"
)

// Options is what to do with a source. The zero value changes nothing but the
// encoding. Lengths are CSS pixels until Normalize multiplies them by DPR.
type Options struct {
	Width, Height int     // of the box; 0 follows from the picture's shape
	DPR           float64 // device pixel ratio; 0 is 1
	Fit           geom.Fit
	Gravity       *geom.Gravity // nil is the centre

	Crop   geom.Rect // of the upright source; W 0 is none
	Rotate int       // degrees clockwise, 0 to 359
	Flip   Flip
	Trim   int // threshold 1 to 255; 0 is off

	Pad        Edges
	Background *Color
	Blur       float64 // sigma; 0 is off
	Sharpen    float64 // sigma; 0 is off

	Brightness, Contrast, Saturation *float64 // factors; nil is 1
	Gray                             bool

	Watermark Watermark
	Text      Text

	Format    format.Format // Unknown is the source's own, or the nearest that can be encoded
	Auto      bool          // negotiate the format
	Quality   int           // 1 to 100; 0 is auto
	Lossless  bool
	Page      int  // first page, from 0
	Still     bool // only one frame of an animation
	KeepColor bool // keep the embedded colour profile instead of converting to sRGB
}

// Flip says which axes to mirror.
type Flip struct{ Horizontal, Vertical bool }

// Edges are lengths on the four sides.
type Edges struct{ Top, Right, Bottom, Left int }

// Color is sRGB with alpha, 0 to 255 a channel.
type Color struct{ R, G, B, A uint8 }

// Watermark lays another image over the picture.
type Watermark struct {
	Key     string        // of the image, same owner; "" is none
	Digest  string        // of its source, in place of Key once it is resolved
	Gravity *geom.Gravity // nil is the bottom right
	Margin  int
	Scale   float64  // width as a fraction of the picture's; 0 is 0.25
	Opacity *float64 // 0 to 1; nil is 1
	Tile    bool
}

// Text lays a line of text over the picture.
type Text struct {
	String  string // "" is none
	Size    int    // px; 0 is 32
	Color   *Color // nil is white
	Gravity *geom.Gravity
	Margin  int
	Opacity *float64
}

// Limits on values, as the field table shows them.
const (
	MaxSide       = 16384 // px of a rendition
	MaxDPR        = 8
	MaxPad        = 4096 // px
	MaxBlur       = 100
	MaxSharpen    = 10
	MaxFactor     = 4
	MaxTextBytes  = 200
	MaxTextSize   = 512
	minTextSize   = 4
	maxSourceSide = 65535
)

// Defaults that the documentation names.
const (
	DefaultScale    = 0.25
	DefaultTextSize = 32
	DefaultTrim     = 10
)

// Normalize gives options that mean the same in their only form: DPR is
// multiplied into lengths, as far as their limits allow, and what has no effect
// is dropped. Normalizing again changes nothing.
func (o Options) Normalize() Options {
	if o.Watermark.Key == "" && o.Watermark.Digest == "" {
		o.Watermark = Watermark{}
	}
	if o.Text.String == "" {
		o.Text = Text{}
	}
	o.multiply()
	if o.Width == 0 && o.Height == 0 {
		o.Fit = geom.ScaleDown
	}
	if oneSided := o.Width == 0 || o.Height == 0; oneSided {
		switch o.Fit {
		case geom.Contain, geom.Cover, geom.Fill, geom.Outside:
			o.Fit = geom.Inside // all the same with one side given
		}
	}
	if o.Gravity != nil && o.Fit == geom.Contain && o.Gravity.Smart {
		o.Gravity = nil // nothing is cropped
	}
	if o.Gravity != nil && (*o.Gravity == geom.Center || o.Fit != geom.Cover && o.Fit != geom.Contain) {
		o.Gravity = nil
	}
	o.Brightness, o.Contrast, o.Saturation = effective(o.Brightness), effective(o.Contrast), effective(o.Saturation)
	if o.Gray {
		o.Saturation = nil
	}
	if o.Lossless {
		o.Quality = 0
	}
	if o.Watermark.Scale == DefaultScale {
		o.Watermark.Scale = 0
	}
	if o.Text.Size == DefaultTextSize {
		o.Text.Size = 0
	}
	if o.Text.Color != nil && *o.Text.Color == (Color{255, 255, 255, 255}) {
		o.Text.Color = nil
	}
	o.Watermark.Gravity, o.Text.Gravity = bottomRight(o.Watermark.Gravity), bottomRight(o.Text.Gravity)
	o.Watermark.Opacity, o.Text.Opacity = effective(o.Watermark.Opacity), effective(o.Text.Opacity)
	return o
}

// Identity tells options that leave the source's bytes alone: nothing asked.
func (o Options) Identity() bool { return o.Canonical() == "" }

// multiply takes DPR into the lengths. Where one of them would pass its limit
// the ratio is reduced for all, so that the picture keeps its proportions.
func (o *Options) multiply() {
	by := o.DPR
	o.DPR = 0
	if by == 0 || by == 1 {
		return
	}
	if o.Text.String != "" {
		o.Text.Size = cmpOr(o.Text.Size, DefaultTextSize)
	}
	lengths := []struct {
		at   *int
		most int
	}{
		{&o.Width, MaxSide},
		{&o.Height, MaxSide},
		{&o.Pad.Top, MaxPad},
		{&o.Pad.Right, MaxPad},
		{&o.Pad.Bottom, MaxPad},
		{&o.Pad.Left, MaxPad},
		{&o.Watermark.Margin, MaxPad},
		{&o.Text.Margin, MaxPad},
		{&o.Text.Size, MaxTextSize},
	}
	for _, l := range lengths {
		if v := float64(*l.at); v*by > float64(l.most) {
			by = float64(l.most) / v
		}
	}
	for _, l := range lengths {
		*l.at = scale(*l.at, by)
	}
	if o.Text.String != "" {
		o.Text.Size = max(o.Text.Size, minTextSize)
	}
}

func scale(v int, by float64) int {
	if v == 0 {
		return 0
	}
	return max(1, int(float64(v)*by+0.5))
}

func cmpOr(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

func effective(factor *float64) *float64 {
	if factor != nil && *factor == 1 {
		return nil
	}
	return factor
}

func bottomRight(g *geom.Gravity) *geom.Gravity {
	if g != nil && *g == (geom.Gravity{X: 1, Y: 1}) {
		return nil
	}
	return g
}
