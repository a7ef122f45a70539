package jpeg

// Markers (table B.1).
const (
	markerSOI  = 0xD8
	markerAPP0 = 0xE0
	markerDQT  = 0xDB
	markerSOF2 = 0xC2
	markerDHT  = 0xC4
	markerSOS  = 0xDA
	markerEOI  = 0xD9
)

// writer appends entropy-coded bits to a file.
type writer struct {
	out  []byte
	bits uint64 // those not yet in out, from the highest used one
	n    uint   // how many
}

// writeScript appends the whole file with the scans given.
func (p *Picture) writeScript(dst []byte, script []pass) []byte {
	w := &p.writer
	w.out = append(dst, 0xFF, markerSOI)
	w.segment(markerAPP0, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0)
	p.writeFrame()
	for _, s := range script {
		p.writeScan(s)
	}
	out := append(w.out, 0xFF, markerEOI)
	w.out = nil
	return out
}

// segment writes a marker with its length and parameters.
func (w *writer) segment(marker byte, parameters ...byte) {
	n := len(parameters) + 2
	w.out = append(w.out, 0xFF, marker, byte(n>>8), byte(n))
	w.out = append(w.out, parameters...)
}

// tableOf is the number of the quantisation table of a component.
func (p *Picture) tableOf(component int) int {
	if component == 2 && p.table[1].step == p.table[2].step {
		return 1
	}
	return component
}

// writeFrame writes the quantisation tables (B.2.4.1) and the frame (B.2.2).
func (p *Picture) writeFrame() {
	w := &p.writer
	var tables []byte
	for i := range p.components {
		if p.tableOf(i) == i {
			tables = append(append(tables, byte(i)), p.table[i].step[:]...)
		}
	}
	w.segment(markerDQT, tables...)
	frame := []byte{8, byte(p.h >> 8), byte(p.h), byte(p.w >> 8), byte(p.w), byte(len(p.components))}
	for i := range p.components {
		factors := byte(0x11)
		if i == 0 && len(p.components) > 1 && p.sampling == S420 {
			factors = 0x22
		}
		frame = append(frame, byte(i+1), factors, byte(p.tableOf(i)))
	}
	w.segment(markerSOF2, frame...)
}

// writeScan writes one scan with the tables made for it (B.2.3, B.2.4.2).
func (p *Picture) writeScan(s pass) {
	w, codes := &p.writer, &p.planning.codes
	p.tokens = p.tokenise(p.tokens[:0], s, 1)
	p.planning.measure(p.tokens)
	var tables []byte
	for i := range codes {
		if len(codes[i].values) == 0 {
			continue
		}
		class := byte(0x10)
		if s.means {
			class = 0
		}
		tables = append(tables, class|byte(i))
		for _, n := range codes[i].counts[1:] {
			tables = append(tables, byte(n))
		}
		tables = append(tables, codes[i].values...)
	}
	if len(tables) > 0 {
		w.segment(markerDHT, tables...)
	}
	w.segment(markerSOS, p.scanHeader(s)...)
	w.entropy(p.tokens, codes)
}

func (p *Picture) scanHeader(s pass) []byte {
	var header []byte
	if s.means {
		header = append(header, byte(len(p.components)))
		for i := range p.components {
			header = append(header, byte(i+1), byte(min(i, 1)<<4))
		}
	} else {
		header = append(header, 1, byte(s.component+1), 0)
	}
	approximation := byte(s.low)
	if s.refine {
		approximation |= byte(s.low+1) << 4
	}
	return append(header, byte(s.first), byte(s.last), approximation)
}

// entropy writes tokens, and ones up to a whole byte.
func (w *writer) entropy(tokens []token, codes *[2]huffman) {
	for _, t := range tokens {
		n := uint(t >> 16 & 31)
		if t&bare == 0 {
			h, s := &codes[t>>30&1], t>>21&255
			w.put(uint64(h.code[s]), uint(h.length[s]))
		}
		w.put(uint64(t&0xFFFF), n)
	}
	if w.n > 0 {
		w.put(0x7F, 7)
	}
	w.bits, w.n = 0, 0
}

// put writes the n lowest bits of v, with a zero byte behind each byte of ones
// (B.1.1.5).
func (w *writer) put(v uint64, n uint) {
	w.bits = w.bits<<n | v
	w.n += n
	for w.n >= 8 {
		w.n -= 8
		b := byte(w.bits >> w.n)
		w.out = append(w.out, b)
		if b == 0xFF {
			w.out = append(w.out, 0)
		}
	}
}
