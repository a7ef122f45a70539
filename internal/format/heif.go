package format

import "io"

// HEIF bounds. The largest real files have some thousands of items (tiles).
const (
	maxItems      = 1 << 16
	maxProperties = 1 << 15 // what an association can address (ISO/IEC 23008-12 §9.3.1)
	maxExtents    = 1 << 16 // of all items that are read here
)

// heifWalk is what the meta box (ISO/IEC 14496-12 §8.11) says.
type heifWalk struct {
	*walker
	primary    int64
	items      map[int64]*heifItem
	order      []*heifItem
	properties []heifProperty
	idat       Extent
	extents    int // how many were kept
}

// heif reads the file's meta box and, from it, the primary item. Its size is
// what a decoder gives: after clean aperture, rotation and mirroring in the
// order in which they are associated. An image sequence is read as its
// primary item.
func (w *walker) heif() error {
	p := heifWalk{walker: w, items: map[int64]*heifItem{}}
	p.head.Bands = 3
	top := cursor{w: p.window, end: p.size}
	var meta box
	for found := false; !found; {
		b, ok := top.box()
		if !ok {
			return corrupt("the %s file has no meta box", p.head.Format)
		}
		found = b.typ == "meta"
		meta = b
	}
	if err := p.meta(meta); err != nil {
		return err
	}
	if err := p.describe(); err != nil {
		return err
	}
	p.head.Orientation = 1
	return p.blocks()
}

// box is one box of the file (ISO/IEC 14496-12 §4.2).
type box struct {
	typ  string
	body cursor
}

// box reads the next box of c's part, and moves behind it. A size of zero
// reaches to the end of the part.
func (c *cursor) box() (box, bool) {
	if c.left() < 8 {
		return box{}, false
	}
	start := c.pos
	n := c.u32()
	typ := string(c.take(4))
	switch n {
	case 0:
		n = c.end - start
	case 1:
		n = int64(c.uint(8))
	}
	if typ == "uuid" {
		c.take(16)
	}
	if c.bad || n < c.pos-start || n > c.end-start {
		c.bad = true
		return box{}, false
	}
	b := box{typ, cursor{w: c.w, pos: c.pos, end: start + n}}
	c.pos = start + n
	return b, true
}

// full reads the version and flags of a full box.
func (c *cursor) full() (version int, flags int64) {
	v := c.u32()
	return int(v >> 24), v & 0xFFFFFF
}

// meta finds the boxes, then reads them in the order in which they build on
// each other, which need not be theirs.
func (p *heifWalk) meta(m box) error {
	m.body.full()
	found := map[string]box{}
	for {
		b, ok := m.body.box()
		if !ok {
			break
		}
		if _, again := found[b.typ]; !again {
			found[b.typ] = b
		}
	}
	for _, need := range []string{"pitm", "iinf", "iprp"} {
		if _, ok := found[need]; !ok {
			return corrupt("the %s file's meta box has no %s", p.head.Format, need)
		}
	}
	if h, ok := found["hdlr"]; ok { // §8.4.3: "pict" says that the items are pictures
		h.body.full()
		h.body.u32()
		if t := h.body.take(4); string(t) != "pict" {
			return corrupt("the %s file's meta box does not describe pictures", p.head.Format)
		}
	}
	if b, ok := found["idat"]; ok {
		p.idat = Extent{b.body.pos, b.body.left()}
	}
	b := found["pitm"].body
	if version, _ := b.full(); version == 0 {
		p.primary = int64(b.u16())
	} else {
		p.primary = b.u32()
	}
	for _, step := range []struct {
		typ  string
		read func(*cursor) bool
	}{{"iinf", p.infos}, {"iprp", p.propertyBoxes}, {"iref", p.references}, {"iloc", p.locations}} {
		if b, ok := found[step.typ]; ok && !step.read(&b.body) {
			return corrupt("the %s file's %s box is malformed", p.head.Format, step.typ)
		}
	}
	return nil
}

// infos reads the items' types (§8.11.6).
func (p *heifWalk) infos(c *cursor) bool {
	if version, _ := c.full(); version == 0 {
		c.u16()
	} else {
		c.u32()
	}
	for len(p.items) < maxItems {
		b, ok := c.box()
		if !ok {
			return !c.bad
		}
		if b.typ != "infe" {
			continue
		}
		version, flags := b.body.full()
		if version < 2 {
			continue // before HEIF: has no item type
		}
		it := &heifItem{hidden: flags&1 != 0}
		if version == 2 {
			it.id = int64(b.body.u16())
		} else {
			it.id = b.body.u32()
		}
		b.body.u16() // protection
		it.typ = string(b.body.take(4))
		b.body.text(0) // name
		if it.typ == "mime" {
			it.mime = b.body.text(maxKeyword)
		}
		if _, again := p.items[it.id]; again || b.body.bad {
			return false
		}
		p.items[it.id] = it
		p.order = append(p.order, it)
	}
	return false
}

// references reads what the header asks of the relations between items
// (§8.11.12, ISO/IEC 23008-12 §6.4).
func (p *heifWalk) references(c *cursor) bool {
	version, _ := c.full()
	id := func(c *cursor) int64 {
		if version == 0 {
			return int64(c.u16())
		}
		return c.u32()
	}
	for {
		b, ok := c.box()
		if !ok {
			return !c.bad
		}
		from := p.items[id(&b.body)]
		for range b.body.u16() {
			to := id(&b.body)
			if b.body.bad {
				return false
			}
			if from == nil {
				continue
			}
			switch b.typ {
			case "thmb":
				from.dependent, from.thumbOf = true, to
			case "auxl":
				from.dependent = true
				from.helps = append(from.helps, to)
			}
		}
	}
}

// locations reads where the items lie (§8.11.3); only of those whose bytes
// are read here.
func (p *heifWalk) locations(c *cursor) bool {
	version, _ := c.full()
	sizes := c.u16()
	offsetBytes, lengthBytes, baseBytes, indexBytes := sizes>>12, sizes>>8&15, sizes>>4&15, sizes&15
	count := int64(0)
	if version < 2 {
		count = int64(c.u16())
	} else {
		count = c.u32()
	}
	if version == 0 {
		indexBytes = 0
	}
	if version > 2 || max(offsetBytes, lengthBytes, baseBytes, indexBytes) > 8 {
		return false
	}
	for ; count > 0 && !c.bad; count-- {
		id, construction := int64(0), 0
		if version < 2 {
			id = int64(c.u16())
		} else {
			id = c.u32()
		}
		if version > 0 {
			construction = c.u16() & 15
		}
		c.u16() // data reference
		base := c.uint(baseBytes)
		extents, stride := c.u16(), indexBytes+offsetBytes+lengthBytes
		it := p.items[id]
		if stride == 0 { // all the same, and free of charge in the file
			extents = min(extents, 1)
		}
		if it == nil || !it.located() {
			c.skip(int64(extents * stride))
			continue
		}
		for range extents {
			c.uint(indexBytes)
			off, n := c.uint(offsetBytes), c.uint(lengthBytes)
			if c.bad || p.extents >= maxExtents {
				it.lost = true
				break
			}
			p.extents++
			it.add(p.extent(construction, base, off, n))
		}
	}
	return !c.bad
}

// extent places an extent in the file; a negative length says that it isn't there.
func (p *heifWalk) extent(construction int, base, off, n uint64) Extent {
	part := Extent{0, p.size}
	switch construction {
	case 0:
	case 1:
		part = p.idat
	default: // inside another item: not done for metadata
		return Extent{0, -1}
	}
	limit := uint64(part.Length)
	if base > limit || off > limit-base || n > limit-base-off {
		return Extent{0, -1}
	}
	if n == 0 {
		n = limit - base - off
	}
	return Extent{part.Offset + int64(base+off), int64(n)}
}

// blocks emits the metadata items: Exif (ISO/IEC 23008-12 annex A.2.1, whose
// first number says how far the TIFF header is) and XMP (A.3).
func (p *heifWalk) blocks() error {
	for _, it := range p.order {
		data := it.extents
		n := data.Len()
		switch {
		case it.lost || n == 0:
		case it.typ == "mime" && it.mime == "application/rdf+xml":
			if err := p.emit(Block{Kind: XMPBlock, Data: data}); err != nil {
				return err
			}
		case it.typ == "Exif" && n > 4:
			var head [4]byte
			if got, err := data.Reader(p.window).ReadAt(head[:], 0); got < 4 && err != nil && err != io.EOF {
				return err
			}
			skip := int64(be.Uint32(head[:])) + 4
			if skip >= n {
				continue
			}
			if err := p.emit(Block{Kind: ExifBlock, Data: data.Slice(skip, n-skip)}); err != nil {
				return err
			}
		}
	}
	return nil
}
