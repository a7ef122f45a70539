package format

// How JPEG XL files begin: a bare codestream (ISO/IEC 18181-1), or the
// container's signature box (ISO/IEC 18181-2).
const (
	jxlCodestream = "\xff\x0a"
	jxlContainer  = "\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
)

const (
	// maxJXLHeader is as much of a codestream as is read for its header. Real ones
	// have some tens of bytes; only names of many channels make them longer.
	maxJXLHeader = 64 << 10
	maxJXLParts  = 1 << 12 // boxes that hold a codestream
)

// jxl reads the codestream's header (ISO/IEC 18181-1, SizeHeader and
// ImageMetadata), and the container around it if there is one. As for HEIF, the
// size is what a decoder gives: upright. Frames are not counted, and the first
// stands for all.
func (w *walker) jxl() error {
	stream := Extents{{0, w.size}}
	if b, ok := w.bytes(0, len(jxlCodestream)); !ok || string(b) != jxlCodestream {
		var err error
		if stream, err = w.jxlBoxes(); err != nil {
			return err
		}
	}
	head := make([]byte, min(stream.Len(), maxJXLHeader))
	n, _ := stream.Reader(w.window).ReadAt(head, 0)
	bits := jxlBits{data: head[:n]}
	if n < 2 || string(head[:2]) != jxlCodestream {
		return corrupt("the jxl file has no codestream")
	}
	bits.skip(16)
	w.head.Width, w.head.Height = bits.size()
	bits.metadata(&w.head)
	if bits.bad {
		return corrupt("the jxl codestream's header is malformed")
	}
	return nil
}

// jxlBoxes finds the codestream in a container, which may lie in one box or in
// parts, and hands on what may hold a location.
func (w *walker) jxlBoxes() (Extents, error) {
	w.head.Orientation = 1 // Exif has no say in it
	var stream Extents
	top := cursor{w: w.window, end: w.size}
	for {
		b, ok := top.box()
		if !ok {
			return stream, nil
		}
		switch b.typ {
		case "jxlp":
			b.body.u32() // the part's number: they are in order
			fallthrough
		case "jxlc":
			if len(stream) == maxJXLParts {
				return nil, corrupt("the jxl file has too many parts")
			}
			stream = append(stream, Extent{b.body.pos, b.body.left()})
		case "Exif", "xml ", "brob":
			if block, ok := b.jxlMetadata(); ok {
				if err := w.emit(block); err != nil {
					return nil, err
				}
			}
		}
	}
}

// jxlMetadata is what a box of metadata holds, if that can be a location. What is
// packed in a "brob" box can't be read here, so it counts as one.
func (b *box) jxlMetadata() (Block, bool) {
	block := Block{Kind: XMPBlock}
	switch b.typ {
	case "Exif":
		block.Kind = ExifBlock
		b.body.skip(b.body.u32()) // to the TIFF structure
	case "brob":
		if inside := string(b.body.take(4)); inside != "Exif" && inside != "xml " {
			return block, false
		}
		block = Block{Kind: TextBlock, Location: true, Place: true}
	}
	block.Data = Extents{{b.body.pos, b.body.left()}}
	return block, !b.body.bad
}

// jxlBits reads the header's bits, the lowest of each byte first. Behind the end
// every bit is zero, and bad stays set.
type jxlBits struct {
	data []byte
	at   int // in bits
	bad  bool
}

// u reads a number of 0 to 32 bits.
func (b *jxlBits) u(n int) (v int64) {
	if b.bad || b.at+n > len(b.data)*8 {
		b.bad = true
		return 0
	}
	for i := range n {
		v |= int64(b.data[b.at>>3]>>(b.at&7)&1) << i
		b.at++
	}
	return v
}

func (b *jxlBits) skip(n int64) {
	if b.bad || n > int64(len(b.data)*8-b.at) {
		b.bad = true
		return
	}
	b.at += int(n)
}

func (b *jxlBits) flag() bool { return b.u(1) == 1 }

// choice is one of four ways to write a number: so many bits, and what is added.
type choice struct {
	bits int
	plus int64
}

// u32 reads a number written in one of four ways (U32).
func (b *jxlBits) u32(ways [4]choice) int64 {
	way := ways[b.u(2)]
	return way.plus + b.u(way.bits)
}

var (
	jxlSides     = [4]choice{{9, 1}, {13, 1}, {18, 1}, {30, 1}}
	jxlEnum      = [4]choice{{0, 0}, {0, 1}, {4, 2}, {6, 18}}
	jxlIntBits   = [4]choice{{0, 8}, {0, 10}, {0, 12}, {6, 1}}
	jxlFloatBits = [4]choice{{0, 32}, {0, 16}, {0, 24}, {6, 1}}
	jxlChannels  = [4]choice{{0, 0}, {0, 1}, {4, 2}, {12, 1}}
	jxlShift     = [4]choice{{0, 0}, {0, 3}, {0, 4}, {3, 1}}
	jxlName      = [4]choice{{0, 0}, {4, 0}, {5, 16}, {10, 48}}
	jxlMosaic    = [4]choice{{0, 1}, {2, 0}, {4, 3}, {8, 19}}

	jxlPreview8 = [4]choice{{0, 16}, {0, 32}, {5, 1}, {9, 33}}
	jxlPreview  = [4]choice{{6, 1}, {8, 65}, {10, 321}, {12, 1345}}

	jxlTicks   = [4]choice{{0, 100}, {0, 1000}, {10, 1}, {30, 1}}
	jxlPerTick = [4]choice{{0, 1}, {0, 1001}, {8, 1}, {10, 1}}
	jxlLoops   = [4]choice{{0, 0}, {3, 0}, {16, 0}, {32, 0}}
)

// jxlRatios are the widths that follow from the height (SizeHeader): numerator, denominator.
var jxlRatios = [8][2]int64{1: {1, 1}, 2: {12, 10}, 3: {4, 3}, 4: {3, 2}, 5: {16, 9}, 6: {5, 4}, 7: {2, 1}}

// size reads a SizeHeader.
func (b *jxlBits) size() (width, height int) {
	small := b.flag()
	side := func() int64 {
		if small {
			return 8 * (b.u(5) + 1)
		}
		return b.u32(jxlSides)
	}
	return b.sides(side)
}

// sides reads a height, and a width of its own or as a ratio of it.
func (b *jxlBits) sides(side func() int64) (width, height int) {
	h := side()
	w := int64(0)
	if ratio := jxlRatios[b.u(3)]; ratio[0] > 0 {
		w = h * ratio[0] / ratio[1]
	} else {
		w = side()
	}
	return int(w), int(h)
}

// metadata reads ImageMetadata up to the kind of colours.
func (b *jxlBits) metadata(h *Header) {
	h.Bands, h.BitDepth, h.Orientation = 3, 8, 1
	if b.flag() { // all as usual
		return
	}
	if b.flag() {
		b.extra(h)
	}
	h.BitDepth = b.depth()
	b.u(1) // whether 16 bits are enough for the decoder
	for range b.u32(jxlChannels) {
		if b.bad {
			return
		}
		h.Alpha = b.channel() == jxlAlpha || h.Alpha
	}
	b.u(1) // whether colours are in XYB
	if !b.flag() {
		h.ICC = b.flag()
		if b.u32(jxlEnum) == jxlGray {
			h.Color, h.Bands = Gray, 1
		}
	}
	if h.Alpha {
		h.Bands++
	}
}

const (
	jxlGray  = 1 // ColourSpace
	jxlAlpha = 0 // ExtraChannelType
	jxlSpot  = 2 // a spot colour: four numbers of 16 bits follow
	jxlCFA   = 5 // of a mosaic: its number follows
)

// extra reads the fields that few files have: orientation, sizes, animation.
func (b *jxlBits) extra(h *Header) {
	if orientation := b.u(3) + 1; orientation >= 5 {
		h.Width, h.Height = h.Height, h.Width
	}
	if b.flag() {
		b.size() // intrinsic
	}
	if b.flag() { // a preview
		ways := jxlPreview
		factor := int64(1)
		if b.flag() {
			ways, factor = jxlPreview8, 8
		}
		b.sides(func() int64 { return factor * b.u32(ways) })
	}
	if b.flag() { // an animation
		b.u32(jxlTicks)
		b.u32(jxlPerTick)
		b.u32(jxlLoops)
		b.u(1)
	}
}

// depth reads a BitDepth.
func (b *jxlBits) depth() int {
	if !b.flag() {
		return int(b.u32(jxlIntBits))
	}
	bits := b.u32(jxlFloatBits)
	b.u(4)
	return int(bits)
}

// channel reads an ExtraChannelInfo, and tells what it holds.
func (b *jxlBits) channel() (holds int64) {
	if b.flag() {
		return jxlAlpha
	}
	holds = b.u32(jxlEnum)
	b.depth()
	b.u32(jxlShift)
	b.skip(8 * b.u32(jxlName))
	switch holds {
	case jxlAlpha:
		b.u(1) // whether colours are multiplied by it
	case jxlSpot:
		b.skip(4 * 16)
	case jxlCFA:
		b.u32(jxlMosaic)
	}
	return holds
}
