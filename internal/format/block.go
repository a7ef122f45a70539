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
