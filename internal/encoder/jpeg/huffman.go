package jpeg

import "slices"

const (
	codeLimit = 16  // bits of a code at most
	reserved  = 256 // the symbol that takes the code of all ones (K.2)
)

// huffman is one table of codes.
type huffman struct {
	counts [codeLimit + 1]int // how many codes of each length
	values []uint8            // symbols, by their codes
	code   [256]uint16
	length [256]uint8
}

// build makes the best codes for the counts of symbols by the procedure of K.2.
func (h *huffman) build(count *[256]int32) {
	var symbols [257]uint16
	order := symbols[:1]
	order[0] = reserved
	for s, n := range count {
		if n > 0 {
			order = append(order, uint16(s))
		}
	}
	// Rarest first; the reserved symbol before them all, so that its code is
	// among the longest.
	slices.SortFunc(order[1:], func(a, b uint16) int {
		if count[a] != count[b] {
			return int(count[a] - count[b])
		}
		return int(b) - int(a)
	})
	h.counts = limited(order, count)
	h.values = h.values[:0]
	i, code := len(order)-1, uint16(0)
	for length := 1; length <= codeLimit; length++ {
		for range h.counts[length] {
			s := order[i]
			h.values = append(h.values, uint8(s))
			h.code[s&255], h.length[s&255] = code, uint8(length)
			code++
			i--
		}
		code <<= 1
	}
}

// limited is how many codes there are of each length, none longer than
// codeLimit and without the reserved one.
func limited(order []uint16, count *[256]int32) (counts [codeLimit + 1]int) {
	var lengths [64]int
	for _, d := range depths(order, count) {
		lengths[min(d, 63)]++
	}
	if len(order) == 1 {
		return counts
	}
	for i := 63; i > codeLimit; i-- { // figure K.3
		for lengths[i] > 0 {
			j := i - 2
			for lengths[j] == 0 {
				j--
			}
			lengths[i] -= 2
			lengths[i-1]++
			lengths[j+1] += 2
			lengths[j]--
		}
	}
	longest := codeLimit
	for lengths[longest] == 0 {
		longest--
	}
	lengths[longest]--
	copy(counts[:], lengths[:codeLimit+1])
	return counts
}

// depths are the lengths that Huffman's codes for symbols, rarest first, would
// have without a limit. The two rarest of leaves and nodes are joined to a node
// until there is one; nodes come about in the order of their counts.
func depths(order []uint16, count *[256]int32) []uint8 {
	n := len(order)
	var weight [2 * 257]int64
	var parent [2 * 257]int16
	for i, s := range order {
		weight[i] = 1
		if s != reserved {
			weight[i] = int64(count[s])
		}
	}
	leaf, node := 0, n
	for next := n; next < 2*n-1; next++ {
		for range 2 {
			least := node
			if leaf < n && (node >= next || weight[leaf] <= weight[node]) {
				least = leaf
				leaf++
			} else {
				node++
			}
			weight[next] += weight[least]
			parent[least] = int16(next)
		}
	}
	var depth [2 * 257]uint8
	for i := 2*n - 3; i >= 0; i-- {
		depth[i] = depth[parent[i]] + 1
	}
	out := make([]uint8, n)
	copy(out, depth[:n])
	return out
}

// bytes is what the table takes in a file, its marker aside.
func (h *huffman) bytes() int { return 1 + codeLimit + len(h.values) }
