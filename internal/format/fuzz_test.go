package format

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"safelight/internal/fault"
)

func seeds() [][]byte {
	return [][]byte{
		jpegFile(sof(0xC2, 40, 30, 3), 2, segment(markAPP1, exifSignature, 0, exifBlock(le, 6)), segment(markAPP1, xmpSignature, gpsPacket),
			segment(markAPP13, photoshopSignature, "8BIM\x04\x04\x00\x00\x00\x00\x00\x09\x1c\x02\x5a\x00\x04Nice\x00")),
		pngFile(ihdr(40, 30, 8, 3), chunk("tRNS", 0), chunk("eXIf", exifBlock(be, 8)), chunk("iTXt", "XML:com.adobe.xmp\x00\x01\x00\x00\x00", deflate(gpsPacket)),
			chunk("tEXt", "Raw profile type exif\x00\nexif\n 4\n4949")),
		gifFile(40, 30, cat("!\xff\x0bXMP DataXMP", gpsPacket, gifMagic()), []byte("!\xf9\x04\x01\x00\x00\x00\x00"), gifFrame(0, 0, 40, 30)),
		riff(vp8x(0x3e, 40, 30), anmf(0, 0, 40, 30, vp8(40, 30)), anmf(2, 2, 10, 10, vp8l(10, 10, 1)), riffChunk("EXIF", exifBlock(le, 3))),
		riff(vp8l(3, 2, 1)),
		tiffFile(be, []field{short(be, tagWidth, 3), short(be, tagHeight, 2), {TagGPS, 4, 1, []byte{0, 0, 0, 8}}, {tagSubIFDs, 4, 2, []byte{0, 0, 0, 8, 0, 0, 0, 8}}}, []field{short(be, tagWidth, 300)}),
		heifFile("avif", true, []heifPart{{typ: "grid", props: []int{1, 2}, data: []byte{0, 0, 0, 1, 0, 40, 0, 30}}, {typ: "Exif", data: cat(uint32(0), exifBlock(le, 6))}},
			cat(ispe(40, 30), isobox("irot", 1)), ref("dimg", 1, 2)),
		heifFile("heic", false, []heifPart{{typ: "hvc1", props: []int{1, 2}}, {typ: "mime", mime: "application/rdf+xml", data: []byte(gpsPacket)}},
			cat(ispe(40, 30), isobox("clap", uint32(4), uint32(1), uint32(3), uint32(1))), ref("thmb", 1, 2)),
		jxlStream("10000 10010 1 1"), jxlStream(jxlRare), jxlFile(isobox("jxlc", jxlStream(jxlRare))),
		jxlFile(isobox("Exif", uint32(0), exifBlock(le, 6)), isobox("xml ", gpsPacket), isobox("brob", "Exif.."),
			isobox("jxlp", uint32(0), jxlStream(jxlRare)[:3]), isobox("jxlp", uint32(1<<31|1), jxlStream(jxlRare)[3:])),
	}
}

func FuzzProbe(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		counter := &counting{r: bytes.NewReader(b)}
		start := time.Now()
		h, err := Probe(counter, int64(len(b)))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v for %d bytes", took, len(b))
		}
		if limit := 200*int64(len(b)) + 1<<20; counter.n > limit {
			t.Errorf("read %d bytes of a file of %d", counter.n, len(b))
		}
		if err != nil {
			if k := fault.Of(err); k != fault.Unprocessable && k != fault.Unsupported {
				t.Errorf("%v", err)
			}
			return
		}
		if h.Width < 1 || h.Height < 1 || h.Pages < 1 || h.Orientation < 1 || h.Orientation > 8 || h.Bands < 1 || h.BitDepth < 1 ||
			h.MaxPixels < int64(h.Width)*int64(h.Height) || h.Pixels() < 1 || h.Format != Sniff(b) {
			t.Errorf("%+v", h)
		}
		var location bool
		again, err := Walk(bytes.NewReader(b), int64(len(b)), h.Format, func(x Block) error {
			location = location || x.Location
			for _, e := range append(Extents{x.Record}, x.Data...) {
				if e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > int64(len(b)) {
					return errors.New("a block lies outside of the file")
				}
			}
			return nil
		})
		if err != nil || again != h || location != h.Location {
			t.Errorf("%+v, %v; before %+v", again, err, h)
		}
	})
}

type counting struct {
	r io.ReaderAt
	n int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

func FuzzSniff(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s[:min(len(s), SniffLen)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := Sniff(b)
		if got >= formats || got != Sniff(b[:min(len(b), SniffLen)]) {
			t.Errorf("Sniff(%q) = %v", b, got)
		}
	})
}
