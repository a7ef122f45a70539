package butteraugli

const (
	lanes = 8  // rows have whole vectors of so many columns; those past the width don't count
	pad   = 16 // zeros before and after a row, for filters that look beyond its ends
)

// rows are those of a plane, all of them or the last few.
type rows struct {
	n    int // columns, without the padding
	kept int
	pix  []float32
}

func newRows(w, kept int) rows {
	n := (w + lanes - 1) / lanes * lanes
	return rows{n, kept, make([]float32, kept*(n+2*pad))}
}

// row is where row y belongs.
func (r *rows) row(y int) []float32 { return r.padded(y)[pad : pad+r.n] }

// padded is row y with its padding.
func (r *rows) padded(y int) []float32 {
	stride := r.n + 2*pad
	at := y % r.kept * stride
	return r.pix[at : at+stride : at+stride]
}

// threeRows and the like are one for each component.
func threeRows(w, kept int) [3]rows {
	return [3]rows{newRows(w, kept), newRows(w, kept), newRows(w, kept)}
}

func twoRows(w, kept int) [2]rows { return [2]rows{newRows(w, kept), newRows(w, kept)} }

// splat is one number for every column of a vector.
type splat [lanes]float32

func newSplat(v float32) (s splat) {
	for i := range s {
		s[i] = v
	}
	return s
}
