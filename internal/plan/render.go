package plan

import (
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/options"
	"safelight/internal/quality"
)

// Plan is a job with what can be told of it before it runs.
type Plan struct {
	Job    Job
	Out    geom.Size // of one frame; after trim what it would be if nothing were cut off
	Frames int
	Cost   int64 // estimated bytes of pixels held while it runs, for admission
}

// Overlay describes the picture of a watermark, which is input 1 of the job.
type Overlay struct{ Format format.Format }

// Render plans a rendition of a source with header h. o must be normalized and
// name a concrete, encodable format. What the source can't give (a page that
// isn't there, a crop outside) is fault.Invalid; what exceeds a limit is
// fault.Unprocessable and names it.
func (c Config) Render(o options.Options, h format.Header, overlay *Overlay) (Plan, error) {
	b := builder{config: c, o: o, h: h}
	if err := b.frames(); err != nil {
		return Plan{}, err
	}
	if err := b.geometry(); err != nil {
		return Plan{}, err
	}
	b.tone()
	b.surface(overlay)
	if err := b.bounds(); err != nil {
		return Plan{}, err
	}
	b.job.Save = c.save(o)
	b.job.Pixels = int64(b.out.W) * int64(b.out.H) * int64(b.frameCount)
	return Plan{Job: b.job, Out: b.out, Frames: b.frameCount, Cost: b.cost()}, nil
}

type builder struct {
	config     Config
	o          options.Options
	h          format.Header
	job        Job
	out        geom.Size // of the picture so far
	frameCount int
	shrink     int
}

func (b *builder) step(s Step) { b.job.Steps = append(b.job.Steps, s) }

// frames chooses the pages to load.
func (b *builder) frames() error {
	pages := max(b.h.Pages, 1)
	if b.o.Page >= pages {
		return fault.New(fault.Invalid, "page: the source has %d pages, counted from 0", pages)
	}
	b.job.Load = Load{Format: b.h.Format, Page: b.o.Page, Pages: 1}
	b.frameCount = 1
	if !b.h.Animated || b.o.Still || !b.o.Format.Animates() {
		return nil
	}
	b.frameCount = pages - b.o.Page
	b.job.Load.Pages = b.frameCount
	if b.frameCount > b.config.MaxFrames {
		return fault.Limit(fault.Unprocessable, "render.max_frames", int64(b.config.MaxFrames), int64(b.frameCount),
			"the animation has %d frames; the limit is %d (anim=0 takes the first)", b.frameCount, b.config.MaxFrames)
	}
	decoded := int64(b.h.Width) * int64(b.h.Height) * int64(b.frameCount)
	if decoded > b.config.MaxAnimationPixels {
		return fault.Limit(fault.Unprocessable, "render.max_animation_pixels", b.config.MaxAnimationPixels, decoded,
			"the animation has %d pixels in all frames; the limit is %d (anim=0 takes the first frame)", decoded, b.config.MaxAnimationPixels)
	}
	return nil
}

// geometry plans what changes size and place: crop, scale, orientation, window,
// rotation, mirror. The costly steps run on as few pixels as possible, so the
// orientation is undone after scaling, and the crop is mapped into the pixels
// as stored.
func (b *builder) geometry() error {
	w, h := b.h.Upright()
	up := geom.Size{W: w, H: h}
	crop, err := b.crop(up)
	if err != nil {
		return err
	}
	content := geom.Size{W: crop.W, H: crop.H}
	box := geom.Size{W: b.o.Width, H: b.o.Height}
	frame := geom.Resolve(content, box, b.o.Fit)
	if side := max(frame.Scaled.W, frame.Scaled.H); side > maxScaledSide {
		return fault.Limit(fault.Invalid, "side before the crop", maxScaledSide, int64(side),
			"to cover the box the picture would be scaled to %d×%d px; a side may have %d", frame.Scaled.W, frame.Scaled.H, maxScaledSide)
	}
	if b.o.Trim > 0 {
		b.trimmed(crop, up, box)
	} else {
		b.scaled(crop, up, frame.Scaled)
	}
	if !b.o.KeepColor || b.h.Color == format.CMYK {
		b.step(Step{SRGB: true})
	}
	if b.o.Trim == 0 && b.h.Orientation > 1 {
		b.step(Step{Orient: b.h.Orientation})
	}
	gravity := geom.Center
	if b.o.Gravity != nil {
		gravity = *b.o.Gravity
	}
	b.out = frame.Scaled
	if b.o.Fit == geom.Cover && (frame.Scaled != frame.Out || b.o.Trim > 0) {
		b.step(Step{Window: &Window{Size: frame.Out, Gravity: gravity}})
		b.out = frame.Out
	}
	b.turned()
	if b.o.Fit == geom.Contain && (frame.Scaled != frame.Out || b.o.Trim > 0) {
		gravity.Smart = false
		b.step(Step{Canvas: &Canvas{Size: frame.Out, Gravity: gravity, Background: b.background()}})
		b.out = geom.Size{W: max(b.out.W, frame.Out.W), H: max(b.out.H, frame.Out.H)}
	}
	return nil
}

// maxScaledSide bounds a picture before its overhang is cropped off. Little of
// it is ever computed, but libvips (VIPS_MAX_COORD) knows no longer sides.
const maxScaledSide = 10_000_000

// crop is the part of the upright source to take: all of it where none is asked.
func (b *builder) crop(up geom.Size) (geom.Rect, error) {
	c := b.o.Crop
	if c.W == 0 {
		return geom.Rect{W: up.W, H: up.H}, nil
	}
	if c.X >= up.W || c.Y >= up.H {
		return c, fault.New(fault.Invalid, "crop: the rectangle lies outside the picture, which is %d×%d px", up.W, up.H)
	}
	c.W, c.H = min(c.W, up.W-c.X), min(c.H, up.H-c.Y)
	return c, nil
}

// scaled plans shrink-on-load, crop and resize in stored pixels.
func (b *builder) scaled(crop geom.Rect, up, to geom.Size) {
	b.shrink = b.shrinkOnLoad(geom.Size{W: crop.W, H: crop.H}, to)
	switch {
	case b.shrink > 1 && b.h.Format == format.JPEG:
		b.job.Load.Shrink = b.shrink
	case b.shrink > 1:
		b.job.Load.Scale = 1 / float64(b.shrink)
	}
	stored := geom.Size{W: b.h.Width, H: b.h.Height}
	if (crop != geom.Rect{W: up.W, H: up.H}) {
		b.step(Step{Crop: &Crop{Rect: geom.Orient(crop, up, b.h.Orientation), Of: stored}})
	}
	if (to != geom.Size{W: crop.W, H: crop.H}) {
		if b.h.Orientation >= 5 {
			to = geom.Size{W: to.H, H: to.W}
		}
		b.step(Step{Resize: &Resize{To: to, Exact: true}})
	}
}

// trimmed plans for a size that is known only when the border is gone.
func (b *builder) trimmed(crop geom.Rect, up, box geom.Size) {
	b.shrink = 1
	b.job.Load.Random = true
	if b.h.Orientation > 1 {
		b.step(Step{Orient: b.h.Orientation})
	}
	if (crop != geom.Rect{W: up.W, H: up.H}) {
		b.step(Step{Crop: &Crop{Rect: crop, Of: up}})
	}
	b.step(Step{Trim: &Trim{Threshold: float64(b.o.Trim)}})
	if (box == geom.Size{}) {
		return
	}
	// What is left may be of any shape, so a side that follows from it is bounded.
	most := func(other int) int {
		return max(1, int(min(options.MaxSide, b.config.MaxOutputPixels/int64(max(other, 1)))))
	}
	switch {
	case b.o.Fit == geom.Outside:
		b.step(Step{Resize: &Resize{To: box, Fit: b.o.Fit}})
		b.step(Step{Resize: &Resize{To: geom.Size{W: most(box.H), H: most(box.W)}, Fit: geom.ScaleDown}})
		return
	case box.W == 0:
		box.W = most(box.H)
	case box.H == 0:
		box.H = most(box.W)
	}
	b.step(Step{Resize: &Resize{To: box, Fit: b.o.Fit}})
}

// shrinkOnLoad is the factor that a decoder can divide by for almost nothing:
// 8, 4 or 2, the largest that leaves the picture no smaller than the result.
func (b *builder) shrinkOnLoad(from, to geom.Size) int {
	still := b.h.Format == format.WebP && !b.h.Animated
	if b.h.Format != format.JPEG && !still {
		return 1
	}
	for _, f := range []int{8, 4, 2} {
		if from.W >= f*to.W && from.H >= f*to.H {
			return f
		}
	}
	return 1
}

// turned plans rotation and mirror.
func (b *builder) turned() {
	if r := b.o.Rotate; r != 0 {
		b.step(Step{Rotate: &Rotate{Degrees: float64(r), Background: b.background()}})
		switch {
		case r%180 == 90:
			b.out = geom.Size{W: b.out.H, H: b.out.W}
		case r%90 != 0:
			b.out = geom.Turned(b.out, float64(r))
		}
	}
	if f := b.o.Flip; f.Horizontal || f.Vertical {
		b.step(Step{Flip: &Flip{Horizontal: f.Horizontal, Vertical: f.Vertical}})
	}
}

// tone plans what changes colours and edges.
func (b *builder) tone() {
	o := b.o
	if o.Brightness != nil || o.Contrast != nil || o.Saturation != nil {
		b.step(Step{Adjust: &Adjust{Brightness: or1(o.Brightness), Contrast: or1(o.Contrast), Saturation: or1(o.Saturation)}})
	}
	if o.Gray {
		b.step(Step{Gray: true})
	}
	if o.Blur > 0 {
		b.step(Step{Blur: o.Blur})
	}
	if o.Sharpen > 0 {
		b.step(Step{Sharpen: o.Sharpen})
	}
}

func or1(factor *float64) float64 {
	if factor == nil {
		return 1
	}
	return *factor
}

// background is the colour of what has none: the one asked for, or transparent
// where the format can show that, or white.
func (b *builder) background() RGB {
	if c := b.o.Background; c != nil {
		return RGB{c.R, c.G, c.B, c.A}
	}
	if b.o.Format.HasAlpha() {
		return RGB{}
	}
	return RGB{255, 255, 255, 255}
}

// surface plans what lies under and over the picture.
func (b *builder) surface(overlay *Overlay) {
	o, bg := b.o, b.background()
	if p := o.Pad; p != (options.Edges{}) {
		b.step(Step{Canvas: &Canvas{Top: p.Top, Right: p.Right, Bottom: p.Bottom, Left: p.Left, Background: bg}})
		b.out = geom.Size{W: b.out.W + p.Left + p.Right, H: b.out.H + p.Top + p.Bottom}
	}
	if !o.Format.HasAlpha() || o.Background != nil && o.Background.A == 255 {
		b.step(Step{Flatten: &bg})
	}
	corner := geom.Gravity{X: 1, Y: 1}
	if overlay != nil {
		b.step(Step{Watermark: &Watermark{
			Format: overlay.Format, Gravity: gravityOr(o.Watermark.Gravity, corner), Margin: o.Watermark.Margin,
			Scale: orElse(o.Watermark.Scale, options.DefaultScale), Opacity: or1(o.Watermark.Opacity), Tile: o.Watermark.Tile,
		}})
	}
	if o.Text.String != "" {
		color := RGB{255, 255, 255, 255}
		if c := o.Text.Color; c != nil {
			color = RGB{c.R, c.G, c.B, c.A}
		}
		b.step(Step{Text: &Text{
			String: o.Text.String, Size: orElse(float64(o.Text.Size), options.DefaultTextSize), Color: color,
			Gravity: gravityOr(o.Text.Gravity, corner), Margin: o.Text.Margin, Opacity: or1(o.Text.Opacity),
		}})
	}
}

func gravityOr(g *geom.Gravity, otherwise geom.Gravity) geom.Gravity {
	if g == nil {
		return otherwise
	}
	return *g
}

func orElse(v, otherwise float64) float64 {
	if v == 0 {
		return otherwise
	}
	return v
}

// maxBlurWork bounds pixels times sigma, which a blur's time grows with: what is
// above would only run into the deadline.
const maxBlurWork = 300_000_000

// bounds refuses renditions that are larger than the limits.
func (b *builder) bounds() error {
	if side := max(b.out.W, b.out.H); side > options.MaxSide {
		return fault.Limit(fault.Invalid, "side of a rendition", options.MaxSide, int64(side),
			"the rendition would be %d×%d px; a side may have %d", b.out.W, b.out.H, options.MaxSide)
	}
	pixels := int64(b.out.W) * int64(b.out.H)
	if pixels > b.config.MaxOutputPixels {
		return fault.Limit(fault.Invalid, "render.max_output_pixels", b.config.MaxOutputPixels, pixels,
			"the rendition would have %d pixels; the limit is %d", pixels, b.config.MaxOutputPixels)
	}
	if b.o.Format == format.AVIF && pixels > b.config.MaxAVIFPixels {
		return fault.Limit(fault.Invalid, "render.max_avif_pixels", b.config.MaxAVIFPixels, pixels,
			"the AVIF rendition would have %d pixels; the limit for AVIF is %d", pixels, b.config.MaxAVIFPixels)
	}
	if b.o.Format == format.JXL && pixels > b.config.MaxJXLPixels {
		return fault.Limit(fault.Invalid, "render.max_jxl_pixels", b.config.MaxJXLPixels, pixels,
			"the JPEG XL rendition would have %d pixels; the limit for JPEG XL is %d", pixels, b.config.MaxJXLPixels)
	}
	if work := int64(float64(pixels) * b.o.Blur * float64(b.frameCount)); work > maxBlurWork {
		return fault.Limit(fault.Invalid, "blur work", maxBlurWork, work,
			"blur: with %d pixels sigma may be at most %.1f", pixels*int64(b.frameCount), float64(maxBlurWork)/float64(pixels*int64(b.frameCount)))
	}
	return nil
}

// cost estimates the bytes of pixels that are held at once: the decoded source
// as shrunk on load, and the result.
func (b *builder) cost() int64 {
	depth := int64(1)
	if b.h.BitDepth > 8 {
		depth = 2
	}
	bands := int64(max(b.h.Bands, 3))
	shrink := int64(max(b.shrink, 1))
	decoded := int64(b.h.Width) * int64(b.h.Height) / (shrink * shrink) * int64(b.frameCount) * bands * depth
	return decoded + int64(b.out.W)*int64(b.out.H)*int64(b.frameCount)*4
}

// save names the encoder's settings.
func (c Config) save(o options.Options) *Save {
	name := o.Format.String()
	q := o.Quality
	if q == 0 {
		q = c.Quality[name]
	}
	save := &Save{Format: o.Format, Quality: q, Lossless: o.Lossless, Effort: c.Effort[name], KeepICC: o.KeepColor}
	if q == 0 && !o.Lossless && o.Format.HasQuality() {
		save.Search = &Search{Tier: quality.Fast, Targets: c.target()}
	}
	return save
}

// Inspect plans the one decode that proves a source readable, and describes
// its looks. JPEG is decoded at an eighth: every coefficient is still read.
func Inspect(h format.Header) Job {
	load := Load{Format: h.Format, Pages: 1, Strict: true}
	if h.Format == format.JPEG && min(h.Width, h.Height) >= 800 {
		load.Shrink = 8
	}
	if h.Pages > 1 {
		load.Pages = -1
	}
	job := Job{Load: load, Inspect: true}
	if h.Orientation > 1 {
		job.Steps = []Step{{Orient: h.Orientation}}
	}
	return job
}
