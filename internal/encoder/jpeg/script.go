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
	extra int // bits that aren't codes
	known map[pass]int
}

// maxLow is how many bits the first scan of a band leaves to later ones at most.
const maxLow = 2

// splits are where luma's and chroma's coefficients may be cut in two bands.
var splits = [2][]int{{2, 5, 9, 14, 21}, {2, 5, 9}}

// plan chooses the scans for the levels there are: for each component how many
// bits are left to later scans, and whether low and high frequencies go apart,
// whatever takes the fewest bytes.
func (p *Picture) plan() []pass {
	p.planning.known = make(map[pass]int)
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
	for low := range uint(maxLow + 1) {
		try(bands(i, 1, 63, low))
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

// cost is the bytes of a scan with its tables.
func (p *Picture) cost(s pass) int {
	if n, ok := p.planning.known[s]; ok {
		return n
	}
	p.tokens = p.tokenise(p.tokens[:0], s)
	n := p.planning.measure(p.tokens)
	p.planning.known[s] = n
	return n
}

// tokenise gives the tokens of a scan.
func (p *Picture) tokenise(out []token, s pass) []token {
	if s.means {
		return p.tokeniseMeans(out, s.low, s.refine)
	}
	return p.components[s.component].levels.tokenise(out, s.band)
}

// measure makes the tables of tokens, and gives the bytes they all take.
func (n *planner) measure(tokens []token) int {
	n.count, n.extra = [2][256]int32{}, 0
	for _, t := range tokens {
		n.extra += int(t >> 16 & 31)
		if t&bare == 0 {
			n.count[t>>30&1][t>>21&255]++
		}
	}
	total := n.extra
	bytes := 10 // of the scan's header
	for i := range n.codes {
		n.codes[i].build(&n.count[i])
		for _, s := range n.codes[i].values {
			total += int(n.count[i][s]) * int(n.codes[i].length[s])
		}
		if len(n.codes[i].values) > 0 {
			bytes += 4 + n.codes[i].bytes()
		}
	}
	return bytes + (total+7)/8
}
