package format

// Introducers of blocks and labels of extensions (GIF89a §12 to §26).
const (
	gifExtension   = 0x21
	gifImage       = 0x2C
	gifTrailer     = 0x3B
	gifControl     = 0xF9
	gifApplication = 0xFF
	gifXMPTrailer  = 258 // XMP part 3 §1.1.2: bytes that make readers land on the terminator
)

// gifWalk is the state of a walk over a GIF file's blocks.
type gifWalk struct {
	*walker
	pos    int64
	frames int
}

// gif walks every block to count the frames. A file that ends early keeps
// the frames that were met, as decoders do.
func (w *walker) gif() error {
	g := gifWalk{walker: w, pos: 13}
	b, ok := g.bytes(0, 13)
	if !ok {
		return corrupt("the gif file ends inside its header")
	}
	h := &g.head
	h.Color, h.Bands = Palette, 3
	h.Width, h.Height = int(le.Uint16(b[6:])), int(le.Uint16(b[8:]))
	g.grow(int64(h.Width), int64(h.Height))
	if unlikelyScreen(h.Width, h.Height) {
		h.Width, h.Height = 1, 1
	}
	g.pos += colorTable(b[10])
	if err := g.blocks(); err != nil {
		return err
	}
	if g.frames == 0 {
		return corrupt("the gif file has no picture")
	}
	h.Pages, h.Animated = g.frames, g.frames > 1
	if h.Alpha {
		h.Bands = 4
	}
	return nil
}

// unlikelyScreen tells the logical screens that libnsgif, which decodes these
// files, doesn't believe: it takes them for the screen of the author, and the
// first frame for the canvas. MaxPixels keeps what the file claims.
func unlikelyScreen(w, h int) bool {
	switch [2]int{w, h} {
	case [2]int{640, 480}, [2]int{640, 512}, [2]int{800, 600}, [2]int{1024, 768}, [2]int{1280, 1024}, [2]int{1600, 1200}:
		return true
	}
	return w == 0 || h == 0 || w > 2048 || h > 2048
}

// colorTable is the size in bytes of the table that a packed field announces.
func colorTable(packed byte) int64 {
	if packed&0x80 == 0 {
		return 0
	}
	return 3 << (packed&7 + 1)
}

func (g *gifWalk) blocks() error {
	for {
		b, ok := g.bytes(g.pos, 1)
		if !ok {
			return nil
		}
		g.pos++
		switch b[0] {
		case gifExtension:
			if err := g.extension(); err != nil {
				return err
			}
		case gifImage:
			if !g.image() {
				return nil
			}
		case gifTrailer:
			return nil
		case 0: // stray terminators are common, and harmless
		default:
			return nil // lost: decoders stop here too
		}
	}
}

// image reads an image descriptor (§20). The first may widen the canvas.
func (g *gifWalk) image() bool {
	b, ok := g.bytes(g.pos, 9)
	if !ok {
		return false
	}
	right := int(le.Uint16(b)) + int(le.Uint16(b[4:]))
	bottom := int(le.Uint16(b[2:])) + int(le.Uint16(b[6:]))
	if g.frames++; g.frames == 1 {
		g.head.Width, g.head.Height = max(g.head.Width, right), max(g.head.Height, bottom)
	}
	g.grow(int64(right), int64(bottom))
	g.pos += 9 + colorTable(b[8]) + 1 // the code size
	return g.skip()
}

// skip passes over data sub-blocks (§15) and their terminator.
func (g *gifWalk) skip() bool {
	for {
		b, ok := g.bytes(g.pos, 1)
		if !ok {
			return false
		}
		g.pos += 1 + int64(b[0])
		if b[0] == 0 {
			return true
		}
	}
}

// extension looks for transparency (§23) and for XMP.
func (g *gifWalk) extension() error {
	b, ok := g.bytes(g.pos, 6)
	if ok && b[0] == gifControl && b[1] >= 4 && b[2]&1 != 0 {
		g.head.Alpha = true
	}
	b, ok = g.bytes(g.pos, 13)
	xmp := ok && b[0] == gifApplication && b[1] == 11 && string(b[2:13]) == "XMP DataXMP"
	start := g.pos + 13
	g.pos++
	if !g.skip() {
		g.pos = g.size
	}
	if n := min(g.pos, g.size) - gifXMPTrailer - start; xmp && n > 0 {
		return g.emit(Block{Kind: XMPBlock, Data: Extents{{start, n}}})
	}
	return nil
}
