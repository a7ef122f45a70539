package jpeg

import (
	"math"
	"slices"
)

// other marks a token that goes by the scan's second Huffman table: chroma's.
const other token = 1 << 30

// tokeniseMeans gives the tokens of an interleaved scan of every component's
// means (G.1.2.1), of which the bits from low up are sent, or with refine the
// bit low alone.
func (p *Picture) tokeniseMeans(out []token, low uint, refine bool) []token {
	var before [3]int
	p.eachUnit(func(c, block int) {
		table := token(0)
		if c > 0 {
			table = other
		}
		value := before[c]
		if block >= 0 {
			value = int(p.components[c].levels.mean[block]) >> low
		}
		if refine {
			out = append(out, bare|symbol(0, 1, value))
			return
		}
		difference := value - before[c]
		before[c] = value
		n := size(difference)
		if difference < 0 {
			difference--
		}
		out = append(out, table|symbol(n, n, difference))
	})
	return out
}

// chooseMeans sets the means of one component: of the two levels about each
// the ones whose sum of squared errors and bits times price is least, in the
// order of the scan, where only the difference to the one before is sent.
func (p *Picture) chooseMeans(i int, weight []float32, bit float32) {
	c, inverse := &p.components[i], p.table[i].inverse[0]
	l := &c.levels
	order := p.order(i)
	cost := p.meanCosts(i, order, inverse)
	p.ways = slices.Grow(p.ways[:0], len(order))[:len(order)]
	var before [2]int
	var total [2]float32
	for n, b := range order {
		x := c.coefficients[64*b] * inverse
		low := int(math.Floor(float64(x)))
		price := bit / weight[b] / p.table[i].matter[0]
		var reached [2]float32
		for k := range reached {
			e := x - float32(low+k)
			stay := total[0] + price*cost[size(low+k-before[0])&15]
			move := total[1] + price*cost[size(low+k-before[1])&15]
			p.ways[n][k] = 0
			if move < stay {
				stay = move
				p.ways[n][k] = 1
			}
			reached[k] = stay + e*e
		}
		before = [2]int{low, low + 1}
		total = reached
	}
	k := uint8(0)
	if total[1] < total[0] {
		k = 1
	}
	for n := len(order) - 1; n >= 0; n-- {
		b := order[n]
		x := c.coefficients[64*b] * inverse
		l.mean[b] = int16(math.Floor(float64(x))) + int16(k)
		k = p.ways[n][k]
	}
}

// meanCosts are the bits of each size of difference between rounded means.
func (p *Picture) meanCosts(i int, order []int32, inverse float32) (cost [16]float32) {
	var count [16]float64
	c, before := &p.components[i], 0
	for _, b := range order {
		v := int(math.Floor(float64(c.coefficients[64*b]*inverse + 0.5)))
		count[size(v-before)&15]++
		before = v
	}
	for n := range cost {
		cost[n] = float32(n) + float32(math.Log2((float64(len(order))+3.2)/(count[n]+0.2)))
	}
	return cost
}

// order is a component's blocks in the order of the interleaved scan.
func (p *Picture) order(i int) []int32 {
	p.blocks = p.blocks[:0]
	p.eachUnit(func(c, block int) {
		if c == i && block >= 0 {
			p.blocks = append(p.blocks, int32(block))
		}
	})
	return p.blocks
}

// eachUnit calls visit for each block of an interleaved scan in order (A.2.3),
// with -1 for those that only fill up the last minimum coded units.
func (p *Picture) eachUnit(visit func(component, block int)) {
	side := 1
	if len(p.components) > 1 && p.sampling == S420 {
		side = 2
	}
	luma := &p.components[0]
	for y := 0; y < luma.down; y += side {
		for x := 0; x < luma.across; x += side {
			for v := y; v < y+side; v++ {
				for u := x; u < x+side; u++ {
					block := -1
					if u < luma.across && v < luma.down {
						block = v*luma.across + u
					}
					visit(0, block)
				}
			}
			for i := 1; i < len(p.components); i++ {
				visit(i, y/side*p.components[i].across+x/side)
			}
		}
	}
}
