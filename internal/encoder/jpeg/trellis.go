package jpeg

import "math/bits"

const (
	maxLevel = 1023 // of a coefficient that is not the mean (F.1.2.2)
	sizes    = 16   // room for a size of 0 … 10
	worth    = 42   // bits that leaving out one level can't exceed: two codes of 16, and 10
)

// rates are the bits that coefficients cost, as one scan of them all without
// successive approximation would have it.
type rates struct {
	cost  [64 * sizes]float32 // by the zeros before, and the size
	end   float32             // of a block that ends before its last coefficient
	empty float32             // of a block without any
}

// quantise sets the levels of every component, twice: what bits cost is known
// once there are levels.
func (p *Picture) quantise(v *parameters) {
	for i := range p.components {
		c, t, w := &p.components[i], &p.table[i], p.weight
		bit := float32(v.Bit)
		if i > 0 {
			w, bit = p.chroma, float32(v.Bit*v.BitChroma)
		}
		r := &p.rates
		r.guess()
		c.choose(t, r, w, bit, sampled(c.down))
		r.measure(&c.levels)
		c.choose(t, r, w, bit, 1)
		p.chooseMeans(i, w, bit*float32(v.BitMean))
	}
}

// sampled is of how many rows of blocks one is looked at where costs are only to
// be known about: some ten are enough.
func sampled(rows int) int { return max(1, rows/10) }

// choose sets the levels of every so manieth row of blocks.
func (c *component) choose(t *table, r *rates, weight []float32, bit float32, every int) {
	l := &c.levels
	l.reset(c.across * c.down)
	var s search
	for by := 0; by < c.down; by += every {
		for b := by * c.across; b < (by+1)*c.across; b++ {
			x := (*[64]float32)(c.coefficients[64*b:])
			l.entry = s.block(l.entry, x, t, r, bit/weight[b])
			l.from = append(l.from, int32(len(l.entry)))
		}
	}
}

// search is the trellis of one block: a state for each coefficient that may be
// other than 0, in zigzag order, after the state 0 of none.
type search struct {
	at    [64]uint8
	level [64]int16   // the one chosen
	prior [64]uint8   // the state before
	cost  [64]float32 // up to here, against a block that is all 0
	keep  [64]bool    // larger than any bits are worth
}

// block appends what quantises best to out: the levels whose sum of squared
// errors, in steps, and bits times price is least. Levels are the nearest one,
// or the one below where that is of a smaller size; or 0.
func (s *search) block(out []entry, x *[64]float32, t *table, r *rates, price float32) []entry {
	n := 0
	for k := 1; k < 64; k++ {
		if abs(x[k]) > t.least[k] {
			n++
			s.at[n&63] = uint8(k)
		}
	}
	if n == 0 {
		return out
	}
	best, last := price*r.empty, 0
	for i := 1; i <= n; i++ {
		k := s.at[i&63] & 63
		s.reach(i, abs(x[k])*t.inverse[k], t.matter[k], r, price)
		cost := s.cost[i&63]
		if k < 63 {
			cost += price * r.end
		}
		if cost < best || s.keep[i&63] {
			best, last = cost, i
		}
	}
	return s.trace(out, x, last)
}

// reach finds the best way to state i, whose coefficient is a steps.
func (s *search) reach(i int, a, matter float32, r *rates, price float32) {
	i &= 63
	high := min(int(a+0.5), maxLevel)
	size := bits.Len(uint(high))
	s.cost[i] = 1e30
	gain := s.from(i, high, size, a, matter, r, price)
	if low := high - 1; low > 0 && low&high == 0 {
		s.from(i, low, size-1, a, matter, r, price)
	}
	s.keep[i] = -gain > worth*price
}

// from tries the states before i for one level; it returns what the level
// changes in the error.
func (s *search) from(i, level, size int, a, matter float32, r *rates, price float32) float32 {
	v := float32(level)
	gain := matter * v * (v - 2*a)
	least, prior := float32(1e30), 0
	at := int(s.at[i]) - 1
	for j := i - 1; ; j-- {
		cost := s.cost[j&63] + price*r.cost[((at-int(s.at[j&63]))*sizes+size)&(64*sizes-1)]
		if cost < least {
			least, prior = cost, j
		}
		if j == 0 || s.keep[j&63] {
			break
		}
	}
	if least += gain; least < s.cost[i] {
		s.cost[i], s.level[i], s.prior[i] = least, int16(level), uint8(prior)
	}
	return gain
}

// trace appends the levels on the way to state last.
func (s *search) trace(out []entry, x *[64]float32, last int) []entry {
	n := 0
	for i := last; i != 0; i = int(s.prior[i&63]) {
		n++
	}
	at := len(out) + n
	for range n {
		out = append(out, entry{})
	}
	for i := last; i != 0; i = int(s.prior[i&63]) {
		at--
		e := entry{at: s.at[i&63], value: s.level[i&63]}
		if x[e.at&63] < 0 {
			e.value = -e.value
		}
		out[at] = e
	}
	return out
}

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
