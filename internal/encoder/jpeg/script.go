package jpeg

import (
	"cmp"
	"slices"
)

// pass is one scan of the file: a band of a component, or the means of all.
type pass struct {
	band
	component int // of a band
	means     bool
}

// planner counts what scans would take.
type planner struct {
	codes [2]huffman
	count [2][256]int32
	known map[pass]int
	every int // of how many rows of blocks one is looked at
}

// maxLow is how many bits the first scan of a band leaves to later ones at most.
const maxLow = 3

// splits are where luma's and chroma's coefficients may be cut in two bands.
var splits = [2][]int{{2, 5, 9, 14, 21}, {2, 5, 9}}

// plan chooses the scans for the levels there are: for each component how many
// bits are left to later scans, and whether low and high frequencies go apart,
// whatever takes the fewest bytes.
func (p *Picture) plan() []pass {
	p.planning.known = make(map[pass]int)
	p.planning.every = sampled(p.components[0].down)
	script := p.planMeans()
	for i := range p.components {
		script = append(script, p.planBands(i)...)
	}
	// Coarse before fine, and what shows more before what shows less.
	slices.SortStableFunc(script, func(a, b pass) int {
		return cmp.Or(
			cmp.Compare(a.stage(), b.stage()),
			cmp.Compare(a.component, b.component),
			cmp.Compare(a.first, b.first))
	})
	return script
}

// stage puts scans in order: the means, the low bands, the other bands, then
// refinements from coarse to fine.
func (s *pass) stage() int {
	switch {
	case s.means && !s.refine:
		return 0
	case s.refine:
		return 4 + maxLow - int(s.low)
	case s.first > 1:
		return 2
	}
	return 1
}

func (p *Picture) planMeans() []pass {
	whole := pass{means: true}
	coarse, rest := whole, whole
	coarse.low, rest.refine = 1, true
	if p.cost(coarse)+p.cost(rest) < p.cost(whole) {
		return []pass{coarse, rest}
	}
	return []pass{whole}
}

// planBands chooses the scans of one component.
func (p *Picture) planBands(i int) []pass {
	kind := min(i, 1)
	best, least := []pass(nil), 0
	try := func(script []pass) {
		total := 0
		for _, s := range script {
			total += p.cost(s)
		}
		if best == nil || total < least {
			best, least = script, total
		}
	}
	for low := uint(0); low <= maxLow && (best == nil || best[0].low+1 >= low); low++ {
		try(bands(i, 1, 63, low)) // until one more bit left to later takes more
	}
	low := best[0].low
	for _, at := range splits[kind] {
		try(append(bands(i, 1, at, low), bands(i, at+1, 63, low)...))
	}
	return best
}

// bands are the scans of one band that leave the bits below low to
// refinements, one bit each.
func bands(component, first, last int, low uint) []pass {
	script := []pass{{band: band{first: first, last: last, low: low}, component: component}}
	for low > 0 {
		low--
		script = append(script, pass{band: band{first: first, last: last, low: low, refine: true}, component: component})
	}
	return script
}

// cost is about how many bytes a scan takes with its tables.
func (p *Picture) cost(s pass) int {
	if n, ok := p.planning.known[s]; ok {
		return n
	}
	every := p.planning.every
	if s.means {
		every = 1
	}
	p.tokens = p.tokenise(p.tokens[:0], s, every)
	header, codes := p.planning.measure(p.tokens)
	n := header + (codes*every+7)/8
	p.planning.known[s] = n
	return n
}

// tokenise appends the tokens of a scan, or of a part of its rows.
func (p *Picture) tokenise(out []token, s pass, every int) []token {
	if s.means {
		return p.tokeniseMeans(out, s.low, s.refine)
	}
	return p.components[s.component].tokenise(out, s.band, every)
}

// measure makes the tables of tokens; it gives the bytes of the scan's header
// and tables, and the bits of the tokens.
func (n *planner) measure(tokens []token) (header, total int) {
	n.count = [2][256]int32{}
	for _, t := range tokens {
		total += int(t >> 16 & 31)
		if t&bare == 0 {
			n.count[t>>30&1][t>>21&255]++
		}
	}
	header = 10
	for i := range n.codes {
		n.codes[i].build(&n.count[i])
		for _, s := range n.codes[i].values {
			total += int(n.count[i][s]) * int(n.codes[i].length[s])
		}
		if len(n.codes[i].values) > 0 {
			header += 4 + n.codes[i].bytes()
		}
	}
	return header, total
}
