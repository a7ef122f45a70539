package format

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
// is applied; for HEIC and AVIF, whose transformations are part of the file
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
