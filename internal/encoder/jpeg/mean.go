package jpeg

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
