package format

import "bytes"

// Markers (ITU-T T.81 table B.1).
const (
	markSOI   = 0xD8
	markEOI   = 0xD9
	markSOS   = 0xDA
	markAPP1  = 0xE1
	markAPP2  = 0xE2
	markAPP13 = 0xED
)

// Signatures of application segments: Exif 3.0 §4.7.2, ICC.1:2022 annex B.4,
// XMP part 3 §1.1.3, Photoshop's file format.
const (
	exifSignature      = "Exif\x00"
	iccSignature       = "ICC_PROFILE\x00"
	xmpSignature       = "http://ns.adobe.com/xap/1.0/\x00"
	xmpMoreSignature   = "http://ns.adobe.com/xmp/extension/\x00"
	photoshopSignature = "Photoshop 3.0\x00"
	xmpMoreHeader      = len(xmpMoreSignature) + 32 + 4 + 4 // digest, full length, offset
	maxJoined          = 4096                               // segments that one block is joined from
)

// jpegWalk is the state of one picture of a JPEG file.
type jpegWalk struct {
	*walker
	first     bool // the file's own picture, not one that follows it
	framed    bool
	more      Extents // extended XMP, in the order of the file
	resources Extents // Photoshop's
}

// jpeg walks the markers up to the end of the picture, entropy-coded data
// included since scans are counted. Other pictures may follow (CIPA DC-007
// multi-picture format: previews, gain maps); they are walked for their
// metadata only.
func (w *walker) jpeg() error {
	p := jpegWalk{walker: w, first: true}
	pos, err := p.picture(2)
	if err != nil {
		return err
	}
	if !p.framed {
		return corrupt("the jpeg file has no frame header")
	}
	for {
		if pos = w.index(pos, 0xFF); pos < 0 {
			return nil
		}
		if b, ok := w.bytes(pos, 4); !ok || b[1] != markSOI || b[2] != 0xFF || b[3] < 0xC0 || b[3] == 0xFF {
			pos++
			continue
		}
		p := jpegWalk{walker: w}
		if pos, err = p.picture(pos + 2); err != nil {
			return err
		}
	}
}

// picture walks from behind the start of image to behind its end, or to where
// the file ends or stops making sense.
func (p *jpegWalk) picture(pos int64) (int64, error) {
	end := p.size
	for {
		mark, at := p.marker(pos)
		if at < 0 || mark == markEOI {
			if at >= 0 {
				end = at
			}
			break
		}
		pos = at
		if mark == 0x01 || mark >= 0xD0 && mark <= markSOI {
			continue // these stand alone (T.81 §B.1.1.3)
		}
		b, ok := p.bytes(pos, 2)
		n := int64(0)
		if ok {
			n = int64(be.Uint16(b))
		}
		if n < 2 || pos+n > p.size {
			if p.first && !p.framed {
				return 0, corrupt("a jpeg segment runs over the end of the file")
			}
			if ok && n < 2 {
				pos += 2
				continue
			}
			break
		}
		if err := p.segment(mark, Extent{pos + 2, n - 2}); err != nil {
			return 0, err
		}
		pos += n
	}
	return end, p.flush()
}

// marker finds the next marker at or after pos, skipping entropy-coded data,
// stuffed zeros, fill bytes and rubbish alike (T.81 §B.1.1.2, §B.1.1.5), and
// gives the position behind it; -1 at the end.
func (p *jpegWalk) marker(pos int64) (mark byte, behind int64) {
	for {
		b := p.some(pos)
		for i := 0; ; i++ {
			j := bytes.IndexByte(b[i:], 0xFF)
			if j < 0 {
				pos += int64(len(b))
				break
			}
			if i += j + 1; i == len(b) { // the code is in the next window
				pos += int64(i) - 1
				c, ok := p.bytes(pos, 2)
				if !ok {
					return 0, -1
				}
				if c[1] != 0 && c[1] != 0xFF {
					return c[1], pos + 2
				}
				pos++
				break
			}
			if b[i] == 0xFF {
				i--
			} else if b[i] != 0 {
				return b[i], pos + int64(i) + 1
			}
		}
		if len(b) == 0 {
			return 0, -1
		}
	}
}

// segment reads one marker segment; s is what follows its length.
func (p *jpegWalk) segment(mark byte, s Extent) error {
	switch {
	case mark == markSOS && p.first:
		if !p.framed {
			return corrupt("the jpeg file's data begin before a frame header")
		}
		p.head.Scans++
	case mark >= 0xC0 && mark <= 0xCF && mark != 0xC4 && mark != 0xC8 && mark != 0xCC:
		if p.first && !p.framed {
			return p.frame(s)
		}
	case mark == markAPP1 || mark == markAPP2 || mark == markAPP13:
		return p.application(mark, s)
	}
	return nil
}

// frame reads a frame header (T.81 §B.2.2) of any process: whether it can be
// decoded is for the decoder to say.
func (p *jpegWalk) frame(s Extent) error {
	c := cursor{w: p.window, pos: s.Offset, end: s.Offset + s.Length}
	h := &p.head
	h.BitDepth, h.Height, h.Width, h.Bands = c.u8(), c.u16(), c.u16(), c.u8()
	if c.bad || c.left() < int64(3*h.Bands) || h.Bands < 1 || h.BitDepth < 2 || h.BitDepth > 16 {
		return corrupt("the jpeg frame header is malformed")
	}
	if h.Width < 1 || h.Height < 1 {
		return corrupt("the jpeg frame header gives a size of %d x %d", h.Width, h.Height)
	}
	switch {
	case h.Bands <= 2:
		h.Color = Gray
	case h.Bands == 4:
		h.Color = CMYK
	}
	p.framed = true
	return nil
}

// application tells the metadata segments by their signatures.
func (p *jpegWalk) application(mark byte, s Extent) error {
	b, ok := p.bytes(s.Offset, int(min(s.Length, int64(xmpMoreHeader))))
	if !ok {
		return nil
	}
	rest := func(n int) Extents { return Extents{{s.Offset + int64(n), s.Length - int64(n)}} }
	switch {
	case mark == markAPP1 && hasPrefix(b, exifSignature) && len(b) > 6:
		return p.emit(Block{Kind: ExifBlock, Data: rest(6)})
	case mark == markAPP1 && hasPrefix(b, xmpSignature):
		return p.emit(Block{Kind: XMPBlock, Data: rest(len(xmpSignature))})
	case mark == markAPP1 && hasPrefix(b, xmpMoreSignature) && len(b) == xmpMoreHeader:
		p.more = append(p.more, rest(xmpMoreHeader)...)
	case mark == markAPP2 && hasPrefix(b, iccSignature) && p.first:
		p.head.ICC = true
	case mark == markAPP13 && hasPrefix(b, photoshopSignature):
		p.resources = append(p.resources, rest(len(photoshopSignature))...)
	}
	if len(p.more)+len(p.resources) >= maxJoined {
		return p.flush()
	}
	return nil
}

// flush emits the blocks that are spread over several segments.
func (p *jpegWalk) flush() error {
	more, resources := p.more, p.resources
	p.more, p.resources = nil, nil
	if len(more) > 0 {
		if err := p.emit(Block{Kind: XMPExtension, Data: more}); err != nil {
			return err
		}
	}
	if len(resources) > 0 {
		return p.emit(Block{Kind: PhotoshopBlock, Data: resources})
	}
	return nil
}
