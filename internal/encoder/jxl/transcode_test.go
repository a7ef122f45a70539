package jxl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"image"
	"image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"safelight/internal/fault"
)

func encoded(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// marked puts marker segments behind SOI.
func marked(source []byte, segments ...[]byte) []byte {
	out := slices.Clone(source[:2])
	for _, s := range segments {
		out = append(binary.BigEndian.AppendUint16(append(out, 0xff, s[0]), uint16(len(s)+1)), s[1:]...)
	}
	return append(out, source[2:]...)
}

func segment(marker byte, parts ...string) []byte {
	return append([]byte{marker}, strings.Join(parts, "")...)
}

var (
	exif    = segment(0xe1, "Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00")
	xmp     = segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
	icc     = segment(0xe2, "ICC_PROFILE\x00\x01\x01", string(profile()))
	comment = segment(0xfe, "a comment, äöü")
	app13   = segment(0xed, "Photoshop 3.0\x008BIM", strings.Repeat("\x00\xff", 300))
)

// profile is a small ICC profile (ICC.1:2022 §8.3): sRGB's primaries, gamma 2.2.
func profile() []byte {
	be := binary.BigEndian.AppendUint32
	number := func(v float64) uint32 { return uint32(int32(math.Round(v * 65536))) }
	xyz := func(x, y, z float64) []byte {
		return be(be(be(append([]byte("XYZ "), 0, 0, 0, 0), number(x)), number(y)), number(z))
	}
	curve := append([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"), 2, 51, 0, 0)
	text := append([]byte("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0cenUS\x00\x00\x00\x02\x00\x00\x00\x1c\x00t"), 0, 0)
	var table, data []byte
	tags := []struct {
		name  string
		value []byte
	}{
		{"desc", text}, {"cprt", text}, {"wtpt", xyz(0.9642, 1, 0.8249)}, {"rXYZ", xyz(0.4361, 0.2225, 0.0139)},
		{"gXYZ", xyz(0.3851, 0.7169, 0.0971)}, {"bXYZ", xyz(0.1431, 0.0606, 0.7139)},
		{"rTRC", curve}, {"gTRC", curve}, {"bTRC", curve},
	}
	table = be(table, uint32(len(tags)))
	for _, tag := range tags {
		table = be(be(append(table, tag.name...), uint32(128+4+12*len(tags)+len(data))), uint32(len(tag.value)))
		data = append(data, tag.value...)
	}
	header := make([]byte, 128)
	binary.BigEndian.PutUint32(header, uint32(128+len(table)+len(data)))
	copy(header[8:], "\x04\x30\x00\x00mntrRGB XYZ ")
	copy(header[36:], "acsp")
	copy(header[68:], xyz(0.9642, 1, 0.8249)[8:])
	return slices.Concat(header, table, data)
}

// restore turns a JPEG into JPEG XL and back, and gives the sizes' ratio.
func restore(source []byte, effort int) (ratio float64, err error) {
	var file, back bytes.Buffer
	if err := lib.TranscodeJPEG(&file, source, effort); err != nil {
		return 0, err
	}
	err = lib.RestoreJPEG(&back, file.Bytes(), Limits{})
	if err == nil && !bytes.Equal(back.Bytes(), source) {
		err = errors.New("the restored bytes differ")
	}
	return float64(file.Len()) / float64(len(source)), err
}

func TestTranscode(t *testing.T) {
	plain := encoded(t, scene(333, 251))
	large := encoded(t, scene(1500, 1100))
	p := ppm(pixels(scene(401, 299)))
	for name, source := range map[string][]byte{
		"one pixel": encoded(t, scene(1, 1)), "go": plain, "large": large, "noise": encoded(t, noisy(2000, 1200)),
		"baseline 4:4:4":      tool(t, p, "cjpeg", "-quality", "90", "-sample", "1x1"),
		"baseline 4:2:0":      tool(t, p, "cjpeg", "-quality", "80", "-sample", "2x2"),
		"baseline 4:2:2":      tool(t, p, "cjpeg", "-quality", "80", "-sample", "2x1"),
		"progressive":         tool(t, p, "cjpeg", "-progressive", "-quality", "75"),
		"progressive gray":    tool(t, p, "cjpeg", "-progressive", "-grayscale"),
		"restart markers":     tool(t, p, "cjpeg", "-restart", "1"),
		"exif":                marked(plain, exif),
		"exif, xmp, icc":      marked(plain, exif, xmp, icc),
		"application markers": marked(plain, app13, comment, segment(0xef, "x")),
		"trailing bytes":      append(slices.Clone(plain), bytes.Repeat([]byte("tail "), 100)...),
		"second file behind":  append(slices.Clone(plain), plain...),
	} {
		for _, effort := range []int{1, 7} {
			ratio, err := restore(source, effort)
			if err != nil {
				t.Errorf("%s, effort %d: %v", name, effort, err)
				continue
			}
			t.Logf("%s, effort %d: %d bytes, ratio %.3f", name, effort, len(source), ratio)
			if name == "large" && ratio > 0.95 {
				t.Errorf("%s: not smaller: %.3f", name, ratio)
			}
		}
	}
}

// noisy is a picture that JPEG makes larger than the library's first guess.
func noisy(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32()) | 3
	}
	return m
}

// What can't be carried over is refused, or told from the JPEG by its bytes: a
// file is never taken for restorable that isn't.
func TestNotReversible(t *testing.T) {
	plain := encoded(t, scene(300, 200))
	for name, source := range map[string][]byte{
		"empty": nil, "text": []byte("this is no picture at all"), "start only": plain[:2], "header only": plain[:300],
		"truncated": plain[:len(plain)/2], "no end": plain[:len(plain)-2], "a PNG": []byte("\x89PNG\r\n\x1a\n0000IHDR"),
		"a table that nothing uses": encoded(t, image.NewGray(image.Rect(0, 0, 64, 48))), // Go's encoder writes one
		"a profile that is none":    marked(plain, segment(0xe2, "ICC_PROFILE\x00\x01\x01", strings.Repeat("not a profile", 50))),
		"12 bits":                   bytes.Replace(plain, []byte{0xff, 0xc0, 0, 17, 8}, []byte{0xff, 0xc0, 0, 17, 12}, 1),
		"lossless":                  bytes.Replace(plain, []byte{0xff, 0xc0, 0, 17}, []byte{0xff, 0xc3, 0, 17}, 1),
	} {
		var file bytes.Buffer
		err := lib.TranscodeJPEG(&file, source, 5)
		if fault.Of(err) != fault.Unprocessable || fault.As(err).Code != CodeNotReversible {
			t.Errorf("%s: %v, %d bytes", name, err, file.Len())
		}
	}
	for _, effort := range []int{-1, 0, 10} {
		if err := lib.TranscodeJPEG(io.Discard, plain, effort); fault.Of(err) != fault.Invalid {
			t.Error(effort, err)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	plain := encoded(t, scene(300, 200))
	var file bytes.Buffer
	if err := lib.TranscodeJPEG(&file, plain, 5); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	// A codestream of a 512 × 256 picture without any JPEG: signature and size header.
	bare := []byte{0xff, 0x0a, 0x7f, 0x00}
	for name, c := range map[string]struct {
		file   []byte
		limits Limits
		kind   fault.Kind
		code   string
	}{
		"empty": {nil, Limits{}, fault.Unprocessable, CodeDamaged}, "a JPEG": {plain, Limits{}, fault.Unprocessable, CodeDamaged},
		"signature only": {whole[:12], Limits{}, fault.Unprocessable, CodeDamaged},
		"truncated":      {whole[:len(whole)/2], Limits{}, fault.Unprocessable, CodeDamaged},
		"a byte short":   {whole[:len(whole)-1], Limits{}, fault.Unprocessable, CodeDamaged},
		"bare":           {bare, Limits{}, fault.Unprocessable, CodeDamaged},
		"pixels":         {whole, Limits{Pixels: 300*200 - 1}, fault.TooLarge, CodePixels},
		"bytes":          {whole, Limits{Bytes: int64(len(plain) - 1)}, fault.TooLarge, ""},
	} {
		err := lib.RestoreJPEG(io.Discard, c.file, c.limits)
		if fault.Of(err) != c.kind || fault.As(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	var back bytes.Buffer
	if err := lib.RestoreJPEG(&back, whole, Limits{Pixels: 300 * 200, Bytes: int64(len(plain))}); err != nil || !bytes.Equal(back.Bytes(), plain) {
		t.Error("at the limits:", err)
	}
	if err := lib.RestoreJPEG(failing{}, whole, Limits{}); !errors.Is(err, errFailing) {
		t.Error(err)
	}
	if err := lib.TranscodeJPEG(failing{}, plain, 3); !errors.Is(err, errFailing) {
		t.Error(err)
	}
}

type failing struct{}

var errFailing = errors.New("no room")

func (failing) Write([]byte) (int, error) { return 0, errFailing }

func TestLibrary(t *testing.T) {
	if v := lib.Version(); !strings.Contains(v, ".") || v == "0.0.0" {
		t.Error(v)
	}
	if _, err := Open("libjxl-none.so"); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "libjxl0.7") {
		t.Error(err)
	}
	if _, err := Open("libm.so.6"); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "no symbol") {
		t.Error(err)
	}
}

// Whatever comes in, nothing crashes, and what is said to be restorable is.
func FuzzTranscode(f *testing.F) {
	plain := encoded(f, scene(40, 30))
	for _, s := range [][]byte{plain, marked(plain, exif, icc, comment), plain[:len(plain)/2], append(slices.Clone(plain), "tail"...)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if c, err := jpeg.DecodeConfig(bytes.NewReader(source)); err == nil && c.Width*c.Height > 1e6 {
			t.Skip("takes long")
		}
		_, _ = restore(source, 3)
	})
}

func FuzzRestore(f *testing.F) {
	for _, m := range []image.Image{scene(40, 30), noisy(9, 9)} {
		var file bytes.Buffer
		if err := lib.TranscodeJPEG(&file, marked(encoded(f, m), exif), 3); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes())
		f.Add(file.Bytes()[:file.Len()*3/4])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		_ = lib.RestoreJPEG(io.Discard, file, Limits{Pixels: 1 << 20, Bytes: 4 << 20})
	})
}

// Thousands of damaged files, the same ones each time.
func TestDamagedFiles(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 100
	}
	var file bytes.Buffer
	source := marked(encoded(t, scene(64, 48)), exif, icc)
	if err := lib.TranscodeJPEG(&file, source, 3); err != nil {
		t.Fatal(err)
	}
	h := fnv.New64a()
	h.Write(source)
	r := rand.New(rand.NewPCG(h.Sum64(), 7))
	for range n {
		for _, whole := range [][]byte{source, file.Bytes()} {
			bad := slices.Clone(whole)
			for range 1 + r.IntN(4) {
				bad[r.IntN(len(bad))] = byte(r.Uint32())
			}
			if r.IntN(4) == 0 {
				bad = bad[:r.IntN(len(bad))]
			}
			_ = lib.RestoreJPEG(io.Discard, bad, Limits{Pixels: 1 << 20, Bytes: 4 << 20})
			_ = lib.TranscodeJPEG(io.Discard, bad, 1)
		}
	}
}
