package format

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"

	"safelight/internal/fault"
)

// SniffLen is how many leading bytes Sniff looks at. Fewer will do for every
// format but HEIC and AVIF, whose list of brands may be long.
const SniffLen = 128

// Sniff tells the format by magic number from a file's first bytes (SniffLen
// of them where the file has so many); Unknown for everything that is not on
// the list, however well libvips might read it.
func Sniff(head []byte) Format {
	head = head[:min(len(head), SniffLen)]
	has := func(magic string) bool { return len(head) >= len(magic) && string(head[:len(magic)]) == magic }
	switch {
	case has("\xff\xd8\xff"):
		return JPEG
	case has(pngSignature):
		return PNG
	case has("RIFF") && len(head) >= 12 && string(head[8:12]) == "WEBP":
		return WebP
	case has("GIF87a"), has("GIF89a"):
		return GIF
	case has("II*\x00"), has("MM\x00*"), has("II+\x00\x08\x00\x00\x00"), has("MM\x00+\x00\x08\x00\x00"):
		return TIFF
	case has(jxlCodestream), has(jxlContainer):
		return JXL
	case len(head) >= 16 && string(head[4:8]) == "ftyp":
		return sniffBrands(head)
	}
	return Unknown
}

// sniffBrands reads a file type box (ISO/IEC 14496-12 §4.3): the major brand
// decides where it names a codec, the compatible ones where it doesn't.
func sniffBrands(head []byte) Format {
	end := min(int64(be.Uint32(head)), int64(len(head)))
	if end < 16 {
		return Unknown
	}
	if f := brands[string(head[8:12])]; f != Unknown {
		return f
	}
	structural := isStructural(head[8:12])
	found := Unknown
	for at := int64(16); at+4 <= end; at += 4 {
		brand := head[at : at+4]
		switch f := brands[string(brand)]; {
		case f == AVIF:
			return AVIF
		case f == HEIC:
			found = HEIC
		}
		structural = structural || isStructural(brand)
	}
	if found == Unknown && structural {
		return HEIC
	}
	return found
}

var brands = map[string]Format{
	"avif": AVIF, "avis": AVIF,
	"heic": HEIC, "heix": HEIC, "heim": HEIC, "heis": HEIC, "hevc": HEIC, "hevx": HEIC,
}

// isStructural tells the brands that promise HEIF's structure (ISO/IEC 23008-12 §10) but no codec.
func isStructural(brand []byte) bool { return string(brand) == "mif1" || string(brand) == "msf1" }

// Probe reads a file's header. It decodes nothing, needs a small constant
// amount of memory, and looks at each byte of the file a small number of times
// at most; what r holds beyond size is not looked at.
//
// Errors: fault.Unsupported for a format that is not listed;
// fault.Unprocessable (code "corrupt-image") for a listed one whose structure
// is broken so far that no size can be told or that it contradicts itself;
// r's own error, wrapped, where reading fails.
//
// A file that ends early still has a header: whether its pixels can be read
// is for a decoder to say.
func Probe(r io.ReaderAt, size int64) (Header, error) {
	return probeIf(func(Format) bool { return true }, r, size)
}

// ProbeSource is Probe for files from strangers: formats that are only written
// are fault.Unsupported too, and not looked into.
func ProbeSource(r io.ReaderAt, size int64) (Header, error) { return probeIf(Format.Source, r, size) }

func probeIf(may func(Format) bool, r io.ReaderAt, size int64) (Header, error) {
	w := newWindow(r, size)
	head, _ := w.bytes(0, int(min(w.size, SniffLen)))
	if w.err != nil {
		return Header{}, fmt.Errorf("reading picture header: %w", w.err)
	}
	f := Sniff(head)
	if !may(f) {
		return Header{}, unsupported(f)
	}
	return walk(w, f, nil)
}

// Walk reads a file of format f as Probe does, and hands every block of
// metadata that can hold a location to visit, in the order in which it is
// met. An error from visit ends the walk and is returned.
func Walk(r io.ReaderAt, size int64, f Format, visit func(Block) error) (Header, error) {
	return walk(newWindow(r, size), f, visit)
}

// walker is one pass over one file.
type walker struct {
	*window
	head  Header
	visit func(Block) error
	meta  int64 // bytes of metadata that were read so far
}

func walk(win *window, f Format, visit func(Block) error) (Header, error) {
	w := &walker{window: win, visit: visit, head: Header{Format: f, Pages: 1, BitDepth: 8}}
	var err error
	switch f {
	case JPEG:
		err = w.jpeg()
	case PNG:
		err = w.png()
	case GIF:
		err = w.gif()
	case WebP:
		err = w.webp()
	case TIFF:
		err = w.tiff()
	case AVIF, HEIC:
		err = w.heif()
	case JXL:
		err = w.jxl()
	default:
		return Header{}, unsupported(f)
	}
	if w.err != nil { // rather than "corrupt", which it may only look like
		return Header{}, fmt.Errorf("reading picture header: %w", w.err)
	}
	if err != nil {
		return Header{}, err
	}
	if w.head.Width < 1 || w.head.Height < 1 {
		return Header{}, corrupt("the %s header gives no picture size", f)
	}
	w.head.Orientation = max(w.head.Orientation, 1)
	w.head.MaxPixels = max(w.head.MaxPixels, area(int64(w.head.Width), int64(w.head.Height)))
	return w.head, nil
}

// corrupt is the error for a listed format whose header makes no sense.
func corrupt(message string, args ...any) error {
	e := fault.New(fault.Unprocessable, message, args...)
	e.Code = "corrupt-image"
	return e
}

func unsupported(f Format) error {
	names := make([]string, 0, formats)
	for _, f := range All() {
		names = append(names, f.String())
	}
	accepted := strings.Join(names, ", ")
	if f != Unknown {
		return fault.New(fault.Unsupported, "%s is a format of renditions only; accepted are %s", f.MIME(), accepted)
	}
	return fault.New(fault.Unsupported, "this is not a picture format that is accepted; accepted are %s", accepted)
}

// area multiplies sides without overflowing.
func area(w, h int64) int64 {
	if w <= 0 || h <= 0 {
		return 0
	}
	if w > math.MaxInt64/h {
		return math.MaxInt64
	}
	return w * h
}

// grow keeps the largest area met.
func (w *walker) grow(width, height int64) {
	w.head.MaxPixels = max(w.head.MaxPixels, area(width, height))
}

func hasPrefix(b []byte, prefix string) bool { return bytes.HasPrefix(b, []byte(prefix)) }
