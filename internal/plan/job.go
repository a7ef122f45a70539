// Package plan turns processing options and a header into an ordered list of
// operations for a codec process: which loader with which shrink-on-load, the
// steps in their order, which saver. It decides, and touches no pixels; a codec
// process executes, and decides nothing.
package plan

import (
	"safelight/internal/format"
	"safelight/internal/geom"
)

// Job is what a codec process is asked to do with the files it is handed: the
// source is input 0, an overlay picture is input 1. Steps run in order on an
// 8- or 16-bit picture as loaded. A Job without Save only decodes and answers
// what it saw (Inspect).
type Job struct {
	Load    Load   `json:"load"`
	Steps   []Step `json:"steps,omitempty"`
	Save    *Save  `json:"save,omitempty"`
	Inspect bool   `json:"inspect,omitempty"`
	Pixels  int64  `json:"pixels,omitempty"` // of all frames of the result, at most, where that is known

	Transcode *Transcode `json:"transcode,omitempty"` // instead of all others
}

// Load names the loader and what it reads. Pages are frames for animations.
type Load struct {
	Format format.Format `json:"format"`
	Shrink int           `json:"shrink,omitempty"` // JPEG: 1, 2, 4 or 8 (0 is 1)
	Scale  float64       `json:"scale,omitempty"`  // WebP: scale on load, above 0 to 1 (0 is 1)
	Page   int           `json:"page,omitempty"`   // first page, from 0
	Pages  int           `json:"pages,omitempty"`  // how many; 0 is 1, -1 all
	Strict bool          `json:"strict,omitempty"` // fail on truncated or damaged data; otherwise only on unreadable
	Random bool          `json:"random,omitempty"` // pixels are needed out of order (otherwise sequential access)
}

// Step is one operation: exactly one field is set. Lengths are pixels.
type Step struct {
	Trim      *Trim      `json:"trim,omitempty"`
	Crop      *Crop      `json:"crop,omitempty"`
	Resize    *Resize    `json:"resize,omitempty"`
	Orient    int        `json:"orient,omitempty"` // Exif orientation 2 to 8 to undo
	SRGB      bool       `json:"srgb,omitempty"`   // to 8-bit sRGB (or grey), through the embedded profile if any
	Window    *Window    `json:"window,omitempty"`
	Rotate    *Rotate    `json:"rotate,omitempty"`
	Flip      *Flip      `json:"flip,omitempty"`
	Adjust    *Adjust    `json:"adjust,omitempty"`
	Gray      bool       `json:"gray,omitempty"`
	Blur      float64    `json:"blur,omitempty"`    // Gaussian, sigma in pixels
	Sharpen   float64    `json:"sharpen,omitempty"` // sigma in pixels of the mask
	Canvas    *Canvas    `json:"canvas,omitempty"`
	Flatten   *RGB       `json:"flatten,omitempty"` // lay on this colour and drop alpha
	Watermark *Watermark `json:"watermark,omitempty"`
	Text      *Text      `json:"text,omitempty"`
}

// RGB is a colour, sRGB, 0 to 255 a channel, with alpha.
type RGB struct{ R, G, B, A uint8 }

// Trim cuts off a border of one colour (that of the top left pixel); a
// picture that is all border stays as it is.
type Trim struct {
	Threshold float64 `json:"threshold"` // largest difference that is still border, 0 to 255
}

// Crop takes a rectangle that is given in the pixels of a picture of size Of;
// where the picture at hand is smaller (shrink-on-load) it is scaled with it.
type Crop struct {
	Rect geom.Rect `json:"rect"`
	Of   geom.Size `json:"of"`
}

// Resize scales. With Exact the result is To whatever the picture's size;
// otherwise To is a box and Fit and the picture at hand decide (after Trim,
// when the size isn't known beforehand): geom.Resolve gives Scaled.
type Resize struct {
	To    geom.Size `json:"to"`
	Fit   geom.Fit  `json:"fit"`
	Exact bool      `json:"exact,omitempty"`
}

// Window cuts a picture that is larger than Size down to it at a gravity; each
// frame of an animation alike.
type Window struct {
	Size    geom.Size    `json:"size"`
	Gravity geom.Gravity `json:"gravity"`
}

// Rotate turns clockwise; multiples of 90 exactly, others on the background.
type Rotate struct {
	Degrees    float64 `json:"degrees"`
	Background RGB     `json:"background"`
}

// Flip mirrors: Horizontal exchanges left and right.
type Flip struct{ Horizontal, Vertical bool }

// Adjust changes tone; each factor is 1 for no change.
type Adjust struct {
	Brightness float64 `json:"brightness"` // factor on all channels
	Contrast   float64 `json:"contrast"`   // factor around mid grey (128)
	Saturation float64 `json:"saturation"` // factor on chroma
}

// Canvas lays the picture on a larger one: at the gravity in a box of Size, or,
// with Size 0, with the given margins around it.
type Canvas struct {
	Size                     geom.Size `json:"size"`
	Top, Right, Bottom, Left int
	Gravity                  geom.Gravity `json:"gravity"`
	Background               RGB          `json:"background"`
}

// Watermark lays input 1 over the picture (over each frame).
type Watermark struct {
	Format  format.Format `json:"format"` // of input 1
	Gravity geom.Gravity  `json:"gravity"`
	Margin  int           `json:"margin"`  // from the edges it leans on
	Scale   float64       `json:"scale"`   // its width as a fraction of the picture's; 0 keeps its size
	Opacity float64       `json:"opacity"` // 0 to 1
	Tile    bool          `json:"tile"`    // repeated over the whole picture
}

// Text lays a line of text over the picture. The string is text, not markup.
type Text struct {
	String  string       `json:"string"`
	Size    float64      `json:"size"` // of the font, pixels
	Color   RGB          `json:"color"`
	Gravity geom.Gravity `json:"gravity"`
	Margin  int          `json:"margin"`
	Opacity float64      `json:"opacity"`
}

// Save names the encoder and its settings. Metadata is never written, but an
// ICC profile where KeepICC says so.
type Save struct {
	Format   format.Format `json:"format"` // one that is Encodable
	Quality  int           `json:"quality"`
	Lossless bool          `json:"lossless,omitempty"`
	Effort   int           `json:"effort,omitempty"` // WebP 0 to 6, AVIF 0 to 9, PNG 1 to 9 compression, JPEG XL 3 to 9; 0 is the encoder's default here
	KeepICC  bool          `json:"keep_icc,omitempty"`
	Baseline bool          `json:"baseline,omitempty"` // JPEG: not progressive
	Search   *Search       `json:"search,omitempty"`
}

// Result is what a codec process answers beside the encoded bytes.
type Result struct {
	Width  int `json:"width"` // of one frame of the output; of the upright source page for Inspect
	Height int `json:"height"`
	Pages  int `json:"pages"` // frames written; pages in the source for Inspect

	Measured *Measured `json:"measured,omitempty"` // with Save.Search only

	// Inspect only.
	Alpha     bool   `json:"alpha,omitempty"`
	ThumbHash []byte `json:"thumbhash,omitempty"`
	BlurHash  string `json:"blurhash,omitempty"`
	PHash     uint64 `json:"phash,omitempty"` // 64-bit DCT perceptual hash of the luma
}
