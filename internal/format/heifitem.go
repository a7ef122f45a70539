package format

import (
	"math"
	"slices"
)

// heifItem is one item of a HEIF file (ISO/IEC 23008-12 §6).
type heifItem struct {
	id         int64
	typ, mime  string
	hidden     bool
	dependent  bool    // a thumbnail of another item, or auxiliary to it
	thumbOf    int64   // the item that this is a thumbnail of
	helps      []int64 // the items that this is auxiliary to
	lost       bool    // has an extent that isn't in the file, or was one too many
	properties []uint16
	extents    Extents
}

// isImage tells the items that decoders take for pictures.
func (it *heifItem) isImage() bool {
	switch it.typ {
	case "hvc1", "av01", "grid", "iden", "iovl", "avc1", "vvc1", "jpeg", "j2k1", "unci", "tili":
		return true
	}
	return it.typ == "mime" && it.mime == "image/jpeg"
}

// located tells the items whose bytes are read here.
func (it *heifItem) located() bool {
	switch it.typ {
	case "Exif", "mime", "grid", "iovl":
		return true
	}
	return false
}

func (it *heifItem) add(e Extent) {
	if e.Length < 0 {
		it.lost = true
		return
	}
	it.extents = append(it.extents, e)
}

// heifProperty is what an item property box says (§6.5); the rest are kept as
// empty places, since associations count them.
type heifProperty struct {
	typ   string
	w, h  int64 // ispe, and clap rounded to whole pixels
	turns int   // irot: quarter turns
	depth int   // bits a sample
	icc   bool
	alpha bool
}

// propertyBoxes reads the properties and which item has which (§9.3).
func (p *heifWalk) propertyBoxes(c *cursor) bool {
	var maps []box
	for {
		b, ok := c.box()
		if !ok {
			break
		}
		switch b.typ {
		case "ipco":
			for len(p.properties) < maxProperties {
				x, ok := b.body.box()
				if !ok {
					break
				}
				p.properties = append(p.properties, readProperty(x))
			}
			if b.body.bad {
				return false
			}
		case "ipma":
			maps = append(maps, b)
		}
	}
	for _, b := range maps {
		if !p.associations(&b.body) {
			return false
		}
	}
	return !c.bad
}

func readProperty(b box) heifProperty {
	c, q := b.body, heifProperty{typ: b.typ}
	switch b.typ {
	case "ispe": // §6.5.3
		c.full()
		q.w, q.h = c.u32(), c.u32()
	case "clap": // ISO/IEC 14496-12 §12.1.4
		q.w, q.h = fraction(&c), fraction(&c)
	case "irot": // §6.5.10
		q.turns = c.u8() & 3
	case "pixi": // §6.5.6
		c.full()
		if c.u8() > 0 {
			q.depth = c.u8()
		}
	case "colr": // ISO/IEC 14496-12 §12.1.5
		t := string(c.take(4))
		q.icc = t == "prof" || t == "rICC"
	case "auxC": // §6.5.8; MIAF (ISO/IEC 23000-22) §7.3.5 for the names
		c.full()
		switch c.text(maxKeyword) {
		case "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", "urn:mpeg:hevc:2015:auxid:1", "urn:mpeg:avc:2015:auxid:1":
			q.alpha = true
		}
	case "av1C": // AV1-ISOBMFF §2.3.3
		if v := c.u32(); v>>8&0x40 != 0 {
			q.depth = 10
			if v>>8&0x20 != 0 {
				q.depth = 12
			}
		} else {
			q.depth = 8
		}
	case "hvcC": // ISO/IEC 14496-15 §8.3.2.1: bit depth of luma
		c.take(17)
		q.depth = c.u8()&7 + 8
	}
	return q
}

// fraction reads a clean aperture's side: a numerator over a denominator.
func fraction(c *cursor) int64 {
	n, d := c.u32(), c.u32()
	if d == 0 || n > math.MaxInt32 || d > math.MaxInt32 {
		return 0
	}
	return (n + d/2) / d
}

// associations reads an ipma box (§9.3.1).
func (p *heifWalk) associations(c *cursor) bool {
	version, flags := c.full()
	for range c.u32() {
		id := int64(0)
		if version == 0 {
			id = int64(c.u16())
		} else {
			id = c.u32()
		}
		it := p.items[id]
		for range c.u8() {
			index := 0
			if flags&1 != 0 {
				index = c.u16() & 0x7FFF
			} else {
				index = c.u8() & 0x7F
			}
			if c.bad {
				return false
			}
			if it != nil && index > 0 && index <= len(p.properties) {
				it.properties = append(it.properties, uint16(index-1))
			}
		}
		if c.bad {
			return false
		}
	}
	return true
}

// describe fills in the header from the items.
func (p *heifWalk) describe() error {
	h := &p.head
	main := p.items[p.primary]
	if main != nil && main.thumbOf != 0 { // it happens, and libheif shows the picture instead
		if master := p.items[main.thumbOf]; master != nil && !master.dependent {
			main = master
		}
	}
	if main == nil || !main.isImage() {
		return corrupt("the %s file's primary item is not a picture", h.Format)
	}
	pages := 0
	for _, it := range p.order {
		if !it.isImage() {
			continue
		}
		w, hgt, err := p.declared(it)
		if err != nil && it == main {
			return err
		}
		if w > 0 && slices.Contains(it.helps, main.id) && p.isAlpha(it) {
			h.Alpha, h.Bands = true, 4
		}
		p.grow(w, hgt)
		if !it.hidden && !it.dependent || it == main {
			pages++
		}
	}
	h.Pages = pages
	return p.transform(main)
}

func (p *heifWalk) isAlpha(it *heifItem) bool {
	for _, i := range it.properties {
		if p.properties[i].alpha {
			return true
		}
	}
	return false
}

// declared is an item's size before transformations: its ispe property, or what
// a derived item declares in its own data; both have to agree.
func (p *heifWalk) declared(it *heifItem) (w, h int64, err error) {
	for _, i := range it.properties {
		if q := p.properties[i]; q.typ == "ispe" {
			w, h = q.w, q.h
			break
		}
	}
	dw, dh, ok := p.derived(it)
	if !ok {
		return w, h, nil
	}
	p.grow(dw, dh)
	if w == 0 && h == 0 {
		return dw, dh, nil
	}
	if w != dw || h != dh {
		err = corrupt("the %s picture is declared as %d x %d and as %d x %d", p.head.Format, w, h, dw, dh)
	}
	return w, h, err
}

// derived reads the output size of a grid (§6.6.2.3) or an overlay (§6.6.2.2).
func (p *heifWalk) derived(it *heifItem) (w, h int64, ok bool) {
	skip := int64(2) // version and flags
	switch it.typ {
	case "grid":
		skip += 2 // rows and columns
	case "iovl":
		skip += 8 // the canvas' colour
	default:
		return 0, 0, false
	}
	var b [18]byte
	n := min(it.extents.Len(), int64(len(b)))
	if it.lost || n < skip+4 {
		return 0, 0, false
	}
	if got, _ := it.extents.Reader(p.window).ReadAt(b[:n], 0); int64(got) < n {
		return 0, 0, false
	}
	if b[1]&1 == 0 {
		return int64(be.Uint16(b[skip:])), int64(be.Uint16(b[skip+2:])), true
	}
	if n < skip+8 {
		return 0, 0, false
	}
	return int64(be.Uint32(b[skip:])), int64(be.Uint32(b[skip+4:])), true
}

// transform applies the primary item's properties in their order.
func (p *heifWalk) transform(it *heifItem) error {
	h := &p.head
	width, height, err := p.declared(it)
	if err != nil {
		return err
	}
	for _, i := range it.properties {
		switch q := p.properties[i]; q.typ {
		case "clap":
			if q.w < 1 || q.h < 1 || q.w > width || q.h > height {
				return corrupt("the %s picture's clean aperture makes no sense", h.Format)
			}
			width, height = q.w, q.h
		case "irot":
			if q.turns&1 == 1 {
				width, height = height, width
			}
		case "colr":
			h.ICC = h.ICC || q.icc
		case "pixi", "av1C", "hvcC":
			if q.depth >= 1 && q.depth <= 16 {
				h.BitDepth = q.depth
			}
		}
	}
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 {
		return corrupt("the %s picture has no sensible size (%d x %d)", h.Format, width, height)
	}
	h.Width, h.Height = int(width), int(height)
	return nil
}
