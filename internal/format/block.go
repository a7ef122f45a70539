package format

import (
	"bytes"
	"io"
	"strings"
)

// Extent is a run of bytes of a file.
type Extent struct{ Offset, Length int64 }

// Extents is a sequence of bytes that may lie in several places of a file.
// The zero value is empty.
type Extents []Extent

// Len is the number of bytes in all extents together.
func (e Extents) Len() (n int64) {
	for _, x := range e {
		n += x.Length
	}
	return n
}

// Slice is the part of n bytes from off, as extents of the file; shorter where
// the sequence ends before.
func (e Extents) Slice(off, n int64) Extents {
	var part Extents
	for _, x := range e {
		if n <= 0 {
			break
		}
		if off >= x.Length {
			off -= x.Length
			continue
		}
		m := min(x.Length-off, n)
		part = append(part, Extent{x.Offset + off, m})
		off, n = 0, n-m
	}
	return part
}

// Reader reads the sequence from the file that it lies in.
func (e Extents) Reader(r io.ReaderAt) io.ReaderAt {
	if len(e) == 1 {
		return io.NewSectionReader(r, e[0].Offset, e[0].Length)
	}
	return scattered{r, e}
}

type scattered struct {
	r io.ReaderAt
	e Extents
}

func (s scattered) ReadAt(p []byte, off int64) (done int, err error) {
	for _, x := range s.e.Slice(off, int64(len(p))) {
		n, err := s.r.ReadAt(p[done:done+int(x.Length)], x.Offset)
		done += n
		if n < int(x.Length) {
			return done, err
		}
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// BlockKind says how a block of metadata is written.
type BlockKind uint8

// The kinds of block.
const (
	ExifBlock      BlockKind = iota // a TIFF structure (Exif 3.0 §4.6); of a TIFF file, the whole file
	XMPBlock                        // an XMP packet (ISO 16684-1)
	XMPExtension                    // the continuation of a JPEG's XMP (XMP part 3 §1.1.3.1)
	PhotoshopBlock                  // image resources, "8BIM"
	IPTCBlock                       // IPTC-IIM datasets
	TextBlock                       // a PNG text chunk whose text has to be unpacked or is named by its keyword
)

// Block is metadata that can hold a location.
type Block struct {
	Kind   BlockKind
	Data   Extents // what Kind says, without signatures around it
	Record Extent  // PNG: the chunk, from its length to its checksum; otherwise empty

	Location bool // GPS coordinates
	Place    bool // names of places, or text that could not be read to its end
}

// emit reads what the header wants to know of a block, and passes it on. A
// file whose blocks are together larger than itself has the same bytes read
// again and again, and is refused.
func (w *walker) emit(b Block) error {
	if w.meta += b.Data.Len(); w.meta > w.size+windowBytes {
		return corrupt("the %s file's metadata overlap", w.head.Format)
	}
	switch b.Kind {
	case ExifBlock:
		f := readExif(b.Data.Reader(w.window), b.Data.Len())
		if w.head.Orientation == 0 {
			w.head.Orientation = f.orientation
		}
		b.Location = f.location
	case XMPBlock, XMPExtension:
		b.Location, b.Place = searchPlaces(b.Data.Reader(w.window), b.Data.Len())
	case PhotoshopBlock, IPTCBlock:
		if w.visit != nil { // the header doesn't ask
			b.Place = namesPlace(b.Data.Reader(w.window), b.Data.Len(), b.Kind)
		}
	}
	w.head.Location = w.head.Location || b.Location
	if w.visit == nil {
		return nil
	}
	return w.visit(b)
}

// What gives a location away in XMP. GPS: the exif namespace (ISO 16684-1 §8,
// CIPA DC-010), that of drones, and W3C's. Places: Photoshop's and IPTC's
// (Photo Metadata Standard 2023.2).
var (
	gpsWords   = []string{":GPS", ":Gps", "<GPS", "geo:lat", "geo:long"}
	placeWords = []string{
		"photoshop:City", "photoshop:State", "photoshop:Country",
		"Iptc4xmpCore:Location", "Iptc4xmpCore:CountryCode",
		"Iptc4xmpExt:Location", "Iptc4xmpExt:City", "Iptc4xmpExt:Sublocation",
		"Iptc4xmpExt:ProvinceState", "Iptc4xmpExt:Country", "Iptc4xmpExt:WorldRegion",
	}
)

// overlapBytes is more than the longest word, twice over for UTF-16.
const overlapBytes = 64

// searchPlaces looks for the words in n bytes of text, in constant memory.
// NULs are left out, so that UTF-16 and UTF-32 are read too.
func searchPlaces(r io.ReaderAt, n int64) (gps, place bool) {
	buf := make([]byte, min(n, windowBytes))
	for off := int64(0); off < n && !(gps && place); off += windowBytes - overlapBytes {
		got, err := r.ReadAt(buf[:min(int64(len(buf)), n-off)], off)
		text := buf[:max(got, 0)]
		if bytes.IndexByte(text, 0) >= 0 {
			text = bytes.ReplaceAll(text, []byte{0}, nil)
		}
		gps = gps || containsAny(text, gpsWords)
		place = place || containsAny(text, placeWords)
		if err != nil {
			break
		}
	}
	return gps, place
}

func containsAny(text []byte, words []string) bool {
	for _, word := range words {
		if bytes.Contains(text, []byte(word)) {
			return true
		}
	}
	return false
}

// searchText is searchPlaces for text in memory.
func searchText(text []byte) (gps, place bool) {
	return searchPlaces(bytes.NewReader(text), int64(len(text)))
}

// isGPSKeyword tells PNG keywords of writers that put Exif tags in text chunks.
func isGPSKeyword(keyword string) bool {
	return strings.HasPrefix(keyword, "GPS") || strings.Contains(keyword, ":GPS") || keyword == "geo:lat" || keyword == "geo:long"
}

// Photoshop's image resources and IPTC-IIM (IIM 4.2 §1.5).
const (
	resourceSignature = "8BIM"
	resourceIPTC      = 0x0404
	iptcTag           = 0x1C
	iptcRecord        = 2 // application record
)

// isPlace tells the datasets that name a place: content location code and
// name, city, sublocation, province, country code and country.
func isPlace(dataset byte) bool {
	switch dataset {
	case 26, 27, 90, 92, 95, 100, 101:
		return true
	}
	return false
}

// WalkPlaces hands visit the position of every value that names a place in
// the IPTC datasets of a block: a PhotoshopBlock's or an IPTCBlock's. Values
// are within the size bytes of r, in order, and not mere spaces. It stops where
// the data stop making sense.
//
// Errors: visit's, which ends the walk; r's.
func WalkPlaces(r io.ReaderAt, size int64, kind BlockKind, visit func(value Extent) error) error {
	w := newWindow(r, size)
	var err error
	if kind == PhotoshopBlock {
		err = w.resources(size, visit)
	} else {
		err = w.datasets(0, size, visit)
	}
	if err == nil {
		err = w.err
	}
	return err
}

// resources finds the datasets among image resources.
func (w *window) resources(size int64, visit func(value Extent) error) error {
	c := cursor{w: w, end: size}
	for c.left() >= 12 {
		if string(c.take(4)) != resourceSignature {
			return nil
		}
		id := c.u16()
		c.take(c.u8() | 1) // a name with its length, padded to be even
		n := c.u32()
		if c.bad || n > c.left() {
			return nil
		}
		if id == resourceIPTC {
			if err := w.datasets(c.pos, c.pos+n, visit); err != nil {
				return err
			}
		}
		c.pos = min(c.pos+n+n&1, c.end)
	}
	return nil
}

func (w *window) datasets(pos, end int64, visit func(Extent) error) error {
	c := cursor{w: w, pos: pos, end: end}
	for c.left() >= 5 {
		if c.u8() != iptcTag {
			return nil
		}
		record, dataset, n := c.u8(), byte(c.u8()), int64(c.u16())
		if n >= 0x8000 { // extended: that many bytes of length follow
			if n &= 0x7FFF; n > 8 {
				return nil
			}
			n = int64(c.uint(int(n)))
		}
		if c.bad || n < 0 || n > c.left() {
			return nil
		}
		if record == iptcRecord && isPlace(dataset) && !w.blank(c.pos, c.pos+n) {
			if err := visit(Extent{c.pos, n}); err != nil {
				return err
			}
		}
		c.pos += n
	}
	return nil
}

// blank tells whether a part of the file is spaces only.
func (w *window) blank(pos, end int64) bool {
	for pos < end {
		b := w.some(pos)
		b = b[:min(int64(len(b)), end-pos)]
		if len(b) == 0 || len(bytes.Trim(b, " ")) > 0 {
			return false
		}
		pos += int64(len(b))
	}
	return true
}

// namesPlace tells whether WalkPlaces finds anything.
func namesPlace(r io.ReaderAt, size int64, kind BlockKind) (found bool) {
	_ = WalkPlaces(r, size, kind, func(Extent) error {
		found = true
		return io.EOF
	})
	return found
}
