// Package jpeg writes JPEG files that are small for how they look: a picture's
// cosine coefficients are quantised by a rate-distortion trellis, block by
// block as strictly as what surrounds an error lets it be seen, and written
// progressively with the scans and Huffman tables that cost least.
//
// It knows nothing of quality scores: a search above it moves Settings.Scale,
// and Feedback takes a map of distances. Numbers of sections, figures and
// tables are those of ITU-T T.81.
package jpeg

import (
	"math"

	"safelight/internal/fault"
)

// Subsampling says how many samples chroma has.
type Subsampling int

// The subsamplings. A grey picture has no chroma and disregards them.
const (
	S444 Subsampling = iota // as many as luma
	S420                    // one for each 2 × 2 of luma; takes more bytes than S444 at scores of 65 and more
)

// Version names the encoder's choices: it changes when the same picture and
// settings give other bytes.
const Version = "jpeg 2"

// MaxSide is the longest side in pixels that the format can hold.
const MaxSide = 65535

// Picture is a picture ready to be encoded: its coefficients, and what hides
// errors in each block. It holds about 12 bytes a sample, and buffers that are
// used from call to call; it is not safe for concurrent use.
type Picture struct {
	w, h       int // pixels
	sampling   Subsampling
	components []component
	light      []float32 // of each luma block: its mean, 0 (black) … 1
	activity   []float32 // of each luma block: how busy it and its surroundings are
	weight     []float32 // of each luma block, as the last Encode used it
	chroma     []float32 // the same of each chroma block

	table    tables // of the last Encode
	encoded  bool   // whether there was one
	writer   writer
	tokens   []token
	planning planner
	rates    rates
	blocks   []int32    // of one component in the order of a scan
	ways     [][2]uint8 // which of two means came before
}

// component is one of luma, blue difference and red difference.
type component struct {
	w, h         int // samples
	across, down int // blocks that hold a sample: what a scan of this component alone has (A.2.2)
	step         int // log2 of the luma samples each way for one of this

	coefficients []float32 // 64 for each block in zigzag order, raster order of blocks
	levels       levels    // quantised
}

// Settings are what one Encode is asked for.
type Settings struct {
	// Scale is the quantisation scale, about 0.5 (hardly any loss) to 60
	// (blocks to be seen); larger gives smaller files. Photographs score about
	// 88 by SSIMULACRA2 at 2.6, 80 at 7 and 65 at 17. It is clamped to
	// 0.1 … 200.
	Scale float64
	// Chroma is what the quantisation steps of chroma are multiplied by; 0 is
	// 1. Pictures differ in what suits them best, between about 0.8 and 1.25;
	// it is clamped to 0.1 … 10.
	Chroma float64
	// Weights has one number for each 8 × 8 luma block in raster order, or
	// is nil: 1 is neutral, larger keeps more detail there. One of another
	// length is disregarded.
	Weights []float32
}

// The range of Settings.Scale.
const (
	minScale = 0.1
	maxScale = 200
)

// Analyse prepares 8-bit sRGB pixels, w × h of the given bands interleaved
// without padding: 1 (grey) or 3 (red, green, blue). It keeps nothing of pix.
// Sizes, bands or lengths that do not fit are fault.Invalid.
func Analyse(pix []uint8, w, h, bands int, s Subsampling) (*Picture, error) {
	switch {
	case w < 1 || h < 1 || w > MaxSide || h > MaxSide:
		return nil, fault.New(fault.Invalid, "a JPEG of %d × %d pixels was asked for; sides are 1 to %d", w, h, MaxSide)
	case bands != 1 && bands != 3:
		return nil, fault.New(fault.Invalid, "a JPEG of %d bands was asked for; 1 and 3 are possible", bands)
	case s != S444 && s != S420:
		return nil, fault.New(fault.Invalid, "the subsampling %d of a JPEG is not known", s)
	case len(pix) != w*h*bands:
		return nil, fault.New(fault.Invalid, "expected %d bytes of pixels for %d × %d × %d, received %d", w*h*bands, w, h, bands, len(pix))
	}
	p := &Picture{w: w, h: h, sampling: s}
	planes := split(pix, w, h, bands, s)
	for i, plane := range planes {
		c := component{w: w, h: h}
		if i > 0 && s == S420 {
			c.w, c.h, c.step = (w+1)/2, (h+1)/2, 1
		}
		c.across, c.down = (c.w+7)/8, (c.h+7)/8
		c.transform(plane)
		p.components = append(p.components, c)
	}
	p.observe(planes[0])
	return p, nil
}

// Blocks is how many 8 × 8 luma blocks there are each way.
func (p *Picture) Blocks() (across, down int) {
	return p.components[0].across, p.components[0].down
}

// Encode appends the picture as a whole JPEG file (JFIF, progressive, without
// metadata) to dst. The same picture and settings give the same bytes.
func (p *Picture) Encode(dst []byte, s Settings) []byte {
	if math.IsNaN(s.Scale) {
		s.Scale = 1
	}
	scale := min(max(s.Scale, minScale), maxScale)
	v := fitted.at(scale)
	if s.Chroma > 0 {
		chroma := min(max(s.Chroma, 0.1), 10)
		v.Blue *= chroma
		v.Red *= chroma
	}
	p.table = v.tables(scale)
	p.weigh(&v, s.Weights)
	p.quantise(&v)
	p.encoded = true
	return p.writeScript(dst, p.plan())
}
