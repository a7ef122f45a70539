package scrub

import (
	"cmp"
	"slices"

	"safelight/internal/format"
)

// maxValueBytes is above every GPS value that means something (Exif 3.0
// §4.6.7: the longest are texts). A longer one is no value but a lie about
// where one lies, and is left alone: nothing points to it any more.
const maxValueBytes = 64 << 10

// An entry that says what is true without it (TIFF 6.0 §8, "ResolutionUnit":
// inches), for directories which would be left with none at all.
const (
	tagResolutionUnit = 0x0128
	typeShort         = 3
	inches            = 2
)

// exifPlan is what a walk over a TIFF structure found out.
type exifPlan struct {
	tables  []format.Extent // of directories that stay
	zeros   []format.Extent // GPS directories and their values
	rewrite []rewrite
}

// rewrite is a directory's table with its pointer to GPS taken out.
type rewrite struct {
	at    int64
	table []byte
}

// exif takes the GPS directories out of a TIFF structure. Their tables and
// values become zeros, and the entry that points to them is taken out of its
// directory for good: the entries behind it move up, the count is one less,
// and zeros fill the end of the table. A pointer that is left in place with a
// count or an offset of zero would have the same length too, but readers
// complain of it; nothing in the format depends on where an entry lies.
func (p *planner) exif(b format.Block) error {
	var plan exifPlan
	err := format.WalkTIFF(b.Data.Reader(p.r), b.Data.Len(), func(d *format.Directory) error {
		if d.Kind == format.GPSDirectory {
			plan.gps(d)
			return nil
		}
		plan.tables = append(plan.tables, d.Table)
		return p.unlink(b.Data, d, &plan)
	})
	if err != nil {
		return err
	}
	mark := len(p.patches)
	plan.tables = append(plan.tables, format.Extent{Length: 16}) // the header, of BigTIFF too
	used := union(plan.tables)
	for _, z := range plan.zeros {
		if touches(used, z) {
			continue // contrived, or a table within a table
		}
		if err := p.fill(b.Data, z, 0); err != nil {
			return err
		}
	}
	for _, w := range plan.rewrite {
		if err := p.overwrite(b.Data, w.at, w.table); err != nil {
			return err
		}
	}
	if p.format == format.PNG {
		return p.checksum(b.Record, p.patches[mark:])
	}
	return nil
}

// gps notes what of a GPS directory becomes zero.
func (plan *exifPlan) gps(d *format.Directory) {
	plan.zeros = append(plan.zeros, d.Table)
	for _, e := range d.Entries {
		if e.Pointer && e.Value.Length > 0 && e.Value.Length <= maxValueBytes {
			plan.zeros = append(plan.zeros, e.Value)
		}
	}
}

// unlink notes a directory's table without its GPS entries, if it has any.
func (p *planner) unlink(in format.Extents, d *format.Directory, plan *exifPlan) error {
	n := 0
	for _, e := range d.Entries {
		if e.Tag == format.TagGPS {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	if p.cost += int(d.Table.Length); p.cost > MaxPatchBytes { // held before it is planned
		return tooMuch()
	}
	table, err := p.read(in, d.Table)
	if err != nil {
		return err
	}
	first, stride := int(d.First-d.Table.Offset), int(d.Stride)
	kept := table[:first:first]
	for i, e := range d.Entries {
		if e.Tag != format.TagGPS {
			kept = append(kept, table[first+i*stride:first+(i+1)*stride]...)
		}
	}
	if len(d.Entries) == n {
		kept, n = append(kept, resolutionUnit(d)...), n-1
	}
	kept = append(kept, table[first+len(d.Entries)*stride:]...)
	kept = append(kept, make([]byte, len(table)-len(kept))...)
	if first == 2 {
		d.Order.PutUint16(kept, d.Order.Uint16(kept)-uint16(n))
	} else {
		d.Order.PutUint64(kept, d.Order.Uint64(kept)-uint64(n))
	}
	plan.rewrite = append(plan.rewrite, rewrite{d.Table.Offset, kept})
	return nil
}

func resolutionUnit(d *format.Directory) []byte {
	b := make([]byte, d.Stride)
	d.Order.PutUint16(b, tagResolutionUnit)
	d.Order.PutUint16(b[2:], typeShort)
	if d.Stride == 12 {
		d.Order.PutUint32(b[4:], 1)
		d.Order.PutUint16(b[8:], inches)
	} else {
		d.Order.PutUint64(b[4:], 1)
		d.Order.PutUint16(b[12:], inches)
	}
	return b
}

// union sorts extents and joins those that overlap.
func union(in []format.Extent) (out []format.Extent) {
	slices.SortFunc(in, func(a, b format.Extent) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, e := range in {
		if n := len(out); n > 0 && e.Offset <= out[n-1].Offset+out[n-1].Length {
			out[n-1].Length = max(out[n-1].Length, e.Offset+e.Length-out[n-1].Offset)
			continue
		}
		out = append(out, e)
	}
	return out
}

// touches tells whether an extent overlaps one of a union.
func touches(used []format.Extent, e format.Extent) bool {
	i, _ := slices.BinarySearchFunc(used, e.Offset, func(u format.Extent, off int64) int {
		return cmp.Compare(u.Offset+u.Length, off+1)
	})
	return i < len(used) && used[i].Offset < e.Offset+e.Length
}
