package format

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"safelight/internal/fault"
)

func probe(b []byte) (Header, error) { return Probe(bytes.NewReader(b), int64(len(b))) }

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		head string
		want Format
	}{
		{"", Unknown}, {"\xff\xd8", Unknown}, {"\xff\xd8\xff\xe0", JPEG}, {"\x89PNG\r\n\x1a\n", PNG}, {"\x89PNG\r\n\x1a", Unknown},
		{"RIFF\x00\x00\x00\x00WEBP", WebP}, {"RIFF\x00\x00\x00\x00WAVE", Unknown}, {"GIF87a", GIF}, {"GIF89a", GIF}, {"GIF88a", Unknown},
		{"II*\x00", TIFF}, {"MM\x00*", TIFF}, {"II+\x00\x08\x00\x00\x00", TIFF}, {"MM\x00+\x00\x08\x00\x00", TIFF}, {"MM*\x00", Unknown},
		{"\x00\x00\x00\x10ftypavif\x00\x00\x00\x00", AVIF}, {"\x00\x00\x00\x10ftypavis\x00\x00\x00\x00", AVIF},
		{"\x00\x00\x00\x10ftypheic\x00\x00\x00\x00", HEIC}, {"\x00\x00\x00\x14ftypheix\x00\x00\x00\x00avif", HEIC},
		{"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00avif", AVIF}, {"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00heicavif", AVIF},
		{"\x00\x00\x00\x10ftypmif1\x00\x00\x00\x00avif", HEIC}, {"\x00\x00\x00\x10ftypmsf1\x00\x00\x00\x00", HEIC},
		{"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp41", Unknown}, {"\x00\x00\x00\x18ftypMiHE\x00\x00\x00\x00mif1heic", HEIC},
		{"\x00\x00\x00\x08ftypavif\x00\x00\x00\x00", Unknown},
		{"<svg xmlns=", Unknown}, {"%PDF-1.7", Unknown}, {"BM\x00\x00", Unknown}, {"8BPS", Unknown}, {"\xff\x0a", JXL}, {"\xff\x0b", Unknown}, {jxlContainer, JXL}, {jxlContainer[:11], Unknown}, {"PK\x03\x04", Unknown},
	} {
		if got := Sniff([]byte(c.head)); got != c.want {
			t.Errorf("Sniff(%q) = %v; want %v", c.head, got, c.want)
		}
	}
}

const gpsPacket = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description exif:GPSLatitude="48,51.5N"/></x:xmpmeta>`

func deflate(s string) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.Bytes()
}

func TestProbe(t *testing.T) {
	exifLE, exifBE := exifBlock(le, 6), exifBlock(be, 8)
	rgb := []field{short(le, tagWidth, 30), short(le, tagHeight, 20), {tagBits, 3, 3, []byte{8, 0, 8, 0, 8, 0}}, short(le, tagPhotometric, rgbSamples), short(le, tagSamples, 3)}
	big := cat("MM\x00+\x00\x08\x00\x00", make([]byte, 7), 16, make([]byte, 7), 2,
		uint16(tagWidth), uint16(4), make([]byte, 7), 1, uint32(7), uint32(0),
		uint16(tagHeight), uint16(16), make([]byte, 7), 1, make([]byte, 7), 9, make([]byte, 8))
	alphaAux := fullbox("auxC", 0, 0, "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\x00")
	props := cat(ispe(40, 30), isobox("irot", 1), ispe(5000, 4000), alphaAux, fullbox("pixi", 0, 0, 3, 10, 10, 10), isobox("colr", "prof...."))
	parts := []heifPart{{typ: "av01", props: []int{1, 0x82, 5, 6}}, {typ: "av01", props: []int{3}}, {typ: "av01", props: []int{1, 4}},
		{typ: "av01", hidden: true, props: []int{1}}, {typ: "Exif", data: cat(uint32(6), exifSignature, 0, exifLE)}}
	grid := []heifPart{{typ: "grid", data: []byte{0, 0, 0, 1, 0, 80, 0, 30}}, {typ: "hvc1", props: []int{1}}}
	for name, c := range map[string]struct {
		file []byte
		want Header
	}{
		"jpeg":           {jpegFile(sof(0xC0, 40, 30, 3), 1), Header{Format: JPEG, Width: 40, Height: 30, Bands: 3, BitDepth: 8, Scans: 1}},
		"jpeg cmyk":      {jpegFile(sof(0xC2, 40, 30, 4), 3, segment(markAPP2, iccSignature, 1, 1)), Header{Format: JPEG, Width: 40, Height: 30, Bands: 4, BitDepth: 8, Scans: 3, Color: CMYK, ICC: true}},
		"jpeg exif":      {jpegFile(sof(0xC1, 40, 30, 1), 1, segment(markAPP1, exifSignature, 0, exifLE)), Header{Format: JPEG, Width: 40, Height: 30, Bands: 1, BitDepth: 8, Scans: 1, Color: Gray, Orientation: 6, Location: true}},
		"jpeg xmp":       {jpegFile(sof(0xC3, 40, 30, 1), 1, segment(markAPP1, xmpSignature, gpsPacket)), Header{Format: JPEG, Width: 40, Height: 30, Bands: 1, BitDepth: 8, Scans: 1, Color: Gray, Location: true}},
		"jpeg trailer":   {cat(jpegFile(sof(0xC0, 40, 30, 3), 1), "rest\xff\xda\x00\x04"), Header{Format: JPEG, Width: 40, Height: 30, Bands: 3, BitDepth: 8, Scans: 1}},
		"jpeg second":    {cat(jpegFile(sof(0xC0, 40, 30, 3), 1), jpegFile(sof(0xC0, 90, 90, 1), 5, segment(markAPP1, exifSignature, 0, exifLE))), Header{Format: JPEG, Width: 40, Height: 30, Bands: 3, BitDepth: 8, Scans: 1, Orientation: 6, Location: true}},
		"png":            {pngFile(ihdr(40, 30, 8, 6)), Header{Format: PNG, Width: 40, Height: 30, Bands: 4, BitDepth: 8, Alpha: true}},
		"png palette":    {pngFile(ihdr(40, 30, 2, 3), chunk("tRNS", 0), chunk("iCCP", "p"), chunk("acTL", uint32(9), uint32(0))), Header{Format: PNG, Width: 40, Height: 30, Bands: 4, BitDepth: 8, Alpha: true, Color: Palette, ICC: true}},
		"png exif":       {pngFile(ihdr(40, 30, 16, 0), chunk("eXIf", exifBE)), Header{Format: PNG, Width: 40, Height: 30, Bands: 1, BitDepth: 16, Color: Gray, Orientation: 8, Location: true}},
		"png xmp":        {pngFile(ihdr(40, 30, 16, 2), chunk("iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00", gpsPacket)), Header{Format: PNG, Width: 40, Height: 30, Bands: 3, BitDepth: 16, Location: true}},
		"png packed xmp": {pngFile(ihdr(40, 30, 16, 2), chunk("iTXt", "XML:com.adobe.xmp\x00\x01\x00\x00\x00", deflate(gpsPacket))), Header{Format: PNG, Width: 40, Height: 30, Bands: 3, BitDepth: 16, Location: true}},
		"png raw":        {pngFile(ihdr(1, 1, 1, 0), chunk("zTXt", "Raw profile type xmp\x00\x00", deflate("\nxmp\n 9\n3a47\n5053"))), Header{Format: PNG, Width: 1, Height: 1, Bands: 1, BitDepth: 1, Color: Gray, Location: true}},
		"gif":            {gifFile(40, 30, gifFrame(0, 0, 40, 30)), Header{Format: GIF, Width: 40, Height: 30, Bands: 3, BitDepth: 8, Color: Palette}},
		"gif animated":   {gifFile(40, 30, gifFrame(0, 0, 50, 30), []byte("!\xf9\x04\x01\x00\x00\x00\x00"), gifFrame(0, 0, 90, 90)), Header{Format: GIF, Width: 50, Height: 30, Pages: 2, Bands: 4, BitDepth: 8, Color: Palette, Alpha: true, Animated: true, MaxPixels: 8100}},
		"gif screen":     {gifFile(640, 480, gifFrame(1, 2, 9, 8)), Header{Format: GIF, Width: 10, Height: 10, Bands: 3, BitDepth: 8, Color: Palette, MaxPixels: 640 * 480}},
		"gif xmp":        {gifFile(4, 3, cat("!\xff\x0bXMP DataXMP", gpsPacket, gifMagic()), gifFrame(0, 0, 4, 3)), Header{Format: GIF, Width: 4, Height: 3, Bands: 3, BitDepth: 8, Color: Palette, Location: true}},
		"webp lossy":     {riff(vp8(40, 30)), Header{Format: WebP, Width: 40, Height: 30, Bands: 3, BitDepth: 8}},
		"webp lossless":  {riff(vp8l(40, 30, 1)), Header{Format: WebP, Width: 40, Height: 30, Bands: 4, BitDepth: 8, Alpha: true}},
		"webp extended":  {riff(vp8x(0x2c, 40, 30), riffChunk("ICCP", "p"), vp8(40, 30), riffChunk("EXIF", exifSignature, 0, exifLE), riffChunk("XMP ", "none")), Header{Format: WebP, Width: 40, Height: 30, Bands: 3, BitDepth: 8, ICC: true, Orientation: 6, Location: true}},
		"webp animated":  {riff(vp8x(0x02, 40, 30), anmf(0, 0, 40, 30, vp8(40, 30)), anmf(2, 2, 10, 10, vp8l(10, 10, 0))), Header{Format: WebP, Width: 40, Height: 30, Pages: 2, Bands: 4, BitDepth: 8, Alpha: true, Animated: true}},
		"tiff":           {tiffFile(le, rgb), Header{Format: TIFF, Width: 30, Height: 20, Bands: 3, BitDepth: 8}},
		"tiff pages":     {tiffFile(be, []field{short(be, tagWidth, 3), short(be, tagHeight, 2), short(be, tagOrientation, 5), short(be, tagSamples, 2), {tagICC, 7, 9, make([]byte, 9)}}, []field{short(be, tagWidth, 300), short(be, tagHeight, 20)}), Header{Format: TIFF, Width: 3, Height: 2, Pages: 2, Bands: 2, BitDepth: 1, Color: Gray, Alpha: true, Orientation: 5, ICC: true, MaxPixels: 6000}},
		"tiff gps":       {cat(tiffFile(le, append(bytes2(rgb), field{TagGPS, 4, 1, []byte{8, 0, 0, 0}}))), Header{Format: TIFF, Width: 30, Height: 20, Bands: 3, BitDepth: 8, Location: true}},
		"tiff xmp":       {tiffFile(le, append(bytes2(rgb), field{tagXMP, 1, uint32(len(gpsPacket)), []byte(gpsPacket)})), Header{Format: TIFF, Width: 30, Height: 20, Bands: 3, BitDepth: 8, Location: true}},
		"bigtiff":        {big, Header{Format: TIFF, Width: 7, Height: 9, Bands: 1, BitDepth: 1, Color: Gray}},
		"avif":           {heifFile("avif", false, parts, props, cat(ref("auxl", 3, 1))), Header{Format: AVIF, Width: 30, Height: 40, Pages: 2, Bands: 4, BitDepth: 10, Alpha: true, ICC: true, Location: true, MaxPixels: 20_000_000}},
		"avif idat":      {heifFile("avif", true, parts, props, cat(ref("thmb", 2, 1))), Header{Format: AVIF, Width: 30, Height: 40, Pages: 2, Bands: 3, BitDepth: 10, ICC: true, Location: true, MaxPixels: 20_000_000}},
		"heic grid":      {heifFile("heic", true, grid, ispe(40, 30), cat(ref("dimg", 1, 2))), Header{Format: HEIC, Width: 80, Height: 30, Pages: 2, Bands: 3, BitDepth: 8}},
		"heic xmp":       {heifFile("heic", false, []heifPart{{typ: "hvc1", props: []int{1}}, {typ: "mime", mime: "application/rdf+xml", data: []byte(gpsPacket)}}, ispe(40, 30), nil), Header{Format: HEIC, Width: 40, Height: 30, Bands: 3, BitDepth: 8, Location: true}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Pages, c.want.Orientation = max(c.want.Pages, 1), max(c.want.Orientation, 1)
			c.want.MaxPixels = max(c.want.MaxPixels, int64(c.want.Width*c.want.Height))
			if got, err := probe(c.file); err != nil || got != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
			for n := range c.file { // cut off anywhere: never a panic, never another kind of error
				if _, err := probe(c.file[:n]); err != nil && fault.Of(err) != fault.Unprocessable && fault.Of(err) != fault.Unsupported {
					t.Fatalf("cut to %d bytes: %v", n, err)
				}
			}
		})
	}
}

func bytes2(f []field) []field { return append([]field(nil), f...) }

// gifMagic is the trailer of XMP in GIF (XMP part 3 §1.1.2).
func gifMagic() []byte {
	b := []byte{1}
	for i := 255; i >= 0; i-- {
		b = append(b, byte(i))
	}
	return append(b, 0)
}

func TestProbeCorrupt(t *testing.T) {
	square := []field{short(le, tagWidth, 3), short(le, tagHeight, 3)}
	badCRC := pngFile(ihdr(40, 30, 8, 6))
	badCRC[30] ^= 1
	for name, file := range map[string][]byte{
		"jpeg height 0":     jpegFile(sof(0xC0, 40, 0, 3), 1),
		"jpeg no frame":     jpegFile(nil, 1),
		"jpeg components":   jpegFile(segment(0xC0, 8, 0, 1, 0, 1, 3, 0), 1),
		"jpeg overrun":      []byte("\xff\xd8\xff\xe0\x40\x00"),
		"png crc":           badCRC,
		"png depth":         pngFile(ihdr(40, 30, 4, 6)),
		"png width":         pngFile(ihdr(0, 30, 8, 6)),
		"png too wide":      pngFile(ihdr(1<<31, 30, 8, 6)),
		"png no data":       cat(pngSignature, ihdr(4, 3, 8, 6), chunk("IEND")),
		"gif empty":         gifFile(40, 30),
		"gif zero canvas":   gifFile(0, 0),
		"webp overrun":      riff([]byte("VP8 \xff\x00\x00\x00")),
		"webp canvas":       riff(vp8x(0, 1<<24, 1<<24), vp8(4, 3)),
		"webp mismatch":     riff(vp8x(0, 40, 30), vp8(4, 3)),
		"webp frame":        riff(vp8x(2, 40, 30), anmf(38, 0, 10, 10, vp8(10, 10))),
		"webp frame size":   riff(vp8x(2, 40, 30), anmf(0, 0, 10, 10, vp8(16383, 16383))),
		"webp nothing":      riff(vp8x(2, 40, 30)),
		"tiff no directory": []byte("II*\x00\xff\x00\x00\x00"),
		"tiff no size":      tiffFile(le, square[:1]),
		"tiff too wide":     tiffFile(le, append([]field{{tagWidth, 4, 1, []byte("\xff\xff\xff\xff")}}, square[1])),
		"tiff samples":      tiffFile(le, append(square[:2:2], short(le, tagSamples, 0))),
		"heic no meta":      isobox("ftyp", "heic", uint32(0)),
		"heic no primary":   heifFile("heic", true, []heifPart{{typ: "Exif"}}, nil, nil),
		"heic no size":      heifFile("heic", true, []heifPart{{typ: "hvc1"}}, nil, nil),
		"heic clap":         heifFile("heic", true, []heifPart{{typ: "hvc1", props: []int{1, 2}}}, cat(ispe(4, 3), isobox("clap", uint32(5), uint32(1), uint32(3), uint32(1))), nil),
		"heic grid lies":    heifFile("heic", true, []heifPart{{typ: "grid", props: []int{1}, data: []byte{0, 0, 0, 1, 0, 80, 0, 30}}}, ispe(4, 3), nil),
	} {
		_, err := probe(file)
		if e := fault.As(err); e == nil || e.Kind != fault.Unprocessable || e.Code != "corrupt-image" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := probe([]byte("%PDF-1.7")); fault.Of(err) != fault.Unsupported {
		t.Errorf("unlisted: %v", err)
	}
}

func TestTIFFLoop(t *testing.T) {
	b := tiffFile(le, []field{short(le, tagWidth, 3), short(le, tagHeight, 3)}, []field{short(le, tagWidth, 3), short(le, tagHeight, 3)})
	b[len(b)-4] = 8 // the second's next is the first
	if h, err := probe(b); err != nil || h.Pages != 2 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestReadFailure(t *testing.T) {
	broken := errors.New("disk on fire")
	r := struct{ io.ReaderAt }{readerAtFunc(func(p []byte, off int64) (int, error) { return iotest.ErrReader(broken).Read(p) })}
	if _, err := Probe(r, 100); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type readerAtFunc func([]byte, int64) (int, error)

func (f readerAtFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestHeader(t *testing.T) {
	h := Header{Width: math.MaxInt32, Height: math.MaxInt32, Pages: 100, Orientation: 6}
	if h.Pixels() != math.MaxInt64 {
		t.Errorf("Pixels overflowed to %d", h.Pixels())
	}
	if w, hgt := (Header{Width: 4, Height: 3, Orientation: 6}).Upright(); w != 3 || hgt != 4 {
		t.Errorf("upright %d x %d", w, hgt)
	}
}

func TestNames(t *testing.T) {
	for f := JPEG; f < formats; f++ {
		var g Format
		text, _ := f.MarshalText()
		if err := g.UnmarshalText(text); err != nil || g != f || f.MIME() == "" || f.Ext() == "" {
			t.Errorf("%v: %v %v", f, g, err)
		}
	}
	if Parse("jpg") != JPEG || Parse("tif") != TIFF || Parse("heif") != HEIC || Parse("svg") != Unknown || Format(99).String() != "unknown" {
		t.Error("names are not as documented")
	}
	if len(All()) != 7 || slices.Contains(All(), JXL) || len(Outputs()) != 6 || !slices.Contains(Outputs(), JXL) || slices.Contains(Outputs(), HEIC) {
		t.Errorf("accepted are %v, made %v", All(), Outputs())
	}
}

func BenchmarkProbeJPEG(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 5<<20) // as a photograph's data: a stuffed zero every 256 bytes or so
	for i := range noise {
		if noise[i] = byte(random.Uint32()); i > 0 && noise[i-1] == 0xFF {
			noise[i] = 0
		}
	}
	file := jpegFile(sof(0xC0, 4000, 3000, 3), 1, segment(markAPP1, exifSignature, 0, exifBlock(le, 6)))
	file = cat(file[:len(file)-2], noise, 0, "\xff\xd9")
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := probe(file); err != nil {
			b.Fatal(err)
		}
	}
}
