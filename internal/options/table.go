package options

import (
	"fmt"
	"strconv"

	"safelight/internal/asset"
	"safelight/internal/geom"
)

var fields = []Field{
	intField("w", "px", 0, MaxSide, "", "Width of the box; 0 or absent follows from the picture's shape.", func(o *Options) *int { return &o.Width }),
	intField("h", "px", 0, MaxSide, "", "Height of the box; 0 or absent follows from the picture's shape.", func(o *Options) *int { return &o.Height }),
	floatField("dpr", "factor", 0.1, MaxDPR, "1", "Device pixel ratio: multiplies every length, as far as their limits allow.", func(o *Options) *float64 { return &o.DPR }),
	{
		Name: "fit", Type: "string", Enum: geom.Fits(), Range: "scale-down, inside, contain, cover, fill, outside", Default: "scale-down",
		Doc:  "How the picture meets the box: scale-down (whole picture, never enlarged); the others enlarge if they must: inside (whole picture), contain (inside, with background around it), cover (fills the box, cropped at the gravity), fill (stretched), outside (covers the box, not cropped).",
		read: readFit, write: writeFit,
	},
	gravityField("gravity", "center", "Which part a cover crop keeps, and where contain puts the picture.", true, func(o *Options) **geom.Gravity { return &o.Gravity }),
	{
		Name: "crop", Type: "string", Unit: "px", Range: "x,y,w,h in pixels of the upright source", Doc: "Takes a rectangle of the source before anything else; what lies outside the picture is cut off.",
		read: readCrop, write: writeCrop,
	},
	{
		Name: "rot", Type: "integer", Unit: "degrees", Range: "-359 to 359", Min: -359, Max: 359, Default: "0", Doc: "Turns clockwise, after the orientation in the file is applied and the picture is fitted: w and h are those before the turn.",
		read: func(o *Options, s string) error {
			v, err := parseInt(s, -359, 359)
			o.Rotate = (v + 360) % 360
			return err
		},
		write: func(o *Options) string { return nonzero(o.Rotate) },
	},
	{
		Name: "flip", Type: "string", Enum: []string{"h", "v", "hv"}, Range: "h, v, hv", Doc: "Mirrors left to right (h), top to bottom (v) or both.",
		read: readFlip, write: writeFlip,
	},
	{
		Name: "trim", Type: "integer", Range: "0 to 255", Max: 255, Default: "0", Doc: "Cuts off a border of one colour; the number is the difference that still counts as border (an empty value is 10).",
		read: func(o *Options, s string) (err error) {
			if s == "" {
				o.Trim = DefaultTrim
				return nil
			}
			o.Trim, err = parseInt(s, 0, 255)
			return err
		},
		write: func(o *Options) string { return nonzero(o.Trim) },
	},
	{
		Name: "pad", Type: "string", Unit: "px", Range: fmt.Sprintf("one, two (vertical,horizontal) or four (top,right,bottom,left) lengths of 0 to %d", MaxPad), Doc: "Adds a margin in the background colour around the result.",
		read:  func(o *Options, s string) (err error) { o.Pad, err = parseEdges(s); return },
		write: func(o *Options) string { return printEdges(o.Pad) },
	},
	colorField("bg", "transparent, or white where the format has no transparency", "Background under transparent pixels, in margins and in the corners of a turned picture.", func(o *Options) **Color { return &o.Background }),
	floatField("blur", "px (sigma)", 0.3, MaxBlur, "", "Gaussian blur.", func(o *Options) *float64 { return &o.Blur }),
	floatField("sharp", "px (sigma)", 0.3, MaxSharpen, "", "Sharpens edges.", func(o *Options) *float64 { return &o.Sharpen }),
	factorField("bright", MaxFactor, "Multiplies brightness.", func(o *Options) **float64 { return &o.Brightness }),
	factorField("contrast", MaxFactor, "Multiplies contrast around mid grey.", func(o *Options) **float64 { return &o.Contrast }),
	factorField("sat", MaxFactor, "Multiplies saturation.", func(o *Options) **float64 { return &o.Saturation }),
	boolField("gray", "0", "Removes colour.", func(o *Options) *bool { return &o.Gray }),
	{
		Name: "watermark", Type: "string", Range: "the key of an image of the same owner", Doc: "Lays that image over the picture.",
		read: func(o *Options, s string) error {
			o.Watermark.Key = s
			return asset.CheckKey(s)
		},
		write: func(o *Options) string {
			if o.Watermark.Digest != "" {
				return o.Watermark.Digest
			}
			return o.Watermark.Key
		},
	},
	gravityField("wm_gravity", "southeast", "Where the watermark lies.", false, func(o *Options) **geom.Gravity { return &o.Watermark.Gravity }),
	intField("wm_margin", "px", 0, MaxPad, "0", "The watermark's distance from the edges it leans on.", func(o *Options) *int { return &o.Watermark.Margin }),
	floatField("wm_scale", "factor", 0.01, 1, "0.25", "The watermark's width as a fraction of the picture's.", func(o *Options) *float64 { return &o.Watermark.Scale }),
	factorField("wm_opacity", 1, "How much of the watermark shows.", func(o *Options) **float64 { return &o.Watermark.Opacity }),
	boolField("wm_tile", "0", "Repeats the watermark over the whole picture.", func(o *Options) *bool { return &o.Watermark.Tile }),
	{
		Name: "text", Type: "string", Range: fmt.Sprintf("at most %d bytes of UTF-8 on one line", MaxTextBytes), Doc: "Lays a line of text over the picture.",
		read: readText, write: func(o *Options) string { return o.Text.String },
	},
	intField("text_size", "px", minTextSize, MaxTextSize, "32", "Size of the text.", func(o *Options) *int { return &o.Text.Size }),
	colorField("text_color", "white", "Colour of the text.", func(o *Options) **Color { return &o.Text.Color }),
	gravityField("text_gravity", "southeast", "Where the text lies.", false, func(o *Options) **geom.Gravity { return &o.Text.Gravity }),
	intField("text_margin", "px", 0, MaxPad, "0", "The text's distance from the edges it leans on.", func(o *Options) *int { return &o.Text.Margin }),
	factorField("text_opacity", 1, "How much of the text shows.", func(o *Options) **float64 { return &o.Text.Opacity }),
	{
		Name: "format", Type: "string", Enum: encodable, Range: "auto, jpeg, webp, avif, png, gif, jxl", Default: "the source's, or jpeg (png with transparency) where that can't be encoded",
		Doc:  "Format of the rendition; auto takes the best one that the client's Accept header allows. jxl (JPEG XL) is there where libvips can write it.",
		read: readFormat, write: writeFormat,
	},
	{
		Name: "q", Type: "string", Range: "1 to 100, or auto", Default: "auto", Doc: "Quality of a lossy format; auto predicts from the picture what gives it a good score, the same for every format and picture.",
		read: readQuality, write: func(o *Options) string { return nonzero(o.Quality) },
	},
	boolField("lossless", "0", "Encodes WebP, AVIF and JPEG XL without loss.", func(o *Options) *bool { return &o.Lossless }),
	intField("page", "page", 0, 100000, "0", "First page or frame of the source, from 0.", func(o *Options) *int { return &o.Page }),
	boolField("anim", "1", "0 takes one frame of an animation instead of all.", func(o *Options) *bool { return &o.Still }),
	boolField("strip", "1", "0 keeps the embedded colour profile instead of converting to sRGB; other metadata never leaves.", func(o *Options) *bool { return &o.KeepColor }),
}

func nonzero(v int) string {
	if v == 0 {
		return ""
	}
	return strconv.Itoa(v)
}

func readQuality(o *Options, s string) (err error) {
	if s == "auto" {
		o.Quality = 0
		return nil
	}
	if o.Quality, err = parseInt(s, 1, 100); err != nil {
		return fmt.Errorf("expected auto or a whole number from 1 to 100 but received %q", clip(s))
	}
	return nil
}

func readCrop(o *Options, s string) error {
	v, err := parseInts(s, 4, 0, maxSourceSide)
	if err != nil {
		return err
	}
	if v[2] == 0 || v[3] == 0 {
		return fmt.Errorf("expected a width and a height of at least 1 but received %q", clip(s))
	}
	o.Crop = geom.Rect{X: v[0], Y: v[1], W: v[2], H: v[3]}
	return nil
}

func writeCrop(o *Options) string {
	if o.Crop.W == 0 {
		return ""
	}
	return fmt.Sprintf("%d,%d,%d,%d", o.Crop.X, o.Crop.Y, o.Crop.W, o.Crop.H)
}

func readFlip(o *Options, s string) error {
	flips := map[string]Flip{"h": {true, false}, "v": {false, true}, "hv": {true, true}, "vh": {true, true}}
	f, ok := flips[s]
	if !ok {
		return fmt.Errorf("expected h, v or hv but received %q", clip(s))
	}
	o.Flip = f
	return nil
}

func writeFlip(o *Options) string {
	var s string
	if o.Flip.Horizontal {
		s = "h"
	}
	if o.Flip.Vertical {
		s += "v"
	}
	return s
}
