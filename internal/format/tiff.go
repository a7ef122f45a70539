package format

import (
	"errors"
	"math"
)

// Photometric interpretations (TIFF 6.0 §3 to §23).
const (
	whiteIsZero = 0
	blackIsZero = 1
	rgbSamples  = 2
	paletteOnes = 3
	separated   = 5
	ycbcr       = 6
	cielab      = 8
	icclab      = 9
	itulab      = 10
)

// tiff reads every directory of the file: the first gives the header, each of
// the main chain is a page, and tiles count for MaxPixels as a decoder makes
// room for a whole one. Walking is bounded and ends at a loop (WalkTIFF).
func (w *walker) tiff() error {
	pages, location := 0, false
	err := WalkTIFF(w.window, w.size, func(d *Directory) error {
		location = location || d.pointsToGPS()
		if d.Kind == MainDirectory {
			if pages++; pages == 1 {
				w.head.Orientation = d.orientation()
				if err := w.tiffPage(d); err != nil {
					return err
				}
			}
			w.tiffArea(d)
		}
		return w.tiffBlocks(d)
	})
	if err != nil && !errors.Is(err, errNotTIFF) {
		return err
	}
	if pages == 0 {
		return corrupt("the tiff file has no readable directory")
	}
	w.head.Pages = pages
	w.head.Location = w.head.Location || location
	if w.visit == nil {
		return nil
	}
	return w.visit(Block{Kind: ExifBlock, Data: Extents{{0, w.size}}, Location: location})
}

func (w *walker) tiffArea(d *Directory) {
	for _, side := range [][2]uint16{{tagWidth, tagHeight}, {tagTileWidth, tagTileHeight}} {
		x, _ := d.number(side[0])
		y, _ := d.number(side[1])
		w.grow(int64(min(x, math.MaxInt64)), int64(min(y, math.MaxInt64)))
	}
}

func (w *walker) tiffPage(d *Directory) error {
	width, _ := d.number(tagWidth)
	height, _ := d.number(tagHeight)
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 {
		return corrupt("the tiff file's first directory gives no sensible size (%d x %d)", width, height)
	}
	w.head.Width, w.head.Height = int(width), int(height)
	samples, bits := uint64(1), uint64(1) // the defaults of TIFF 6.0 §8
	if v, ok := d.number(tagSamples); ok {
		samples = v
	}
	if v, ok := d.number(tagBits); ok {
		bits = v
	}
	if samples < 1 || samples > math.MaxUint16 || bits < 1 || bits > 64 {
		return corrupt("the tiff file claims %d samples a pixel of %d bits", samples, bits)
	}
	photometric, ok := d.number(tagPhotometric)
	if !ok && samples >= 3 {
		photometric = rgbSamples
	}
	_, w.head.ICC = d.find(tagICC)
	w.head.BitDepth = int(bits)
	w.tiffColor(photometric, int(samples))
	return nil
}

// tiffColor tells colour samples from extra ones. ExtraSamples (§18) isn't
// asked what they are for: decoders take the first as transparency.
func (w *walker) tiffColor(photometric uint64, samples int) {
	h := &w.head
	h.Bands = samples
	colors := samples
	switch photometric {
	case whiteIsZero, blackIsZero:
		h.Color, colors = Gray, 1
	case rgbSamples, ycbcr, cielab, icclab, itulab:
		h.Color, colors = RGB, 3
	case paletteOnes:
		h.Color, colors = Palette, 1
		h.Bands, h.BitDepth = samples+2, 8
	case separated:
		h.Color, colors = CMYK, 4
	}
	h.Alpha = samples > colors
}

var tiffKinds = map[uint16]BlockKind{tagXMP: XMPBlock, tagIPTC: IPTCBlock, tagPhotoshop: PhotoshopBlock}

// tiffBlocks finds the metadata that a directory holds in fields of its own.
func (w *walker) tiffBlocks(d *Directory) error {
	for _, e := range d.Entries {
		kind, ok := tiffKinds[e.Tag]
		if !ok || !e.Pointer || e.Value.Length == 0 {
			continue
		}
		if err := w.emit(Block{Kind: kind, Data: Extents{e.Value}}); err != nil {
			return err
		}
	}
	return nil
}

// find gives the first entry with a tag.
func (d *Directory) find(tag uint16) (Entry, bool) {
	for _, e := range d.Entries {
		if e.Tag == tag {
			return e, true
		}
	}
	return Entry{}, false
}

// uint reads the i-th element of an entry of an unsigned integer type.
func (d *Directory) uint(e Entry, i int) (uint64, bool) {
	n := typeBytes(e.Type)
	if n*int64(i+1) > e.Value.Length {
		return 0, false
	}
	b, ok := d.w.bytes(e.Value.Offset+int64(i)*n, int(n))
	if !ok {
		return 0, false
	}
	switch e.Type {
	case 1:
		return uint64(b[0]), true
	case 3:
		return uint64(d.Order.Uint16(b)), true
	case 4, 13:
		return uint64(d.Order.Uint32(b)), true
	case 16, 18:
		return d.Order.Uint64(b), true
	}
	return 0, false
}

// number reads the first element of the field with a tag.
func (d *Directory) number(tag uint16) (uint64, bool) {
	e, ok := d.find(tag)
	if !ok {
		return 0, false
	}
	return d.uint(e, 0)
}

// orientation reads tag 274 (Exif 3.0 §4.6.5.1.6); 0 where it is absent or
// means nothing.
func (d *Directory) orientation() int {
	e, ok := d.find(tagOrientation)
	if !ok || e.Count != 1 {
		return 0
	}
	if v, ok := d.uint(e, 0); ok && v >= 1 && v <= 8 {
		return int(v)
	}
	return 0
}

func (d *Directory) pointsToGPS() bool {
	_, ok := d.find(TagGPS)
	return ok
}
