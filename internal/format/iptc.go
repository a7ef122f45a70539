package format

import "io"

// Photoshop's image resources and IPTC-IIM (IIM 4.2 §1.5).
const (
	resourceSignature = "8BIM"
	resourceIPTC      = 0x0404
	iptcTag           = 0x1C
	iptcRecord        = 2 // application record
)

// isPlace tells the datasets that name a place: content location code and
// name, city, sublocation, province, country code and country.
func isPlace(dataset byte) bool {
	switch dataset {
	case 26, 27, 90, 92, 95, 100, 101:
		return true
	}
	return false
}

// WalkPlaces hands visit the position of every value that names a place in
// the IPTC datasets of a block: a PhotoshopBlock's or an IPTCBlock's. Values
// are within the size bytes of r, in order, and not empty. It stops where the
// data stop making sense.
func WalkPlaces(r io.ReaderAt, size int64, kind BlockKind, visit func(value Extent) error) error {
	w := newWindow(r, size)
	if kind != PhotoshopBlock {
		return w.datasets(0, size, visit)
	}
	c := cursor{w: w, end: size}
	for c.left() >= 12 {
		if string(c.take(4)) != resourceSignature {
			return nil
		}
		id := c.u16()
		c.take(c.u8() | 1) // a name with its length, padded to be even
		n := c.u32()
		if c.bad || n > c.left() {
			return nil
		}
		if id == resourceIPTC {
			if err := w.datasets(c.pos, c.pos+n, visit); err != nil {
				return err
			}
		}
		c.pos = min(c.pos+n+n&1, c.end)
	}
	return nil
}

func (w *window) datasets(pos, end int64, visit func(Extent) error) error {
	c := cursor{w: w, pos: pos, end: end}
	for c.left() >= 5 {
		if c.u8() != iptcTag {
			return nil
		}
		record, dataset, n := c.u8(), byte(c.u8()), int64(c.u16())
		if n >= 0x8000 { // extended: that many bytes of length follow
			if n &= 0x7FFF; n > 8 {
				return nil
			}
			n = int64(c.uint(int(n)))
		}
		if c.bad || n < 0 || n > c.left() {
			return nil
		}
		if record == iptcRecord && isPlace(dataset) && n > 0 {
			if err := visit(Extent{c.pos, n}); err != nil {
				return err
			}
		}
		c.pos += n
	}
	return nil
}

// namesPlace tells whether WalkPlaces finds anything.
func namesPlace(r io.ReaderAt, size int64, kind BlockKind) (found bool) {
	_ = WalkPlaces(r, size, kind, func(Extent) error {
		found = true
		return io.EOF
	})
	return found
}
