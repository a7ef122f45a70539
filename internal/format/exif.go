package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// DirectoryKind says what a TIFF directory is for.
type DirectoryKind uint8

// The kinds of directory (TIFF 6.0 §2, Exif 3.0 §4.6.3).
const (
	MainDirectory DirectoryKind = iota // a picture of the file's chain; in Exif, the picture and its thumbnail
	SubDirectory                       // another version of a picture (TIFF technical note 1)
	ExifDirectory
	GPSDirectory
)

// Entry is one field of a directory.
type Entry struct {
	Tag, Type uint16
	Count     uint64 // elements, as the file claims
	Value     Extent // where the value's bytes are, inside the entry or elsewhere; empty where they can't be in the file
	Pointer   bool   // the value lies outside the entry
}

// Directory is one table of fields of a TIFF structure. It is valid during
// the call that it is handed to.
type Directory struct {
	Kind    DirectoryKind
	Index   int    // among directories of this kind, in the order of the walk
	Table   Extent // the count, the entries, and the link to the next directory
	First   int64  // where the entries begin
	Stride  int64  // bytes an entry: 12, or 20 in BigTIFF
	Order   binary.ByteOrder
	Entries []Entry
	w       *window
}

// Tags that are followed or looked at (TIFF 6.0, Exif 3.0, XMP part 3 §3.3).
const (
	tagWidth        = 0x0100
	tagHeight       = 0x0101
	tagBits         = 0x0102
	tagPhotometric  = 0x0106
	tagOrientation  = 0x0112
	tagSamples      = 0x0115
	tagTileWidth    = 0x0142
	tagTileHeight   = 0x0143
	tagSubIFDs      = 0x014A
	tagXMP          = 0x02BC
	tagIPTC         = 0x83BB
	tagPhotoshop    = 0x8649
	tagExif         = 0x8769
	tagICC          = 0x8773
	TagGPS          = 0x8825 // the pointer to the GPS directory
	maxDirectories  = 100_000
	maxSubs         = 64 // sub-directories followed from one directory
	maxDirectoryNum = 65_535
)

// errNotTIFF is what WalkTIFF says of anything else.
var errNotTIFF = errors.New("no TIFF structure")

// WalkTIFF visits the directories of a TIFF or BigTIFF structure: each of the
// main chain, followed by what hangs on it. Every directory is visited once,
// so loops end; tables that overlap are read until as many bytes as the
// structure has were read, and at most 100,000 directories are. What can't be
// read is left out without an error.
//
// Errors: a plain one where the header is no TIFF header; visit's, which ends
// the walk; r's.
func WalkTIFF(r io.ReaderAt, size int64, visit func(*Directory) error) error {
	t := &tiffWalk{w: newWindow(r, size), visit: visit, seen: map[int64]bool{}, budget: size + windowBytes}
	next, ok := t.header()
	if !ok && t.w.err == nil {
		return errNotTIFF
	}
	for ok && len(t.seen) < maxDirectories {
		var err error
		if next, ok, err = t.directory(next, MainDirectory, 0); err != nil {
			return err
		}
	}
	if t.w.err != nil {
		return fmt.Errorf("reading directories: %w", t.w.err)
	}
	return nil
}

type tiffWalk struct {
	w       *window
	order   binary.ByteOrder
	big     bool
	visit   func(*Directory) error
	seen    map[int64]bool
	count   [GPSDirectory + 1]int
	budget  int64 // bytes of tables that may still be read
	entries []Entry
}

// header reads the first 8 bytes (TIFF 6.0 §2), or 16 of BigTIFF.
func (t *tiffWalk) header() (first int64, ok bool) {
	b, ok := t.w.bytes(0, 8)
	if !ok {
		return 0, false
	}
	switch string(b[:2]) {
	case "II":
		t.order = le
	case "MM":
		t.order = be
	default:
		return 0, false
	}
	switch t.order.Uint16(b[2:]) {
	case 42:
		return int64(t.order.Uint32(b[4:])), true
	case 43:
		t.big = true
		if t.order.Uint16(b[4:]) != 8 {
			return 0, false
		}
		b, ok = t.w.bytes(8, 8)
		if !ok {
			return 0, false
		}
		return int64(t.order.Uint64(b)), true
	}
	return 0, false
}

// layout is the size of a directory's count, entries and link.
func (t *tiffWalk) layout() (count, stride, link int64) {
	if t.big {
		return 8, 20, 8
	}
	return 2, 12, 4
}

// table finds out how many entries a directory has; fewer than it claims
// where the data end before.
func (t *tiffWalk) table(off int64) (entries int64, ok bool) {
	count, stride, _ := t.layout()
	b, ok := t.w.bytes(off, int(count))
	if off < 8 || !ok || t.seen[off] {
		return 0, false
	}
	n := uint64(t.order.Uint16(b))
	if t.big {
		n = t.order.Uint64(b)
	}
	if n > maxDirectoryNum || int64(n)*stride > maxBuffer {
		return 0, false
	}
	return min(int64(n), (t.w.size-off-count)/stride), true
}

// directory reads one directory, has it visited, and goes into those that it
// points to. depth counts how many it hangs under.
func (t *tiffWalk) directory(off int64, kind DirectoryKind, depth int) (next int64, ok bool, err error) {
	n, ok := t.table(off)
	count, stride, link := t.layout()
	if t.budget -= count + n*stride; !ok || t.budget < 0 || len(t.seen) >= maxDirectories {
		return 0, false, nil
	}
	t.seen[off] = true
	d := Directory{Kind: kind, Index: t.count[kind], First: off + count, Stride: stride, Order: t.order, w: t.w}
	t.count[kind]++
	d.Table = Extent{off, min(count+n*stride+link, t.w.size-off)}
	if !t.parse(&d, int(n)) {
		return 0, false, nil
	}
	type child struct {
		at   int64
		kind DirectoryKind
	}
	var children []child
	for _, e := range d.Entries {
		sub, is := pointers[e.Tag]
		for i := 0; is && depth < 2 && i < int(min(e.Count, maxSubs)); i++ {
			at, ok := d.uint(e, i)
			if !ok || len(children) >= 2*maxSubs {
				break
			}
			children = append(children, child{int64(at), sub})
		}
	}
	if b, ok := t.w.bytes(d.First+n*stride, int(link)); ok && t.big {
		next = int64(t.order.Uint64(b))
	} else if ok {
		next = int64(t.order.Uint32(b))
	}
	if err := t.visit(&d); err != nil {
		return 0, false, err
	}
	for _, c := range children { // d.Entries is overwritten from here on
		if _, _, err := t.directory(c.at, c.kind, depth+1); err != nil {
			return 0, false, err
		}
	}
	return next, next > 0, nil
}

var pointers = map[uint16]DirectoryKind{tagSubIFDs: SubDirectory, tagExif: ExifDirectory, TagGPS: GPSDirectory}

// parse fills in the entries (TIFF 6.0 §2, "IFD Entry").
func (t *tiffWalk) parse(d *Directory, n int) bool {
	b, ok := t.w.bytes(d.First, n*int(d.Stride))
	if !ok {
		return false
	}
	t.entries = t.entries[:0]
	for i := range n {
		f := b[i*int(d.Stride):]
		e := Entry{Tag: t.order.Uint16(f), Type: t.order.Uint16(f[2:])}
		inline := Extent{d.First + int64(i)*d.Stride + 8, 4}
		at := int64(t.order.Uint32(f[8:]))
		e.Count = uint64(t.order.Uint32(f[4:]))
		if t.big {
			inline = Extent{inline.Offset + 4, 8}
			e.Count, at = t.order.Uint64(f[4:]), int64(t.order.Uint64(f[12:]))
		}
		width := typeBytes(e.Type)
		if e.Count <= uint64(t.w.size) && width > 0 {
			e.Value = Extent{inline.Offset, int64(e.Count) * width}
			if e.Value.Length > inline.Length {
				e.Pointer, e.Value.Offset = true, at
			}
			if at < 0 && e.Pointer || e.Value.Offset > t.w.size-e.Value.Length {
				e.Value = Extent{}
			}
		}
		t.entries = append(t.entries, e)
	}
	d.Entries = t.entries
	return true
}

// typeBytes is the size of one element of a field type (TIFF 6.0 §2, TIFF
// technical note 1, BigTIFF, Exif 3.0 §4.6.2); 0 for an unknown one.
func typeBytes(typ uint16) int64 {
	switch typ {
	case 1, 2, 6, 7, 129:
		return 1
	case 3, 8:
		return 2
	case 4, 9, 11, 13:
		return 4
	case 5, 10, 12, 16, 17, 18:
		return 8
	}
	return 0
}

type exifFacts struct {
	orientation int // 0 where there is none
	location    bool
}

// readExif reads what the header wants of an Exif structure. A broken one has
// nothing to say, and is no error.
func readExif(r io.ReaderAt, size int64) (f exifFacts) {
	_ = WalkTIFF(r, size, func(d *Directory) error {
		if d.Kind == MainDirectory && d.Index == 0 {
			f.orientation = d.orientation()
		}
		f.location = f.location || d.pointsToGPS()
		return nil
	})
	return f
}
