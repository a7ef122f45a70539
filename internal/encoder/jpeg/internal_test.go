package jpeg

import (
	"math"
	"math/rand/v2"
	"testing"
)

// cost is what the trellis is to make least, of one block.
func cost(entries []entry, x *[64]float32, t *table, r *rates, price float32) float64 {
	if len(entries) == 0 {
		return float64(price * r.empty)
	}
	sum, last := 0.0, 0
	for _, e := range entries {
		v, a := math.Abs(float64(e.value)), math.Abs(float64(x[e.at]*t.inverse[e.at]))
		sum += float64(t.matter[e.at])*v*(v-2*a) + float64(price*r.cost[(int(e.at)-last-1)*sizes+size(int(e.value))])
		last = int(e.at)
	}
	if last < 63 {
		sum += float64(price * r.end)
	}
	return sum
}

func TestTrellisCostsNoMoreThanRounding(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	p := fitted.at(3)
	table := p.tables(3)[0]
	var bits rates
	bits.guess()
	better := 0
	for range 20000 {
		var x [64]float32
		var rounded []entry
		for k := 1; k < 64; k++ {
			x[k] = float32(r.NormFloat64()*math.Exp(r.NormFloat64())) * float32(40/(1+k))
			if v := math.Round(float64(x[k] * table.inverse[k])); v != 0 {
				rounded = append(rounded, entry{at: uint8(k), value: int16(v)})
			}
		}
		price := float32(math.Exp(r.NormFloat64() - 2.5))
		var s search
		chosen := s.block(nil, &x, &table, &bits, price)
		got, plain := cost(chosen, &x, &table, &bits, price), cost(rounded, &x, &table, &bits, price)
		if got > plain+1e-3*math.Abs(plain) {
			t.Fatalf("the trellis costs %v; rounding costs %v: %v, %v", got, plain, chosen, rounded)
		}
		if got < plain-1e-3 {
			better++
		}
	}
	if better < 1000 {
		t.Errorf("the trellis is better than rounding in %d of 20000 blocks", better)
	}
}

func TestHuffman(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for n := 0; n <= 256; n++ {
		var count [256]int32
		total := 0.0
		for _, s := range r.Perm(256)[:n] {
			count[s] = 1 + int32(math.Exp(r.Float64()*float64(r.IntN(20))))
			if n == 40 {
				count[s] = int32(min(1<<30, math.Pow(1.6, float64(s%44)))) + 1 // would have codes of up to 40 bits
			}
			total += float64(count[s])
		}
		var h huffman
		h.build(&count)
		if len(h.values) != n {
			t.Fatalf("%d symbols have %d codes", n, len(h.values))
		}
		room, entropy, spent := 0.0, 0.0, 0.0
		for length, k := range h.counts {
			if length > 0 {
				room += float64(k) / float64(int(1)<<length)
			}
		}
		for _, s := range h.values {
			entropy -= float64(count[s]) * math.Log2(float64(count[s])/total)
			spent += float64(count[s]) * float64(h.length[s])
			if h.length[s] < 1 || h.length[s] > codeLimit || h.code[s] == 1<<h.length[s]-1 {
				t.Errorf("%d symbols: the code %b has %d bits", n, h.code[s], h.length[s])
			}
		}
		if room >= 1 {
			t.Errorf("%d symbols: no code is left for all ones", n)
		}
		if spent > entropy+total+1 {
			t.Errorf("%d symbols take %v bits; their entropy is %v", n, spent, entropy)
		}
	}
}

// TestEveryScript writes what no picture here might choose: bands at any place
// that leave any number of bits to refinements.
func TestEveryScript(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		p := analyse(t, scene(11, 90, 75, kind.bands), 90, 75, kind.bands, kind.s)
		for low := range uint(maxLow + 1) {
			for _, at := range []int{1, 5, 30, 62} {
				p.Encode(nil, Settings{Scale: 1.3})
				script := []pass{{means: true, band: band{low: low}}}
				for n := range low {
					script = append(script, pass{means: true, band: band{low: low - 1 - n, refine: true}})
				}
				for i := range p.components {
					script = append(script, bands(i, 1, at, low)...)
					script = append(script, bands(i, at+1, 63, maxLow-low)...)
				}
				checkDecoded(t, p, p.writeScript(nil, script))
			}
		}
	}
}

func TestForwardInvertsInverse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		var f [64]float64
		for k := range f {
			f[k] = r.NormFloat64() * 100
		}
		back := f
		inverse(&back)
		var block [64]float32
		for k, v := range back {
			block[k] = float32(v)
		}
		forward(&block)
		for k, v := range block {
			if got := float64(v * unscale[k]); math.Abs(got-f[k]) > 1e-3 {
				t.Fatalf("coefficient %d is %v; want %v", k, got, f[k])
			}
		}
	}
}

// Steps of means are small, or multiples of 8 near what the parameters ask for.
func TestMeanStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		component   int
		ideal, want float64
	}{
		{0, 0.2, 1}, {0, 2.26, 2}, {0, 5.4, 5}, {0, 5.6, 8}, {0, 16, 16},
		{1, 3.4, 3}, {1, 5.7, 8}, {1, 14.9, 8}, {1, 15, 16}, {1, 24, 24}, {2, 2.3, 2}, {2, 2.4, 8}, {2, 4000, 248},
	} {
		if got := meanStep(c.component, c.ideal); got != c.want {
			t.Errorf("component %d, %g: %g; expected %g", c.component, c.ideal, got, c.want)
		}
	}
}
