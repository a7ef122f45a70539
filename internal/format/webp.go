package format

// Flags of the VP8X chunk (RFC 9649 §2.7).
const (
	webpAnimation = 0x02
	webpAlpha     = 0x10
)

// webpWalk is the state of a walk over a WebP file's chunks.
type webpWalk struct {
	*walker
	extended bool // a VP8X chunk came first
	animated bool
	pictures int
}

// webp reads the RIFF chunks (RFC 9649 §2.3) up to the end that the file
// gives itself. A chunk that reaches beyond that end is corrupt.
func (w *walker) webp() error {
	p := webpWalk{walker: w}
	p.head.Bands = 3
	b, ok := p.bytes(0, 12)
	if !ok {
		return corrupt("the webp file ends inside its header")
	}
	end := int64(le.Uint32(b[4:])) + 8
	if end > p.size {
		return corrupt("the webp file is shorter than it says (%d bytes of %d)", p.size, end)
	}
	for pos := int64(12); pos+8 <= end; {
		b, ok := p.bytes(pos, 8)
		if !ok {
			break
		}
		typ, n := string(b[:4]), int64(le.Uint32(b[4:]))
		if n > end-pos-8 {
			return corrupt("a webp chunk runs over the end of the file")
		}
		if err := p.chunk(typ, Extent{pos + 8, n}); err != nil {
			return err
		}
		pos += 8 + n + n&1
	}
	return p.finish()
}

func (p *webpWalk) finish() error {
	h := &p.head
	if p.pictures == 0 {
		return corrupt("the webp file has no picture")
	}
	if p.animated {
		h.Pages, h.Animated = p.pictures, p.pictures > 1
	}
	if h.Alpha {
		h.Bands = 4
	}
	return nil
}

func (p *webpWalk) chunk(typ string, s Extent) error {
	switch typ {
	case "VP8X":
		return p.canvas(s)
	case "VP8 ", "VP8L":
		return p.still(typ, s)
	case "ANMF":
		return p.frame(s)
	case "ALPH":
		p.head.Alpha = p.head.Alpha || !p.extended
	case "ICCP":
		p.head.ICC = p.extended
	case "EXIF":
		return p.emit(Block{Kind: ExifBlock, Data: p.afterSignature(s)})
	case "XMP ":
		return p.emit(Block{Kind: XMPBlock, Data: Extents{s}})
	}
	return nil
}

// canvas reads the extended header (§2.7), which is worth only what it says
// when it comes first.
func (p *webpWalk) canvas(s Extent) error {
	b, ok := p.bytes(s.Offset, 10)
	if !ok || s.Length < 10 {
		return corrupt("the webp header is too short")
	}
	if p.extended || p.pictures > 0 {
		return nil
	}
	p.extended = true
	p.animated = b[0]&webpAnimation != 0
	p.head.Alpha = b[0]&webpAlpha != 0
	p.head.Width, p.head.Height = u24(b[4:])+1, u24(b[7:])+1
	if area(int64(p.head.Width), int64(p.head.Height)) >= 1<<32 {
		return corrupt("the webp canvas is larger than the format allows (%d x %d)", p.head.Width, p.head.Height)
	}
	return nil
}

// still reads a picture outside of animation frames. In an extended file its
// size has to be the canvas'.
func (p *webpWalk) still(typ string, s Extent) error {
	if p.animated || p.pictures > 0 {
		return nil // decoders ignore it
	}
	width, height, alpha, ok := p.bitstream(typ, s)
	if !ok {
		return corrupt("the webp file's picture header is malformed")
	}
	p.pictures++
	if p.extended {
		if width != p.head.Width || height != p.head.Height {
			return corrupt("the webp picture (%d x %d) does not fit its canvas (%d x %d)", width, height, p.head.Width, p.head.Height)
		}
		return nil
	}
	p.head.Width, p.head.Height = width, height
	p.head.Alpha = p.head.Alpha || alpha
	return nil
}

// bitstream reads a key frame's header: lossy (RFC 6386 §9.1) or lossless
// (RFC 9649 §3.4).
func (p *webpWalk) bitstream(typ string, s Extent) (width, height int, alpha, ok bool) {
	if typ == "VP8L" {
		b, ok := p.bytes(s.Offset, 5)
		if !ok || s.Length < 5 || b[0] != 0x2F {
			return 0, 0, false, false
		}
		v := le.Uint32(b[1:])
		return int(v&0x3FFF) + 1, int(v>>14&0x3FFF) + 1, v>>28&1 != 0, v>>29 == 0
	}
	b, ok := p.bytes(s.Offset, 10)
	if !ok || s.Length < 10 || b[0]&1 != 0 || string(b[3:6]) != "\x9d\x01\x2a" {
		return 0, 0, false, false
	}
	width, height = int(le.Uint16(b[6:]))&0x3FFF, int(le.Uint16(b[8:]))&0x3FFF
	return width, height, false, width > 0 && height > 0
}

// frame reads an animation frame (§2.7.1.1). An animation is transparent
// where a frame is, or where one leaves some of the canvas as it is.
func (p *webpWalk) frame(s Extent) error {
	if !p.animated {
		return nil
	}
	b, ok := p.bytes(s.Offset, 16)
	if !ok || s.Length < 16 {
		return corrupt("a webp animation frame is too short")
	}
	x, y, width, height := 2*u24(b), 2*u24(b[3:]), u24(b[6:])+1, u24(b[9:])+1
	if x+width > p.head.Width || y+height > p.head.Height {
		return corrupt("a webp animation frame reaches beyond the canvas")
	}
	if width != p.head.Width || height != p.head.Height {
		p.head.Alpha = true
	}
	p.pictures++
	return p.framePicture(Extent{s.Offset + 16, s.Length - 16}, width, height)
}

// framePicture looks into a frame's own chunks, up to its picture.
func (p *webpWalk) framePicture(s Extent, width, height int) error {
	for s.Length >= 8 {
		b, ok := p.bytes(s.Offset, 8)
		if !ok {
			break
		}
		typ, n := string(b[:4]), int64(le.Uint32(b[4:]))
		if n > s.Length-8 {
			break
		}
		if typ == "ALPH" {
			p.head.Alpha = true
		}
		if typ == "VP8 " || typ == "VP8L" {
			w, h, alpha, ok := p.bitstream(typ, Extent{s.Offset + 8, n})
			if !ok || w != width || h != height {
				break
			}
			p.head.Alpha = p.head.Alpha || alpha
			return nil
		}
		s.Offset, s.Length = s.Offset+8+n+n&1, s.Length-8-n-n&1
	}
	return corrupt("a webp animation frame has no picture of its size")
}
