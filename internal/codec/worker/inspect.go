package worker

import (
	"image"

	"github.com/bbrks/go-blurhash"
	"github.com/galdor/go-thumbhash"

	"safelight/internal/fault"
	"safelight/internal/geom"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

const (
	thumbSide  = 100 // ThumbHash takes pictures up to this
	opaque     = 254.99
	blurAcross = 4
	blurDown   = 3
)

// inspect decodes everything that the job loads, and describes the first page
// by what people see of it.
func (e *Engine) inspect(job plan.Job, files Files) (plan.Result, error) {
	p := newPicture(files)
	defer p.close()
	if err := p.load(job.Load); err != nil {
		return plan.Result{}, err
	}
	result := plan.Result{Width: p.full.W, Height: p.full.H, Pages: p.pages}
	for _, s := range job.Steps {
		if s.Orient >= 5 {
			result.Width, result.Height = result.Height, result.Width
		}
	}
	first, rest := p.frames[0], p.frames[1:]
	thumb, clear, err := p.thumb(first)
	if err != nil {
		return plan.Result{}, err
	}
	result.Alpha = clear
	for _, f := range rest {
		clear, err := p.drain(f)
		if err != nil {
			return plan.Result{}, err
		}
		result.Alpha = result.Alpha || clear
	}
	p.frames = []*vips.Image{thumb}
	if err := p.apply(job.Steps); err != nil {
		return plan.Result{}, err
	}
	if err := p.describe(&result); err != nil {
		return plan.Result{}, err
	}
	return result, e.otherPages(job.Load, files, p.pages)
}

// otherPages decodes the pages of a file whose pages are pictures of their own,
// of any size each.
func (e *Engine) otherPages(l plan.Load, files Files, pages int) error {
	if l.Pages >= 0 || loaders[l.Format].animates {
		return nil
	}
	for page := l.Page + 1; page < pages; page++ {
		p := newPicture(files)
		err := p.load(plan.Load{Format: l.Format, Page: page, Strict: l.Strict})
		if err == nil {
			_, err = p.drain(p.frames[0])
		}
		p.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// thumb makes a small copy in memory, in the stored orientation, and tells
// whether any pixel is not opaque.
func (p *picture) thumb(i *vips.Image) (*vips.Image, bool, error) {
	to := geom.Resolve(sizeOf(i), geom.Size{W: thumbSide, H: thumbSide}, geom.Inside).Scaled
	if i.HasAlpha() {
		return p.thumbAlpha(i, to)
	}
	small, err := p.shrunk(i, to)
	if err == nil {
		small, err = p.scope.CopyMemory(small)
	}
	return small, false, err
}

// shrunk scales down without leaving a row of the picture out, which "resize"
// by itself does at the bottom when it begins with averaging blocks of pixels.
func (p *picture) shrunk(i *vips.Image, to geom.Size) (*vips.Image, error) {
	blocks := min(i.Width()/to.W, i.Height()/to.H) / 2
	if blocks > 1 {
		var err error
		i, err = p.scope.Op("shrink", i, vips.Set("hshrink", blocks), vips.Set("vshrink", blocks), vips.Set("ceil", true))
		if err != nil {
			return nil, err
		}
	}
	return p.scale(i, to)
}

// thumbAlpha looks at the alpha before it is rounded: one clear pixel among
// thousands shows in the average still.
func (p *picture) thumbAlpha(i *vips.Image, to geom.Size) (*vips.Image, bool, error) {
	scale := 1.0
	if i.Format() == vips.Ushort {
		scale = 257
	}
	sized, err := p.scope.Op("premultiply", i)
	if err == nil {
		sized, err = p.shrunk(sized, to)
	}
	if err == nil {
		sized, err = p.scope.CopyMemory(sized)
	}
	if err != nil {
		return nil, false, err
	}
	least, err := p.least(sized, sized.Bands()-1)
	if err != nil {
		return nil, false, err
	}
	if sized, err = p.scope.Op("unpremultiply", sized); err == nil {
		sized, err = p.scope.Op("cast", sized, vips.Set("format", i.Format()))
	}
	return sized, least < opaque*scale, err
}

func (p *picture) least(i *vips.Image, band int) (float64, error) {
	alpha, err := p.scope.Op("extract_band", i, vips.Set("band", band))
	if err != nil {
		return 0, err
	}
	var least float64
	return least, p.scope.Call("min", vips.Set("in", alpha), vips.Get("out", &least))
}

// drain decodes a picture to its end and tells whether it is clear somewhere.
func (p *picture) drain(i *vips.Image) (clear bool, err error) {
	most := 255.0
	if i.Format() == vips.Ushort {
		most = 65535
	}
	hasAlpha := i.HasAlpha()
	if hasAlpha {
		if i, err = p.scope.Op("extract_band", i, vips.Set("band", i.Bands()-1)); err != nil {
			return false, err
		}
	}
	var average float64
	err = p.scope.Call("avg", vips.Set("in", i), vips.Get("out", &average))
	return hasAlpha && average < most, err
}

// describe computes the hashes of the small upright picture.
func (p *picture) describe(result *plan.Result) error {
	i, err := p.coloured(p.frames[0])
	if err == nil {
		i, err = p.withAlpha(i)
	}
	if err != nil {
		return err
	}
	pixels, err := i.Bytes()
	if err != nil {
		return err
	}
	size := sizeOf(i)
	if len(pixels) != size.W*size.H*4 || size.W > thumbSide || size.H > thumbSide {
		return fault.New(fault.Internal, "the small picture has an unexpected shape")
	}
	picture := &image.NRGBA{Pix: pixels, Stride: 4 * size.W, Rect: image.Rect(0, 0, size.W, size.H)}
	result.ThumbHash = thumbhash.EncodeImage(picture)
	if result.BlurHash, err = blurhash.Encode(blurAcross, blurDown, reduced(picture, 32)); err != nil {
		return fault.Wrap(fault.Internal, err, "the small picture can't be described")
	}
	result.PHash = pHash(picture)
	return nil
}
