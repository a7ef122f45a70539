package jpeg

import "math"

// guess sets costs that are about right for any picture.
func (r *rates) guess() {
	for run := range 64 {
		for size := range sizes {
			r.cost[run*sizes+size] = 2.2 + 0.35*float32(run%16) + 1.6*float32(size) + 10*float32(run/16)
		}
	}
	r.end, r.empty = 3, 1
}

// measure sets the costs that levels have by themselves.
func (r *rates) measure(l *levels) {
	var count [256]float64
	var ended, empty, run int
	flush := func() {
		if run > 0 {
			count[log2(run)<<4]++
			run = 0
		}
	}
	for b := range len(l.from) - 1 {
		entries := l.block(b)
		last := uint8(0)
		if len(entries) > 0 {
			flush()
		} else {
			empty++
		}
		for _, e := range entries {
			zeros := e.at - last - 1
			count[0xF0] += float64(zeros / 16)
			count[zeros%16<<4|uint8(size(int(e.value)))]++
			last = e.at
		}
		if last < 63 {
			if last > 0 {
				ended++
			}
			if run++; run == maxRun {
				flush()
			}
		}
	}
	flush()
	r.price(&count, ended, empty)
}

// price turns the counts of symbols to bits. Of what the ends of blocks cost
// together, those of blocks that aren't empty have the share of a run of one.
func (r *rates) price(count *[256]float64, ended, empty int) {
	const unseen = 0.2
	total := 0.0
	for _, n := range count {
		total += n + unseen
	}
	cost := func(symbol int) float64 { return min(math.Log2(total/(count[symbol]+unseen)), 16) }
	skip := cost(0xF0)
	for run := range 63 {
		for size := 1; size < 11; size++ {
			r.cost[run*sizes+size] = float32(cost(run%16<<4|size) + float64(size) + skip*float64(run/16))
		}
	}
	ends := 0.0
	for n := range 15 {
		ends += count[n<<4] * (cost(n<<4) + float64(n))
	}
	one := cost(0)
	r.end = float32(one)
	r.empty = float32(min(max((ends-one*float64(ended))/float64(max(empty, 1)), 0.05), one))
}

// size is the category of a level or a difference (F.1.2.1): how many bits its
// absolute value has.
func size(v int) int {
	if v < 0 {
		v = -v
	}
	return log2(2*v + 1)
}
