package format

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The builders make small files, whole in their structure, whose pixels
// nobody decodes.

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

// field is a TIFF directory entry with its value's bytes.
type field struct {
	tag, typ uint16
	count    uint32
	value    []byte
}

func short(o binary.AppendByteOrder, tag, v uint16) field {
	return field{tag, 3, 1, o.AppendUint16(nil, v)}
}

// tiffFile lays out directories one after the other, each followed by its
// values, linked as a chain.
func tiffFile(o binary.AppendByteOrder, dirs ...[]field) []byte {
	order := o.(binary.ByteOrder)
	b := []byte("II*\x00\x08\x00\x00\x00")
	if order == be {
		b = []byte("MM\x00*\x00\x00\x00\x08")
	}
	for i, dir := range dirs {
		at := len(b)
		tail := at + 2 + 12*len(dir) + 4
		var values []byte
		b = o.AppendUint16(b, uint16(len(dir)))
		for _, f := range dir {
			b = o.AppendUint16(b, f.tag)
			b = o.AppendUint16(b, f.typ)
			b = o.AppendUint32(b, f.count)
			if len(f.value) <= 4 {
				b = append(b, append(bytes.Clone(f.value), 0, 0, 0, 0)[:4]...)
				continue
			}
			b = o.AppendUint32(b, uint32(tail+len(values)))
			values = append(values, f.value...)
		}
		next := uint32(tail + len(values))
		if i == len(dirs)-1 {
			next = 0
		}
		b = append(o.AppendUint32(b, next), values...)
	}
	return b
}

// exifBlock has an orientation and a GPS directory, which lies at the end.
func exifBlock(o binary.AppendByteOrder, orientation uint16) []byte {
	dir := []field{short(o, tagOrientation, orientation), {TagGPS, 4, 1, nil}}
	dir[1].value = o.AppendUint32(nil, 8+2+2*12+4)
	b := tiffFile(o, dir)
	b = o.AppendUint16(b, 1)
	b = o.AppendUint16(b, 1)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint32(b, 2)
	b = append(b, "N\x00\x00\x00"...)
	return o.AppendUint32(b, 0)
}

func segment(mark int, parts ...any) []byte {
	body := cat(parts...)
	return cat(0xFF, mark, uint16(len(body)+2), body)
}

func sof(mark int, w, h uint16, bands int) []byte {
	return segment(mark, 8, h, w, bands, bytes.Repeat([]byte{1, 0x11, 0}, bands))
}

// jpegFile has n scans with stuffed and restarted data.
func jpegFile(frame []byte, n int, segments ...[]byte) []byte {
	b := cat("\xff\xd8", bytes.Join(segments, nil), frame)
	for range n {
		b = cat(b, segment(markSOS, 1, 1, 0, 0, 63, 0), "\x12\xff\x00\x34\xff\xd0\x56\xff\x00")
	}
	return cat(b, "\xff\xd9")
}

func chunk(typ string, parts ...any) []byte {
	body := cat(typ, cat(parts...))
	return cat(uint32(len(body)-4), body, crc32.ChecksumIEEE(body))
}

func ihdr(w, h uint32, depth, color int) []byte { return chunk("IHDR", w, h, depth, color, 0, 0, 0) }

func pngFile(chunks ...[]byte) []byte {
	return cat(pngSignature, bytes.Join(chunks, nil), chunk("IDAT", "data"), chunk("IEND"))
}

func riff(chunks ...[]byte) []byte {
	body := cat("WEBP", bytes.Join(chunks, nil))
	return cat("RIFF", le.AppendUint32(nil, uint32(len(body))), body)
}

func riffChunk(typ string, parts ...any) []byte {
	body := cat(parts...)
	b := cat(typ, le.AppendUint32(nil, uint32(len(body))), body)
	return append(b, make([]byte, len(body)&1)...)
}

func vp8(w, h uint16) []byte {
	b := cat("\x10\x00\x00\x9d\x01\x2a")
	return riffChunk("VP8 ", le.AppendUint16(le.AppendUint16(b, w), h))
}

func vp8l(w, h, alpha uint32) []byte {
	return riffChunk("VP8L", 0x2F, le.AppendUint32(nil, w-1|(h-1)<<14|alpha<<28))
}

func le24(v int) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16)} }

func vp8x(flags, w, h int) []byte { return riffChunk("VP8X", flags, 0, 0, 0, le24(w-1), le24(h-1)) }

func anmf(x, y, w, h int, picture []byte) []byte {
	return riffChunk("ANMF", le24(x/2), le24(y/2), le24(w-1), le24(h-1), le24(100), 0, picture)
}

func gifFile(w, h uint16, blocks ...[]byte) []byte {
	screen := le.AppendUint16(le.AppendUint16(nil, w), h)
	return cat("GIF89a", screen, 0x80, 0, 0, "\x00\x00\x00\xff\xff\xff", bytes.Join(blocks, nil), ";")
}

func gifFrame(x, y, w, h uint16) []byte {
	b := []byte{gifImage}
	for _, v := range []uint16{x, y, w, h} {
		b = le.AppendUint16(b, v)
	}
	return cat(b, 0, 2, 2, 0x44, 1, 0)
}

func isobox(typ string, parts ...any) []byte {
	body := cat(parts...)
	return cat(uint32(len(body)+8), typ, body)
}

func fullbox(typ string, version int, flags uint32, parts ...any) []byte {
	return isobox(typ, uint32(version)<<24|flags, cat(parts...))
}

// heifPart is an item for heifFile.
type heifPart struct {
	typ    string
	hidden bool
	props  []int // from 1
	data   []byte
	mime   string
}

// heifFile has items numbered from 1, the first being primary; their data lie
// in idat (construction 1) or in the file behind the meta box.
func heifFile(brand string, inside bool, parts []heifPart, props []byte, refs []byte) []byte {
	build := func(base uint32) []byte {
		var infos, maps, locs, data []byte
		for i, p := range parts {
			flags := uint32(0)
			if p.hidden {
				flags = 1
			}
			id := uint16(i + 1)
			extra := []byte{}
			if p.mime != "" {
				extra = cat(p.mime, 0)
			}
			infos = cat(infos, fullbox("infe", 2, flags, id, uint16(0), p.typ, "n\x00", extra))
			assoc := []byte{}
			for _, x := range p.props {
				assoc = append(assoc, byte(x))
			}
			maps = cat(maps, id, len(assoc), assoc)
			construction := uint16(0)
			if inside {
				construction = 1
			}
			locs = cat(locs, id, construction, uint16(0), uint16(1), base+uint32(len(data)), uint32(len(p.data)))
			data = append(data, p.data...)
		}
		n := uint16(len(parts))
		children := cat(
			fullbox("hdlr", 0, 0, uint32(0), "pict", make([]byte, 13)),
			fullbox("pitm", 0, 0, uint16(1)),
			fullbox("iinf", 0, 0, n, infos),
			isobox("iprp", isobox("ipco", props), fullbox("ipma", 0, 0, uint32(n), maps)),
			fullbox("iref", 0, 0, refs),
			fullbox("iloc", 1, 0, 0x44, 0, n, locs),
		)
		head := isobox("ftyp", brand, uint32(0), "mif1", brand)
		if inside {
			return cat(head, fullbox("meta", 0, 0, children, isobox("idat", data)))
		}
		return cat(head, fullbox("meta", 0, 0, children), isobox("mdat", data))
	}
	if inside {
		return build(0)
	}
	total := 0
	for _, p := range parts {
		total += len(p.data)
	}
	return build(uint32(len(build(0)) - total))
}

func ispe(w, h uint32) []byte { return fullbox("ispe", 0, 0, w, h) }

func ref(typ string, from, to uint16) []byte { return isobox(typ, from, uint16(1), to) }
