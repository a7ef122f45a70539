package jpeg

// levels are the quantised coefficients of one component, of which most are 0:
// the means, and what there is of each block's other coefficients.
type levels struct {
	mean  []int16
	from  []int32 // the first in entry of each block, and one more
	entry []entry
}

// entry is one coefficient that is not 0.
type entry struct {
	at    uint8 // 1 … 63, in zigzag order
	value int16
}

// reset makes ready for n blocks.
func (l *levels) reset(n int) {
	if cap(l.mean) < n {
		l.mean, l.from = make([]int16, n), make([]int32, 0, n+1)
	}
	l.mean, l.from, l.entry = l.mean[:n], append(l.from[:0], 0), l.entry[:0]
}

// block is what there is of block b.
func (l *levels) block(b int) []entry { return l.entry[l.from[b]:l.from[b+1]] }
