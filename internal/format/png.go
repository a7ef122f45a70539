package format

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"hash/crc32"
	"io"
	"math"
	"strings"
)

const (
	pngSignature = "\x89PNG\r\n\x1a\n"
	maxChunks    = 1 << 20
	maxInflated  = 4 << 20 // bytes of compressed text that are unpacked, of all chunks together
	maxKeyword   = 79      // PNG §11.3.3.1
)

// pngWalk is the state of a walk over a PNG file's chunks.
type pngWalk struct {
	*walker
	data     bool // image data were seen
	inflated int64
}

// png reads the chunks (PNG, third edition, §5) up to IEND or the file's end.
// Animation (acTL) is passed over: decoders here read the first picture only.
func (w *walker) png() error {
	p := pngWalk{walker: w}
	if err := p.header(); err != nil {
		return err
	}
	pos := int64(33)
	for range maxChunks {
		b, ok := p.bytes(pos, 8)
		if !ok {
			return nil
		}
		n, typ := int64(be.Uint32(b)), string(b[4:8])
		if n > math.MaxInt32 || n > p.size-pos-12 {
			return nil // cut off: for the decoder to judge
		}
		if typ == "IEND" {
			if !p.data {
				return corrupt("the png file has no picture data")
			}
			return nil
		}
		if err := p.chunk(typ, Extent{pos + 8, n}); err != nil {
			return err
		}
		pos += n + 12
	}
	return corrupt("the png file has more than %d chunks", maxChunks)
}

// header reads IHDR (§11.2.1), which has to come first and unharmed.
func (p *pngWalk) header() error {
	b, ok := p.bytes(8, 25)
	if !ok || string(b[:8]) != "\x00\x00\x00\x0dIHDR" {
		return corrupt("the png file does not begin with a header chunk")
	}
	if crc32.ChecksumIEEE(b[4:21]) != be.Uint32(b[21:]) {
		return corrupt("the png header's checksum is wrong")
	}
	width, height := be.Uint32(b[8:]), be.Uint32(b[12:])
	depth, color := b[16], b[17]
	allowed := map[byte]string{0: "\x01\x02\x04\x08\x10", 2: "\x08\x10", 3: "\x01\x02\x04\x08", 4: "\x08\x10", 6: "\x08\x10"}
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 ||
		!strings.ContainsRune(allowed[color], rune(depth)) || b[18] != 0 || b[19] != 0 || b[20] > 1 {
		return corrupt("the png header is malformed")
	}
	h := &p.head
	h.Width, h.Height, h.BitDepth = int(width), int(height), int(depth)
	h.Alpha = color == 4 || color == 6
	switch color {
	case 0, 4:
		h.Color, h.Bands = Gray, 1
	case 3:
		h.Color, h.Bands, h.BitDepth = Palette, 3, 8
	default:
		h.Color, h.Bands = RGB, 3
	}
	if h.Alpha {
		h.Bands++
	}
	return nil
}

// chunk reads one chunk; s is its data, which lie in the file as a whole.
func (p *pngWalk) chunk(typ string, s Extent) error {
	switch typ {
	case "IDAT":
		p.data = true
	case "tRNS":
		if !p.head.Alpha && !p.data {
			p.head.Alpha = true
			p.head.Bands++
		}
	case "iCCP":
		p.head.ICC = true
	case "eXIf":
		return p.emit(Block{Kind: ExifBlock, Data: p.afterSignature(s), Record: record(s)})
	case "tEXt", "zTXt", "iTXt":
		return p.text(typ, s)
	}
	return nil
}

func record(s Extent) Extent { return Extent{s.Offset - 8, s.Length + 12} }

// afterSignature leaves out the signature that some writers put before Exif
// data outside JPEG.
func (w *walker) afterSignature(s Extent) Extents {
	if b, ok := w.bytes(s.Offset, 6); ok && s.Length > 6 && hasPrefix(b, exifSignature) {
		s = Extent{s.Offset + 6, s.Length - 6}
	}
	return Extents{s}
}

// text reads the text chunks (§11.3.3) that can hold metadata: XMP under its
// keyword, ImageMagick's "Raw profile type …", and Exif tags by name.
func (p *pngWalk) text(typ string, s Extent) error {
	c := cursor{w: p.window, pos: s.Offset, end: s.Offset + s.Length}
	keyword := c.text(maxKeyword)
	packed := typ == "zTXt"
	if packed {
		c.u8() // method: deflate is the only one
	} else if typ == "iTXt" {
		packed = c.u8() == 1
		c.u8()
		c.text(0) // language
		c.text(0) // translated keyword
	}
	if c.bad {
		return nil
	}
	body := Extent{c.pos, c.left()}
	profile, raw := strings.CutPrefix(keyword, "Raw profile type ")
	b := Block{Kind: TextBlock, Data: Extents{body}, Record: record(s)}
	switch {
	case isGPSKeyword(keyword):
		b.Location = true
	case keyword == "XML:com.adobe.xmp" && !packed:
		b.Location, b.Place = searchPlaces(b.Data.Reader(p.window), body.Length)
	case keyword == "XML:com.adobe.xmp":
		b.Location, b.Place = p.packedPlaces(body)
	case raw:
		b.Location, b.Place = p.rawProfile(profile, body, packed)
	default:
		return nil
	}
	return p.emit(b)
}

// unpack inflates text into memory, as far as the bounds allow; whole tells
// that this was all of it.
func (p *pngWalk) unpack(body Extent) (text []byte, whole bool) {
	z, err := zlib.NewReader(io.NewSectionReader(p.window, body.Offset, body.Length))
	if err != nil {
		return nil, true // nobody else can read it either
	}
	room := min(maxBuffer, maxInflated-p.inflated)
	text, err = io.ReadAll(io.LimitReader(z, max(room, 0)+1))
	p.inflated += int64(len(text))
	return text, err != nil || int64(len(text)) <= room
}

// packedPlaces searches compressed text. What is too large to be searched
// counts as naming a place: nobody can tell.
func (p *pngWalk) packedPlaces(body Extent) (gps, place bool) {
	text, whole := p.unpack(body)
	gps, place = searchText(text)
	return gps, place || !whole
}

// rawProfile reads a profile in the form that ImageMagick gives it: a line
// with its name, one with its length, then hexadecimal digits.
func (p *pngWalk) rawProfile(profile string, body Extent, packed bool) (gps, place bool) {
	var text []byte
	whole := true
	if packed {
		text, whole = p.unpack(body)
	} else if b, ok := p.bytes(body.Offset, int(min(body.Length, maxBuffer))); ok {
		text, whole = b, body.Length <= maxBuffer
	}
	fields := bytes.SplitN(bytes.TrimLeft(text, "\n "), []byte("\n"), 3)
	if !whole || len(fields) < 3 {
		return false, !whole
	}
	digits := bytes.Join(bytes.Fields(fields[2]), nil)
	data := make([]byte, len(digits)/2)
	n, _ := hex.Decode(data, digits[:len(data)*2])
	data = data[:n]
	switch profile {
	case "exif", "APP1", "xmp":
		if hasPrefix(data, exifSignature) && n > 6 {
			data = data[6:]
		}
		gps, place = searchText(data)
		return gps || readExif(bytes.NewReader(data), int64(len(data))).location, place
	case "iptc", "8bim":
		kind := IPTCBlock
		if hasPrefix(data, resourceSignature) {
			kind = PhotoshopBlock
		}
		return false, namesPlace(bytes.NewReader(data), int64(len(data)), kind)
	}
	return false, false
}
