// Package format knows picture files from the outside: which format the bytes
// are (by magic number, never by name), and what their header says of size,
// pages, orientation and colour. It is pure Go, decodes no pixels, and reads
// what strangers send, so every length and offset in it is distrusted.
package format

// Format is a picture file format that Safelight reads or writes.
type Format uint8

// The formats. Unknown is the zero value.
const (
	Unknown Format = iota
	JPEG
	PNG
	WebP
	GIF
	AVIF
	HEIC
	TIFF
	JXL
	formats
)

type traits struct {
	name, mime, ext string
	source          bool // an upload may have it
	encode          bool // a rendition may have it
	alpha           bool // can hold transparency
	animation       bool // can hold several frames
}

var table = [formats]traits{
	Unknown: {"unknown", "application/octet-stream", "bin", false, false, false, false},
	JPEG:    {"jpeg", "image/jpeg", "jpg", true, true, false, false},
	PNG:     {"png", "image/png", "png", true, true, true, false},
	WebP:    {"webp", "image/webp", "webp", true, true, true, true},
	GIF:     {"gif", "image/gif", "gif", true, true, true, true},
	AVIF:    {"avif", "image/avif", "avif", true, true, true, false},
	HEIC:    {"heic", "image/heic", "heic", true, false, true, false},
	TIFF:    {"tiff", "image/tiff", "tif", true, false, true, false},
	JXL:     {"jxl", "image/jxl", "jxl", false, true, true, false},
}

func (f Format) traits() traits {
	if f >= formats {
		return table[Unknown]
	}
	return table[f]
}

// String is the format's name in URLs and JSON: "jpeg", "webp" …
func (f Format) String() string { return f.traits().name }

// MIME is the media type to serve the format with.
func (f Format) MIME() string { return f.traits().mime }

// Ext is the usual file name extension, without a dot.
func (f Format) Ext() string { return f.traits().ext }

// Source tells whether files of the format are accepted as sources. One that is
// not may still be that of renditions.
func (f Format) Source() bool { return f.traits().source }

// Encodable tells whether renditions can be made in this format.
func (f Format) Encodable() bool { return f.traits().encode }

// HasAlpha tells whether the format can hold transparency.
func (f Format) HasAlpha() bool { return f.traits().alpha }

// Animates tells whether renditions in this format can hold several frames.
func (f Format) Animates() bool { return f.traits().animation }

// HasQuality tells whether an encoder of the format has a quality setting.
func (f Format) HasQuality() bool { return f == JPEG || f == WebP || f == AVIF || f == JXL }

// Parse finds a format by its name, with "jpg" and "tif" understood too; Unknown where there is none.
func Parse(name string) Format {
	switch name {
	case "jpg":
		return JPEG
	case "tif":
		return TIFF
	case "heif":
		return HEIC
	}
	for f := JPEG; f < formats; f++ {
		if table[f].name == name {
			return f
		}
	}
	return Unknown
}

// All lists the formats that are accepted as sources.
func All() []Format { return those(Format.Source) }

// Outputs lists the formats that renditions can be made in.
func Outputs() []Format { return those(Format.Encodable) }

func those(have func(Format) bool) []Format {
	list := make([]Format, 0, formats-1)
	for f := JPEG; f < formats; f++ {
		if have(f) {
			list = append(list, f)
		}
	}
	return list
}

// MarshalText writes the format's name.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a format's name; an unlisted one becomes Unknown.
func (f *Format) UnmarshalText(b []byte) error {
	*f = Parse(string(b))
	return nil
}

// Color says how a file's samples are to be understood.
type Color uint8

// The colour models that headers tell apart.
const (
	RGB Color = iota
	Gray
	CMYK
	Palette
)

// Header is what the outside of a picture file says, before any decoding.
// Width and Height are stored pixels of one page (frame), before orientation
// is applied; for HEIC, AVIF and JPEG XL, whose transformations are part of the file
// format, they are what a decoder gives, and Orientation is 1.
type Header struct {
	Format        Format `json:"format"`
	Width, Height int    `json:"-"`
	Pages         int    `json:"pages"`       // frames or pages; at least 1
	Orientation   int    `json:"orientation"` // Exif, 1 to 8; 1 where absent or out of range
	Alpha         bool   `json:"alpha"`
	Animated      bool   `json:"animated"` // several frames meant to be played
	Color         Color  `json:"-"`
	Bands         int    `json:"-"` // samples a pixel as decoded: 1 to 5
	BitDepth      int    `json:"-"` // bits a sample: 1 to 64; 8 for palettes
	ICC           bool   `json:"-"` // an embedded colour profile
	Location      bool   `json:"-"` // a GPS directory in Exif, or GPS properties in XMP
	Scans         int    `json:"-"` // JPEG: start-of-scan markers in the file

	// MaxPixels is the largest area, in pixels, that decoding any one page,
	// item or tile of the file may take, or that the file claims; at least
	// Width*Height. A small primary picture can come with a huge other one,
	// so limits on pixels must look here. math.MaxInt64 stands for more.
	MaxPixels int64 `json:"-"`
}

// Upright is the size in pixels after the orientation is applied.
func (h Header) Upright() (widthPx, heightPx int) {
	if h.Orientation >= 5 {
		return h.Height, h.Width
	}
	return h.Width, h.Height
}

// Pixels is the number of decoded pixels in all pages together;
// math.MaxInt64 stands for more.
func (h Header) Pixels() int64 {
	return area(area(int64(h.Width), int64(h.Height)), int64(max(h.Pages, 1)))
}
