//go:build goexperiment.simd && amd64

package butteraugli

import "simd/archsimd"

// The inner loops of the comparison.

// wideDiffer is the loop of contrast.differ.
func wideDiffer(c contrast, dst, ref, dist []float32) int {
	if !wide {
		return 0
	}
	norm, anyDiff, apart := every(c.norm), every(c.any), every(c.apart)
	half, one, zero := every(0.5), every(1), every(0)
	below, above := every(lost), every(-added)
	i := 0
	for ; i+lanes <= len(dst); i += lanes {
		r, b := load(ref, i), load(dist, i)
		a := magnitude(r)
		diff := r.Sub(b)
		by := one.Div(a.Add(magnitude(b)).MulAdd(half, norm))
		b = turned(b, sign(r))
		extra := a.MulAdd(below, zero.Sub(b)).Max(a.MulAdd(above, b)).Max(zero)
		extra = signed(extra, sign(diff))
		store(extra.MulAdd(apart, diff.Mul(anyDiff)).Mul(by), dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// span is what lines through eight pixels need of a row.
type span [lanes + 8]float32

func (n *nearby) spans(i int) (u4, u3, u2, u1, m, d1, d2, d3, d4 *span) {
	at := i + pad - 4
	w := func(row []float32) *span { return (*span)(row[at:]) }
	return w(n[0]), w(n[1]), w(n[2]), w(n[3]), w(n[4]), w(n[5]), w(n[6]), w(n[7]), w(n[8])
}

// ends are two pixels at the same distance, on either side.
func ends(a *span, i int, b *span, j int) vector {
	return archsimd.LoadFloat32x8((*[lanes]float32)(a[i:])).Add(archsimd.LoadFloat32x8((*[lanes]float32)(b[j:])))
}

// wideAddSparse is the loop of addSparse.
func wideAddSparse(sum []float32, n *nearby) int {
	if !wide {
		return 0
	}
	i := 0
	for ; i+lanes <= len(sum); i += lanes {
		u4, u3, u2, u1, m, d1, d2, d3, d4 := n.spans(i)
		middle := archsimd.LoadFloat32x8((*[lanes]float32)(m[4:]))
		v := middle.Add(ends(m, 2, m, 6)).Add(ends(m, 0, m, 8))
		s := v.MulAdd(v, load(sum, i))
		v = middle.Add(ends(u2, 4, d2, 4)).Add(ends(u4, 4, d4, 4))
		t := v.Mul(v)
		v = middle.Add(ends(u2, 2, d2, 6)).Add(ends(u3, 1, d3, 7))
		s = v.MulAdd(v, s)
		v = middle.Add(ends(u2, 6, d2, 2)).Add(ends(u3, 7, d3, 1))
		t = v.MulAdd(v, t)
		inner := middle.Add(ends(u2, 3, d2, 5))
		v = inner.Add(ends(u4, 3, d4, 5))
		s = v.MulAdd(v, s)
		v = inner.Add(ends(u3, 2, d3, 6))
		t = v.MulAdd(v, t)
		v = inner.Add(ends(u4, 2, d4, 6))
		s = v.MulAdd(v, s)
		inner = middle.Add(ends(u2, 5, d2, 3))
		v = inner.Add(ends(u4, 5, d4, 3))
		t = v.MulAdd(v, t)
		v = inner.Add(ends(u3, 6, d3, 2))
		s = v.MulAdd(v, s)
		v = inner.Add(ends(u4, 6, d4, 2))
		t = v.MulAdd(v, t)
		inner = middle.Add(ends(u1, 2, d1, 6))
		v = inner.Add(ends(u1, 0, d1, 8))
		s = v.MulAdd(v, s)
		v = inner.Add(ends(u2, 1, d2, 7))
		t = v.MulAdd(v, t)
		v = inner.Add(ends(u2, 0, d2, 8))
		s = v.MulAdd(v, s)
		inner = middle.Add(ends(u1, 6, d1, 2))
		v = inner.Add(ends(u1, 8, d1, 0))
		t = v.MulAdd(v, t)
		v = inner.Add(ends(u2, 7, d2, 1))
		s = v.MulAdd(v, s)
		v = inner.Add(ends(u2, 8, d2, 0))
		t = v.MulAdd(v, t)
		store(s.Add(t), sum, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideAddDense is the loop of addDense.
func wideAddDense(sum []float32, n *nearby) int {
	if !wide {
		return 0
	}
	i := 0
	for ; i+lanes <= len(sum); i += lanes {
		u4, u3, u2, u1, m, d1, d2, d3, d4 := n.spans(i)
		middle := archsimd.LoadFloat32x8((*[lanes]float32)(m[4:]))

		flat := middle.Add(ends(m, 3, m, 5))
		v := flat.Add(ends(m, 2, m, 6)).Add(ends(m, 1, m, 7).Add(ends(m, 0, m, 8)))
		s := v.MulAdd(v, load(sum, i))
		down12, up12 := ends(u1, 2, d1, 6), ends(u1, 6, d1, 2)
		v = flat.Add(down12).Add(ends(u1, 1, d1, 7).Add(ends(u1, 0, d1, 8)))
		twice := v.Mul(v)
		v = flat.Add(up12).Add(ends(u1, 7, d1, 1).Add(ends(u1, 8, d1, 0)))
		twice = v.MulAdd(v, twice)

		falling := middle.Add(ends(u1, 3, d1, 5))
		v = falling.Add(down12).Add(ends(u2, 1, d2, 7))
		s = v.MulAdd(v, s)
		rising := middle.Add(ends(u1, 5, d1, 3))
		v = rising.Add(up12).Add(ends(u2, 7, d2, 1))
		s = v.MulAdd(v, s)
		v = falling.Add(ends(u2, 2, d2, 6)).Add(ends(u3, 1, d3, 7))
		s = v.MulAdd(v, s)
		v = rising.Add(ends(u2, 6, d2, 2)).Add(ends(u3, 7, d3, 1))
		s = v.MulAdd(v, s)

		down21, up21 := ends(u2, 3, d2, 5), ends(u2, 5, d2, 3)
		v = falling.Add(down21).Add(ends(u3, 2, d3, 6))
		s = v.MulAdd(v, s)
		v = rising.Add(up21).Add(ends(u3, 6, d3, 2))
		s = v.MulAdd(v, s)
		steep := middle.Add(ends(u1, 4, d1, 4))
		v = steep.Add(up21).Add(ends(u3, 5, d3, 3).Add(ends(u4, 5, d4, 3)))
		twice = v.MulAdd(v, twice)
		v = steep.Add(down21).Add(ends(u3, 3, d3, 5).Add(ends(u4, 3, d4, 5)))
		twice = v.MulAdd(v, twice)
		v = steep.Add(ends(u2, 4, d2, 4)).Add(ends(u3, 4, d3, 4).Add(ends(u4, 4, d4, 4)))
		s = v.MulAdd(v, s)
		store(s.Add(twice.Add(twice)), sum, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideErode is the loop of erode.
func wideErode(dst []float32, near *[3][]float32) int {
	if !wide {
		return 0
	}
	above, row, below := near[0], near[1], near[2]
	byA, byB, byC := every(0.45), every(0.3), every(0.25)
	i := 0
	for ; i+lanes <= len(dst); i += lanes {
		at := i + pad
		a := load(row, at)
		b := a.Add(a)
		c := b
		a, b, c = wideLeast(a, b, c, load(row, at-reach))
		a, b, c = wideLeast(a, b, c, load(row, at+reach))
		a, b, c = wideLeast(a, b, c, load(above, at-reach))
		a, b, c = wideLeast(a, b, c, load(above, at))
		a, b, c = wideLeast(a, b, c, load(above, at+reach))
		a, b, c = wideLeast(a, b, c, load(below, at-reach))
		a, b, c = wideLeast(a, b, c, load(below, at))
		a, b, c = wideLeast(a, b, c, load(below, at+reach))
		store(a.Mul(byA).Add(b.Mul(byB)).Add(c.Mul(byC)), dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideLeast keeps the least three of four, the first three being in order.
func wideLeast(a, b, c, v vector) (x, y, z vector) {
	return a.Min(v), b.Min(a.Max(v)), c.Min(b.Max(v))
}

// wideTone is the loop of tone.
func wideTone(fine, low []float32) int {
	if !wide {
		return 0
	}
	one, by := every(1), every(1/unit)
	fm, fs, f0, lm, ls, l0 := every(fineMul), every(fineSlope), every(fineStart), every(lowMul), every(lowSlope), every(lowStart)
	i := 0
	for ; i+lanes <= len(fine); i += lanes {
		v := load(fine, i)
		f := fm.Div(v.MulAdd(fs, f0)).Add(one).Mul(by)
		l := lm.Div(v.MulAdd(ls, l0)).Add(one).Mul(by)
		store(f.Mul(f), fine, i)
		store(l.Mul(l), low, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideAddSquares is the loop of addSquares.
func wideAddSquares(sum, ref, dist []float32, weight float32) int {
	if !wide {
		return 0
	}
	by := every(weight)
	i := 0
	for ; i+lanes <= len(sum); i += lanes {
		d := load(ref, i).Sub(load(dist, i))
		store(d.Mul(d).MulAdd(by, load(sum, i)), sum, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideAddUneven is the loop of addUneven.
func wideAddUneven(sum, ref, dist []float32, weight float32) int {
	if !wide {
		return 0
	}
	by, below, zero := every(weight), every(highLost), every(0)
	i := 0
	for ; i+lanes <= len(sum); i += lanes {
		r, b := load(ref, i), load(dist, i)
		a := magnitude(r)
		d := r.Sub(b)
		b = turned(b, sign(r))
		extra := a.MulAdd(below, zero.Sub(b)).Max(b.Sub(a)).Max(zero)
		store(extra.MulAdd(extra, d.Mul(d)).MulAdd(by, load(sum, i)), sum, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideTotal is the loop of total.
func wideTotal(dst, fine, coarse, fineMask, lowMask []float32) int {
	if !wide {
		return 0
	}
	i := 0
	for ; i+lanes <= len(dst); i += lanes {
		store(load(fine, i).MulAdd(load(fineMask, i), load(coarse, i).Mul(load(lowMask, i))).Sqrt(), dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideBlend is the loop of blend.
func wideBlend(row, half []float32) int {
	if !wide {
		return 0
	}
	by, byHalf := every(wholeWeight), every(halfWeight)
	i := 0
	for ; i+2*lanes <= len(row); i += 2 * lanes {
		h := load(half, i/2).Mul(byHalf)
		a, b := h.SelectFromPairGrouped(0, 0, 1, 1, h), h.SelectFromPairGrouped(2, 2, 3, 3, h)
		store(load(row, i).MulAdd(by, a.Select128FromPair(0, 2, b)), row, i)
		store(load(row, i+lanes).MulAdd(by, a.Select128FromPair(1, 3, b)), row, i+lanes)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideNorms is the loop of norms.add.
func wideNorms(n *norms, row []float32) int {
	if !wide {
		return 0
	}
	cubes, sixths, twelfths := archsimd.BroadcastFloat64x4(0), archsimd.BroadcastFloat64x4(0), archsimd.BroadcastFloat64x4(0)
	most := every(n.most)
	i := 0
	for ; i+lanes <= len(row); i += lanes {
		d := load(row, i)
		most = most.Max(d)
		for _, v := range [2]archsimd.Float64x4{d.GetLo().ConvertToFloat64(), d.GetHi().ConvertToFloat64()} {
			p := v.Mul(v).Mul(v)
			cubes = cubes.Add(p)
			p = p.Mul(p)
			sixths = sixths.Add(p)
			twelfths = p.MulAdd(p, twelfths)
		}
	}
	var each [3][4]float64
	var tops [lanes]float32
	cubes.Store(&each[0])
	sixths.Store(&each[1])
	twelfths.Store(&each[2])
	most.Store(&tops)
	archsimd.ClearAVXUpperBits()
	for lane := range 4 {
		n.cubes += each[0][lane]
		n.sixths += each[1][lane]
		n.twelfths += each[2][lane]
	}
	for _, v := range tops {
		n.most = max(n.most, v)
	}
	return i
}
