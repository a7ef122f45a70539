package scrub

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"safelight/internal/format"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// secrets are what must not be left in any scrubbed file.
const (
	coordinate = "\xC0\xFF\xEE\x01\x00\x00\x00\x07\xC0\xFF\xEE\x02\x00\x00\x00\x09\xC0\xFF\xEE\x03\x00\x00\x00\x05" // three rationals
	method     = "ASCII\x00\x00\x00BY-SATELLITE"
	latitude   = "48,51.5N"
	city       = "Nonesuch"
	maker      = "Lumen & Sons\x00"
)

var secrets = []string{coordinate, method, latitude, city}

func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		case int:
			b = append(b, byte(v))
		case uint16:
			b = be.AppendUint16(b, v)
		case uint32:
			b = be.AppendUint32(b, v)
		}
	}
	return b
}

type field struct {
	tag, typ uint16
	count    uint32
	value    []byte
}

type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// directory appends a table at the end of b, then its values; link is where
// the next one begins.
func directory(o order, b []byte, link uint32, fields ...field) []byte {
	tail := len(b) + 2 + 12*len(fields) + 4
	var values []byte
	b = o.AppendUint16(b, uint16(len(fields)))
	for _, f := range fields {
		b = o.AppendUint32(o.AppendUint16(o.AppendUint16(b, f.tag), f.typ), f.count)
		if len(f.value) <= 4 {
			b = append(b, append(bytes.Clone(f.value), 0, 0, 0, 0)[:4]...)
			continue
		}
		b = o.AppendUint32(b, uint32(tail+len(values)))
		values = append(values, f.value...)
	}
	return append(o.AppendUint32(b, link), values...)
}

// tiffWith builds a TIFF structure: main fields, then a GPS directory. bits
// are strip bytes between them.
func tiffWith(o order, gps bool, fields ...field) []byte {
	b := []byte("II*\x00")
	if o.Uint16([]byte{0, 1}) == 1 {
		b = []byte("MM\x00*")
	}
	b = o.AppendUint32(b, 8)
	if !gps {
		return directory(o, b, 0, fields...)
	}
	at := uint32(len(directory(o, b, 0, append(fields, field{0x8825, 4, 1, nil})...)))
	b = directory(o, b, 0, append(fields, field{0x8825, 4, 1, o.AppendUint32(nil, at)})...)
	return directory(o, b, 0,
		field{0, 1, 4, []byte{2, 3, 0, 0}},
		field{1, 2, 2, []byte("N\x00")},
		field{2, 5, 3, []byte(coordinate)},
		field{0x1B, 7, uint32(len(method)), []byte(method)})
}

func exif(o order, gps bool) []byte {
	return tiffWith(o, gps, field{0x10F, 2, uint32(len(maker)), []byte(maker)}, field{0x112, 3, 1, o.AppendUint16(nil, 6)})
}

// xmp is a packet, with GPS in it if where says so, and long enough to be replaced.
func xmp(where string) []byte {
	return cat(`<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description `, where, ` dc:format="any"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`)
}

var (
	gpsXMP  = xmp(`exif:GPSLatitude="` + latitude + `"`)
	cityXMP = xmp(`photoshop:City="` + city + `"`)
)

func picture() image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, 24, 16))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 37)
	}
	return m
}

func segment(mark int, parts ...any) []byte {
	body := cat(parts...)
	return cat(0xFF, mark, uint16(len(body)+2), body)
}

func jpegWith(t testing.TB, segments ...[]byte) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(), nil); err != nil {
		t.Fatal(err)
	}
	return cat(b.Bytes()[:2], bytes.Join(segments, nil), b.Bytes()[2:])
}

func chunk(typ string, parts ...any) []byte {
	body := cat(typ, cat(parts...))
	return cat(uint32(len(body)-4), body, crc32.ChecksumIEEE(body))
}

func pngWith(t testing.TB, chunks ...[]byte) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, picture()); err != nil {
		t.Fatal(err)
	}
	return cat(b.Bytes()[:33], bytes.Join(chunks, nil), b.Bytes()[33:])
}

func gifWith(t testing.TB, packet []byte) []byte {
	m := image.NewPaletted(image.Rect(0, 0, 24, 16), color.Palette{color.Black, color.White})
	var b bytes.Buffer
	if err := gif.Encode(&b, m, &gif.Options{NumColors: 2}); err != nil {
		t.Fatal(err)
	}
	magic := []byte{1}
	for i := 255; i >= 0; i-- {
		magic = append(magic, byte(i))
	}
	head := 13 + 3*2 // the screen and two colours
	if i := bytes.IndexByte(b.Bytes(), 0x2C); i > 0 {
		head = i
	}
	return cat(b.Bytes()[:head], "!\xff\x0bXMP DataXMP", packet, magic, 0, b.Bytes()[head:])
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func riffChunk(typ string, body []byte) []byte {
	return append(cat(typ, le.AppendUint32(nil, uint32(len(body))), body), make([]byte, len(body)&1)...)
}

func webpWith(chunks ...[]byte) []byte {
	body := cat("WEBP", riffChunk("VP8X", []byte{0x0c, 0, 0, 0, 23, 0, 0, 15, 0, 0}),
		riffChunk("VP8L", cat(0x2F, le.AppendUint32(nil, 23|15<<14))), bytes.Join(chunks, nil))
	return cat("RIFF", le.AppendUint32(nil, uint32(len(body))), body)
}

func box(typ string, parts ...any) []byte {
	body := cat(parts...)
	return cat(uint32(len(body)+8), typ, body)
}

func full(typ string, parts ...any) []byte { return box(typ, uint32(0), cat(parts...)) }

// heifWith has a picture, an Exif item in two extents, and an XMP item; their
// bytes lie in idat or in mdat.
func heifWith(brand string, inside bool, exif, packet []byte) []byte {
	exif = cat(uint32(6), "Exif\x00\x00", exif)
	build := func(base uint32) []byte {
		infe := func(id uint16, typ, mime string) []byte {
			return box("infe", uint32(2<<24), id, uint16(0), typ, "\x00", mime)
		}
		construction := uint16(0)
		if inside {
			construction = 1
		}
		half, n := uint32(len(exif)/2), uint32(len(exif))
		iloc := box("iloc", uint32(1<<24), 0x44, 0, uint16(2),
			uint16(2), construction, uint16(0), uint16(2), base+half, n-half, base, half, // the halves are swapped in the file
			uint16(3), construction, uint16(0), uint16(1), base+n, uint32(len(packet)))
		data := make([]byte, n)
		copy(data[half:], exif[:n-half])
		copy(data, exif[n-half:])
		meta := cat(full("hdlr", uint32(0), "pict", make([]byte, 13)), full("pitm", uint16(1)),
			full("iinf", uint16(3), infe(1, "av01", ""), infe(2, "Exif", ""), infe(3, "mime", "application/rdf+xml\x00")),
			box("iprp", box("ipco", full("ispe", uint32(24), uint32(16))), full("ipma", uint32(1), uint16(1), 1, 1)), iloc)
		head := box("ftyp", brand, uint32(0))
		if inside {
			return cat(head, full("meta", meta, box("idat", data, packet)))
		}
		return cat(head, full("meta", meta), box("mdat", data, packet))
	}
	if inside {
		return build(0)
	}
	return build(uint32(len(build(0)) - len(exif) - len(packet)))
}

// tiffPicture has strips, and the other metadata that TIFF knows.
func tiffPicture(o order, gps bool, more ...field) []byte {
	s := func(tag, v uint16) field { return field{tag, 3, 1, o.AppendUint16(nil, v)} }
	return tiffWith(o, gps, append([]field{s(0x100, 2), s(0x101, 1), s(0x102, 8), s(0x106, 1), {0x111, 4, 1, o.AppendUint32(nil, 8)}, s(0x117, 2)}, more...)...)
}

func iim(places ...string) []byte {
	b := cat("\x1c\x02\x05", uint16(5), "Title")
	for i, p := range places {
		b = cat(b, "\x1c\x02", []int{90, 95, 101}[i%3], uint16(len(p)), p)
	}
	return cat(b, "\x1c\x02\x78", uint16(4), "Text")
}

func resources(iim []byte) []byte {
	pad := make([]byte, len(iim)&1)
	return cat("8BIM\x04\x04\x00\x00", uint32(len(iim)), iim, pad, "8BIM\x03\xed\x01a", uint32(2), "xy")
}

// withFormat is a file of a test table.
type withFormat struct {
	format format.Format
	file   []byte
}
