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
	formats
)

type traits struct {
	name, mime, ext string
	encode          bool // a rendition may have it
	alpha           bool // can hold transparency
	animation       bool // can hold several frames
}

var table = [formats]traits{
	Unknown: {"unknown", "application/octet-stream", "bin", false, false, false},
	JPEG:    {"jpeg", "image/jpeg", "jpg", true, false, false},
	PNG:     {"png", "image/png", "png", true, true, false},
	WebP:    {"webp", "image/webp", "webp", true, true, true},
	GIF:     {"gif", "image/gif", "gif", true, true, true},
	AVIF:    {"avif", "image/avif", "avif", true, true, false},
	HEIC:    {"heic", "image/heic", "heic", false, true, false},
	TIFF:    {"tiff", "image/tiff", "tif", false, true, false},
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

// Encodable tells whether renditions can be made in this format.
func (f Format) Encodable() bool { return f.traits().encode }

// HasAlpha tells whether the format can hold transparency.
func (f Format) HasAlpha() bool { return f.traits().alpha }

// Animates tells whether renditions in this format can hold several frames.
func (f Format) Animates() bool { return f.traits().animation }

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
func All() []Format {
	all := make([]Format, 0, formats-1)
	for f := JPEG; f < formats; f++ {
		all = append(all, f)
	}
	return all
}

// MarshalText writes the format's name.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads a format's name; an unlisted one becomes Unknown.
func (f *Format) UnmarshalText(b []byte) error {
	*f = Parse(string(b))
	return nil
}
