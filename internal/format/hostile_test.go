package format

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestHostile has files of some megabytes that are made to be read again and
// again. Each must be done with soon, having read no more than a small
// multiple of itself.
func TestHostile(t *testing.T) {
	const size = 4 << 20
	repeat := func(s string) []byte { return []byte(strings.Repeat(s, size/len(s))) }
	for name, file := range map[string][]byte{
		"jpeg fill":           cat("\xff\xd8", repeat("\xff")),
		"jpeg scans":          cat("\xff\xd8", sof(0xC0, 9, 9, 1), repeat("\xff\xda\x00\x02")),
		"jpeg pictures":       cat(jpegFile(sof(0xC0, 9, 9, 1), 1), repeat("\xff\xd8\xff\xc0")),
		"jpeg extended xmp":   cat("\xff\xd8", sof(0xC0, 9, 9, 1), repeat(string(segment(markAPP1, xmpMoreSignature, strings.Repeat("x", 41))))),
		"jpeg xmp":            cat("\xff\xd8", sof(0xC0, 9, 9, 1), repeat(string(segment(markAPP1, xmpSignature)))),
		"jpeg resources":      cat("\xff\xd8", sof(0xC0, 9, 9, 1), repeat(string(segment(markAPP13, photoshopSignature, "8")))),
		"png chunks":          cat(pngSignature, ihdr(9, 9, 8, 6), repeat("\x00\x00\x00\x00teXt....")),
		"png texts":           cat(pngSignature, ihdr(9, 9, 8, 6), repeat(string(chunk("iTXt", "XML:com.adobe.xmp\x00\x01\x00", strings.Repeat("n", 200))))),
		"png bombs":           cat(pngSignature, ihdr(9, 9, 8, 6), bytes.Repeat(chunk("iTXt", "XML:com.adobe.xmp\x00\x01\x00\x00\x00", deflate(strings.Repeat("a", 8<<20))), 400)),
		"gif blocks":          cat("GIF89a\x01\x00\x01\x00\x00\x00\x00!\x01", repeat("\x01x")),
		"gif frames":          cat("GIF89a\x01\x00\x01\x00\x00\x00\x00", repeat(string(gifFrame(0, 0, 1, 1)))),
		"webp chunks":         riff(repeat("ABCD\x00\x00\x00\x00")),
		"tiff tables":         tiffTables(size),
		"tiff xmp":            tiffOverlap(size),
		"heif boxes":          cat(isobox("ftyp", "heic", uint32(0)), repeat("\x00\x00\x00\x08free")),
		"heif extents":        heifExtents(size),
		"heif same xmp":       heifSameXMP(size),
		"heif properties":     heifFile("heic", true, []heifPart{{typ: "hvc1"}}, repeat("\x00\x00\x00\x08free"), nil),
		"jxl parts":           jxlFile(repeat("\x00\x00\x00\x0cjxlp\x00\x00\x00\x00")),
		"jxl boxes":           jxlFile(repeat("\x00\x00\x00\x08free")),
		"jxl channels":        jxlStream("1 00000 001 0 0 0 00 0 11 000000000000" + strings.Repeat(" 0 00 0 00 00 11 1111111111", 9) + strings.Repeat(strings.Repeat("1", 1<<10), 600)),
		"jxl xmp":             jxlFile(repeat("\x00\x00\x00\x08xml ")),
		"heif many exif refs": heifFile("heic", true, []heifPart{{typ: "hvc1"}}, nil, repeat("\x00\x00\x00\x10auxl\x00\x01\x00\x02\x00\x01\x00\x01")),
	} {
		t.Run(name, func(t *testing.T) {
			c := &counting{r: bytes.NewReader(file)}
			start := time.Now()
			h, err := Probe(c, int64(len(file)))
			if took := time.Since(start); took > 5*time.Second { // well below 0.1 s on an idle machine without -race
				t.Errorf("took %v", took)
			}
			if c.n > 20*int64(len(file)) {
				t.Errorf("read %d bytes of a file of %d", c.n, len(file))
			}
			t.Logf("%d bytes, %d read, %v: %+v, %v", len(file), c.n, time.Since(start), h, err)
		})
	}
}

// tiffTables has directories that begin one entry apart, and so overlap.
func tiffTables(size int) []byte {
	b := bytes.Repeat([]byte{0xFF, 0x00}, size/2)
	copy(b, "II*\x00\x08\x00\x00\x00")
	for at := 8; at+2+255*12+4 < size; at += 12 {
		le.PutUint16(b[at:], 255)
		le.PutUint32(b[at+2+255*12:], uint32(at+12))
	}
	copy(b[10:], "\x00\x01\x03\x00\x01\x00\x00\x00\x01\x00") // a width and a height of one
	copy(b[22:], "\x01\x01\x03\x00\x01\x00\x00\x00\x01\x00")
	return b
}

// tiffOverlap has many XMP fields that are all the whole file.
func tiffOverlap(size int) []byte {
	dir := []field{short(le, tagWidth, 1), short(le, tagHeight, 1)}
	for range 60_000 {
		dir = append(dir, field{tagXMP, 1, uint32(size - 8), []byte{8, 0, 0, 0}})
	}
	return append(tiffFile(le, dir), make([]byte, size)...)
}

// heifExtents says of many items, for a few bytes each, that they have 65,535
// extents without any bytes to tell where.
func heifExtents(size int) []byte {
	items := heifFile("heic", true, []heifPart{{typ: "hvc1", props: []int{1}}, {typ: "Exif"}}, ispe(1, 1), nil)
	at := bytes.Index(items, []byte("iloc"))
	meta := bytes.Index(items, []byte("meta"))
	record := []byte{0, 2, 0, 0, 0, 0, 0xFF, 0xFF}
	iloc := fullbox("iloc", 1, 0, 0, 0, uint16(0xFFFF), bytes.Repeat(record, size/len(record)))
	file := cat(items[:at-4], iloc)
	be.PutUint32(file[meta-4:], uint32(len(file)-meta+4))
	return file
}

// heifSameXMP has many XMP items that are all the whole file.
func heifSameXMP(size int) []byte {
	parts := []heifPart{{typ: "hvc1", props: []int{1}, data: make([]byte, size)}}
	for range 2000 {
		parts = append(parts, heifPart{typ: "mime", mime: "application/rdf+xml"})
	}
	return heifFile("heic", true, parts, ispe(1, 1), nil)
}
