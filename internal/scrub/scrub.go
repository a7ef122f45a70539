// Package scrub takes the location out of a picture file without decoding or
// re-encoding it, and without moving a byte: it plans overwrites of the same
// length, and reads a file through them. The file stays whole and valid, its
// picture, orientation, profile and all other metadata as they were.
//
// What goes: the GPS directories of Exif and their values; XMP packets that
// hold GPS properties or names of places, whole; IPTC datasets that name
// places; PNG text chunks that carry any of these. What stays: the maker's
// note (its layout is each maker's secret; some hold coordinates too), what is
// written in titles and captions, and what a picture shows. Videos that some
// telephones append to a JPEG are not looked into either.
package scrub

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"

	"safelight/internal/fault"
	"safelight/internal/format"
)

// MaxPatchBytes is how much one plan may overwrite and hold in memory,
// including patchCost for each patch.
const MaxPatchBytes = 8 << 20

// patchCost is what a patch takes in memory beside its bytes, roughly.
const patchCost = 64

// Patch is bytes to put in the place of as many others from Offset on.
type Patch struct {
	Offset int64
	Bytes  []byte
}

// Plan finds the overwrites that take the location out of the size bytes of r,
// a file of format f: sorted by offset, not overlapping, not empty, within the
// file. They are nil where the file holds no location. The patched file was
// read again before Plan returns: it has no location, and the same header.
//
// Errors: those of format.Probe; fault.Unprocessable where the plan would be
// larger than MaxPatchBytes, or a file is contrived so that its location can't
// be taken out without harm to the rest; r's own.
func Plan(r io.ReaderAt, size int64, f format.Format) ([]Patch, error) {
	p := &planner{r: r, size: size, format: f}
	before, err := format.Walk(r, size, f, p.block)
	if err != nil {
		return nil, err
	}
	patches := merge(p.patches)
	if len(patches) == 0 {
		return nil, nil
	}
	left := false
	after, err := format.Walk(NewReader(r, size, patches), size, f, func(b format.Block) error {
		left = left || b.Location || b.Place
		return nil
	})
	if err != nil && fault.As(err) == nil {
		return nil, err
	}
	before.Location = false
	if err != nil || left || after != before {
		return nil, fault.New(fault.Unprocessable, "the location in this file cannot be taken out without changing the picture")
	}
	return patches, nil
}

// planner gathers patches during one walk over a file.
type planner struct {
	r       io.ReaderAt
	size    int64
	format  format.Format
	patches []Patch // in the order of their making; a later one wins where they overlap
	cost    int
}

// block plans for one block of metadata.
func (p *planner) block(b format.Block) error {
	switch {
	case b.Kind == format.PhotoshopBlock || b.Kind == format.IPTCBlock:
		return format.WalkPlaces(b.Data.Reader(p.r), b.Data.Len(), b.Kind, func(v format.Extent) error {
			return p.fill(b.Data, v, ' ')
		})
	case !b.Location && !b.Place:
		return nil
	case b.Kind == format.ExifBlock:
		return p.exif(b)
	case b.Kind == format.TextBlock:
		return p.retire(b.Record)
	case b.Kind == format.XMPBlock:
		return p.emptyPacket(b.Data)
	}
	// The continuation of a JPEG's XMP. The packet before it names it by its
	// digest, so that readers see that it is gone (XMP part 3 §1.1.3.1).
	return p.fill(b.Data, format.Extent{Length: b.Data.Len()}, ' ')
}

// overwrite plans bytes at an offset of a sequence of extents.
func (p *planner) overwrite(in format.Extents, off int64, with []byte) error {
	for _, e := range in.Slice(off, int64(len(with))) {
		if p.cost += int(e.Length) + patchCost; p.cost > MaxPatchBytes {
			return tooMuch()
		}
		p.patches = append(p.patches, Patch{e.Offset, with[:e.Length:e.Length]})
		with = with[e.Length:]
	}
	return nil
}

// fill plans for a part of a sequence to become one byte over and over.
func (p *planner) fill(in format.Extents, part format.Extent, with byte) error {
	if part.Length > MaxPatchBytes {
		return tooMuch()
	}
	return p.overwrite(in, part.Offset, bytes.Repeat([]byte{with}, int(part.Length)))
}

func tooMuch() error {
	return fault.New(fault.Unprocessable, "the metadata that hold a location take more than %d bytes", MaxPatchBytes)
}

// merge joins patches that overlap or touch, and sorts them.
func merge(patches []Patch) []Patch {
	order := make([]int, len(patches))
	for i := range order {
		order[i] = i
	}
	end := func(p Patch) int64 { return p.Offset + int64(len(p.Bytes)) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(patches[a].Offset, patches[b].Offset) })
	var out []Patch
	for len(order) > 0 {
		start, stop, n := patches[order[0]].Offset, end(patches[order[0]]), 1
		for n < len(order) && patches[order[n]].Offset <= stop {
			stop = max(stop, end(patches[order[n]]))
			n++
		}
		group := order[:n]
		slices.Sort(group) // as they were made
		whole := make([]byte, stop-start)
		for _, i := range group {
			copy(whole[patches[i].Offset-start:], patches[i].Bytes)
		}
		if len(whole) > 0 {
			out = append(out, Patch{start, whole})
		}
		order = order[n:]
	}
	return out
}

// read gives a part of a sequence's bytes. Its length is bounded by the caller.
func (p *planner) read(in format.Extents, part format.Extent) ([]byte, error) {
	b := make([]byte, part.Length)
	if n, err := in.Reader(p.r).ReadAt(b, part.Offset); n < len(b) {
		return nil, fmt.Errorf("reading metadata: %w", err)
	}
	return b, nil
}
