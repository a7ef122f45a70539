package jpeg

import "math/bits"

// token is one thing to write: a Huffman symbol with bits behind it, or bits
// alone. From the lowest: 16 bits, 5 of how many they are, 8 of the symbol, and
// whether there is none.
type token uint32

const bare token = 1 << 29

func symbol(s, n, value int) token {
	return token(s)<<21 | token(n)<<16 | token(value)&(1<<n-1)
}

const (
	maxRun        = 0x7FFF // blocks of one end-of-band run (G.1.2.2)
	maxCorrection = 900    // correction bits that are held back at most, so that decoders need not buffer many
)

// band is a scan's part of the coefficients: from first to last in zigzag
// order, of which the bits from low up are sent. Coarser bits are sent before:
// none where refine is not set, and all of them where it is.
type band struct {
	first, last int
	low         uint
	refine      bool
}

// tokenise appends the tokens of a band of every so manieth row of blocks.
func (c *component) tokenise(out []token, s band, every int) []token {
	t := tokeniser{out: out, band: s}
	l := &c.levels
	for y := 0; y < c.down; y += every {
		for b := y * c.across; b < (y+1)*c.across; b++ {
			entries := l.entry[l.from[b]:l.from[b+1]]
			if s.refine {
				t.refineBlock(entries)
			} else {
				t.firstBlock(entries)
			}
		}
	}
	t.flush()
	return t.out
}

// tokeniser holds an end-of-band run that is not yet written, and correction
// bits that come behind it.
type tokeniser struct {
	band
	out         []token
	run         int
	corrections []uint8
}

// log2 is the place of the highest bit of n.
func log2(n int) int { return bits.Len(uint(n)) - 1 }

// flush writes the end-of-band run (figures G.4, G.8 and G.9).
func (t *tokeniser) flush() {
	if t.run > 0 {
		n := log2(t.run)
		t.out = append(t.out, symbol(n<<4, n, t.run))
		t.run = 0
		t.correct(&t.corrections)
	}
}

// correct writes correction bits and forgets them.
func (t *tokeniser) correct(bits *[]uint8) {
	for b := *bits; len(b) > 0; {
		n, value := min(len(b), 16), 0
		for _, bit := range b[:n] {
			value = value<<1 | int(bit)
		}
		t.out = append(t.out, bare|symbol(0, n, value))
		b = b[n:]
	}
	*bits = (*bits)[:0]
}

// firstBlock is figure G.3: the first scan of a band.
func (t *tokeniser) firstBlock(entries []entry) {
	before := t.first - 1
	for _, e := range entries {
		at := int(e.at)
		if at < t.first {
			continue
		}
		if at > t.last {
			break
		}
		v := int(e.value)
		sign := v >> 63
		v = (v ^ sign) - sign
		if v >>= t.low; v == 0 {
			continue
		}
		if t.run > 0 {
			t.flush()
		}
		zeros := at - before - 1
		for ; zeros > 15; zeros -= 16 {
			t.out = append(t.out, symbol(0xF0, 0, 0))
		}
		n := bits.Len(uint(v))
		t.out = append(t.out, symbol(zeros<<4|n, n, v^sign))
		before = at
	}
	if before < t.last {
		t.end()
	}
}

// end takes a block into the end-of-band run.
func (t *tokeniser) end() {
	if t.run++; t.run == maxRun || len(t.corrections) > maxCorrection {
		t.flush()
	}
}

// refineBlock is figure G.7: one more bit of each coefficient.
func (t *tokeniser) refineBlock(entries []entry) {
	zeros, before, corrections := 0, t.first-1, len(t.corrections)
	lastNew := t.lastNew(entries)
	// Corrections of this block before a new coefficient go behind its code;
	// those after the last new one go behind the end-of-band run.
	for _, e := range entries {
		at := int(e.at)
		if at < t.first {
			continue
		}
		if at > t.last {
			break
		}
		zeros += at - before - 1
		before = at
		v := int(e.value)
		negative := v < 0
		if negative {
			v = -v
		}
		if v >>= t.low; v == 0 {
			zeros++
			continue
		}
		for zeros > 15 && at <= lastNew {
			corrections = t.passed(corrections)
			t.out = append(t.out, symbol(0xF0, 0, 0))
			t.own(corrections)
			zeros -= 16
		}
		if v > 1 {
			t.corrections = append(t.corrections, uint8(v&1))
			continue
		}
		corrections = t.passed(corrections)
		sign := 1
		if negative {
			sign = 0
		}
		t.out = append(t.out, symbol(zeros<<4|1, 1, sign))
		t.own(corrections)
		zeros = 0
	}
	if before < t.last || zeros > 0 || len(t.corrections) > corrections {
		t.end()
	}
}

// passed writes the run of blocks before this one, whose corrections are the
// first n held; it returns how many are held that aren't this block's: 0.
func (t *tokeniser) passed(n int) int {
	if t.run == 0 {
		return n
	}
	own := t.corrections[n:]
	t.corrections = t.corrections[:n]
	t.flush()
	t.corrections = append(t.corrections, own...)
	return 0
}

// own writes this block's corrections, those from the nth held.
func (t *tokeniser) own(n int) {
	own := t.corrections[n:]
	t.correct(&own)
	t.corrections = t.corrections[:n]
}

// lastNew is the place of the last coefficient that becomes other than 0.
func (t *tokeniser) lastNew(entries []entry) int {
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if int(e.at) < t.first {
			break
		}
		v := e.value
		if v < 0 {
			v = -v
		}
		if v>>t.low == 1 && int(e.at) <= t.last {
			return int(e.at)
		}
	}
	return -1
}
