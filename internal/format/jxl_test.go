package format

import (
	"bytes"
	"strings"
	"testing"

	"safelight/internal/fault"
)

// jxlStream is a codestream with these bits behind its signature, in the order
// in which they are read; spaces count nothing. A number is so written from its
// lowest bit on.
func jxlStream(bits string) []byte {
	out := []byte(jxlCodestream)
	for i, c := range strings.ReplaceAll(bits, " ", "") {
		if i%8 == 0 {
			out = append(out, 0)
		}
		out[len(out)-1] |= byte(c-'0') << (i % 8)
	}
	return append(out, make([]byte, 4)...)
}

// jxlFile is a container with these boxes.
func jxlFile(boxes ...[]byte) []byte {
	return cat(jxlContainer, isobox("ftyp", "jxl ", uint32(0), "jxl "), bytes.Join(boxes, nil))
}

// jxlRare has what few files have: 300 by 200 px, turned; an intrinsic size, a
// preview and an animation; floating point; a spot colour with a name, a
// mosaic's channel and alpha; a profile, and grey.
const jxlRare = "0 00 111000110 000 00 110101001" +
	" 0 1 101 1 1 11111 100" +
	" 1 0 00 111111 000 10 10000000" +
	" 1 00 00 10 101 1" +
	" 1 10 1110 0 01 1000" +
	" 0 01 0000 0 00 00 10 1100 101010101010101010101010 0000000000000000000000000000000000000000000000000000000000000000" +
	" 0 01 1100 0 00 00 00 10 11" +
	" 0 00 0 00 00 00 1" +
	" 1 0 1 10"

func TestJXL(t *testing.T) {
	const usual = " 1"
	rare := jxlStream(jxlRare)
	animation := " 1 00 00 10 101 1"
	// Of a header that is not all as usual: no extra fields, 8 bits, no channels, not XYB.
	const plain = " 0 0 0 00 1"
	for name, c := range map[string]struct {
		file []byte
		want Header
	}{
		"small square":   {jxlStream("1 11000 100" + usual), Header{Width: 32, Height: 32, Bands: 3, BitDepth: 8}},
		"small sides":    {jxlStream("1 00000 000 11111" + usual), Header{Width: 256, Height: 8, Bands: 3, BitDepth: 8}},
		"small 6:5":      {jxlStream("1 10010 010" + usual), Header{Width: 96, Height: 80, Bands: 3, BitDepth: 8}},
		"9 bits":         {jxlStream("0 00 111000110 000 00 110101001" + usual), Header{Width: 300, Height: 200, Bands: 3, BitDepth: 8}},
		"13 bits 4:3":    {jxlStream("0 10 0000000000001 110" + usual), Header{Width: 4097 * 4 / 3, Height: 4097, Bands: 3, BitDepth: 8}},
		"18 bits 3:2":    {jxlStream("0 01 000000000000000001 001" + usual), Header{Width: 131073 * 3 / 2, Height: 131073, Bands: 3, BitDepth: 8}},
		"30 bits 2:1":    {jxlStream("0 11 111111111111111111111111111111 111" + usual), Header{Width: 2 << 30, Height: 1 << 30, Bands: 3, BitDepth: 8}},
		"16:9":           {jxlStream("1 10001 101" + usual), Header{Width: 256, Height: 144, Bands: 3, BitDepth: 8}},
		"5:4":            {jxlStream("1 11000 011" + usual), Header{Width: 40, Height: 32, Bands: 3, BitDepth: 8}},
		"10 bits":        {jxlStream("1 00000 100 0 0 0 10 1 00 0 1"), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 10}},
		"floating point": {jxlStream("1 00000 100 0 0 1 10 1110 0 00 0 1"), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 16}},
		"alpha":          {jxlStream("1 00000 100" + plain + " 10 1 0 1"), Header{Width: 8, Height: 8, Bands: 4, BitDepth: 8, Alpha: true}},
		"grey":           {jxlStream("1 00000 100" + plain + " 00 0 0 0 10"), Header{Width: 8, Height: 8, Bands: 1, BitDepth: 8, Color: Gray}},
		"grey, profile":  {jxlStream("1 00000 100" + plain + " 00 0 0 1 10"), Header{Width: 8, Height: 8, Bands: 1, BitDepth: 8, Color: Gray, ICC: true}},
		// Three channels: a spot colour with a name of 3 letters, a mosaic's, and alpha.
		"channels": {jxlStream("1 00000 100" + plain + " 01 1000" +
			" 0 01 0000 0 00 00 10 1100" + strings.Repeat("10101010", 3) + strings.Repeat("0", 64) +
			" 0 01 1100 0 00 00 00 10 11" +
			" 0 00 0 00 00 00 1" + " 1 1"), Header{Width: 8, Height: 8, Bands: 4, BitDepth: 8, Alpha: true}},
		"turned":     {jxlStream("1 11000 000 00000 0 1 101 0 0 0 0 00 1 00 0 1"), Header{Width: 32, Height: 8, Bands: 3, BitDepth: 8}},
		"upside":     {jxlStream("1 11000 000 00000 0 1 010 0 0 0 0 00 1 00 0 1"), Header{Width: 8, Height: 32, Bands: 3, BitDepth: 8}},
		"intrinsic":  {jxlStream("1 00000 100 0 1 000 1 1 11111 100 0 0 0 10 1 00 0 1"), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 10}},
		"preview":    {jxlStream("1 00000 100 0 1 000 0 1 0 00 111111 000 10 10000000 0 0 10 1 00 0 1"), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 10}},
		"preview/8":  {jxlStream("1 00000 100 0 1 000 0 1 1 01 10000 100 0 0 10 1 00 0 1"), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 10}},
		"animation":  {jxlStream("1 00000 100 0 1 000 0 0" + animation + " 0 10 1 00 0 1"), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 10}},
		"container":  {jxlFile(isobox("jxlc", jxlStream("1 11000 100"+usual))), Header{Width: 32, Height: 32, Bands: 3, BitDepth: 8}},
		"parts":      {jxlFile(isobox("jxlp", uint32(0), rare[:3]), isobox("free", "x"), isobox("jxlp", uint32(1<<31|1), rare[3:])), Header{Width: 200, Height: 300, Bands: 2, BitDepth: 16, Alpha: true, Color: Gray, ICC: true}},
		"gps":        {jxlFile(isobox("Exif", uint32(2), "..", exifBlock(be, 6)), isobox("jxlc", jxlStream("1 00000 100"+usual))), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 8, Location: true}},
		"xmp":        {jxlFile(isobox("xml ", gpsPacket), isobox("jxlc", jxlStream("1 00000 100"+usual))), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 8, Location: true}},
		"packed xmp": {jxlFile(isobox("brob", "xml ...."), isobox("jxlc", jxlStream("1 00000 100"+usual))), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 8, Location: true}},
		"packed":     {jxlFile(isobox("brob", "jumb...."), isobox("jxlc", jxlStream("1 00000 100"+usual))), Header{Width: 8, Height: 8, Bands: 3, BitDepth: 8}},
	} {
		c.want.Format, c.want.Pages, c.want.Orientation = JXL, 1, 1
		c.want.MaxPixels = area(int64(c.want.Width), int64(c.want.Height))
		got, err := probe(c.file)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestJXLCorrupt(t *testing.T) {
	for name, file := range map[string][]byte{
		"nothing":        []byte(jxlCodestream),
		"half a size":    []byte(jxlCodestream + "\x00"),
		"endless names":  jxlStream("1 00000 100 0 0 0 00 1 11 111111111111"),
		"no codestream":  jxlFile(),
		"another stream": jxlFile(isobox("jxlc", "\xff\xd8\xff\xe0........")),
		"short part":     jxlFile(isobox("jxlp", "\x00")),
		"wild box":       jxlFile([]byte("\xff\xff\xff\xffjxlc\xff\x0a\xff\xff")),
	} {
		_, err := probe(file)
		if e := fault.As(err); e == nil || e.Kind != fault.Unprocessable || e.Code != "corrupt-image" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is only written is no source, however good or damaged it is.
func TestProbeSource(t *testing.T) {
	for _, file := range [][]byte{jxlStream("1 00000 100 1"), []byte(jxlCodestream), jxlFile()} {
		_, err := ProbeSource(bytes.NewReader(file), int64(len(file)))
		if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "image/jxl") {
			t.Errorf("%q: %v", file, err)
		}
	}
	good := gifFile(4, 3, gifFrame(0, 0, 4, 3))
	if h, err := ProbeSource(bytes.NewReader(good), int64(len(good))); err != nil || h.Format != GIF {
		t.Errorf("%+v, %v", h, err)
	}
}
