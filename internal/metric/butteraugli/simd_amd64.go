//go:build goexperiment.simd && amd64

package butteraugli

import "simd/archsimd"

// The inner loops, eight pixels at a time where the processor can. Each does
// as many pixels as fit and returns how far it came; the plain loop after it
// does the rest.

var wide = archsimd.X86.AVX2() && archsimd.X86.FMA()

type vector = archsimd.Float32x8

func load(row []float32, at int) vector { return archsimd.LoadFloat32x8((*[lanes]float32)(row[at:])) }

func store(v vector, row []float32, at int) { v.Store((*[lanes]float32)(row[at:])) }

func every(x float32) vector { return archsimd.BroadcastFloat32x8(x) }

func magnitude(v vector) vector {
	return v.AsInt32x8().And(archsimd.BroadcastInt32x8(1<<31 - 1)).AsFloat32x8()
}

// sign is the sign bit alone.
func sign(v vector) archsimd.Int32x8 {
	return v.AsInt32x8().And(archsimd.BroadcastInt32x8(-1 << 31))
}

// signed gives v, whose sign bit must not be set, a sign; turned changes its
// sign where that bit is set.
func signed(v vector, by archsimd.Int32x8) vector { return v.AsInt32x8().Or(by).AsFloat32x8() }
func turned(v vector, by archsimd.Int32x8) vector { return v.AsInt32x8().Xor(by).AsFloat32x8() }

// limit is a range around zero.
type limit struct{ least, most vector }

func newLimit(most float32) limit { return limit{every(-most), every(most)} }

func (l limit) within(v vector) vector { return v.Min(l.most).Max(l.least) }

// block is how many columns the blurs do at once, to use each tap for several
// vectors.
const block = 4 * lanes

func four(row []float32, at int) (a, b, c, d vector) {
	w := (*[block]float32)(row[at:])
	return archsimd.LoadFloat32x8((*[lanes]float32)(w[0:])), archsimd.LoadFloat32x8((*[lanes]float32)(w[8:])),
		archsimd.LoadFloat32x8((*[lanes]float32)(w[16:])), archsimd.LoadFloat32x8((*[lanes]float32)(w[24:]))
}

// wideConvolve is the loop of convolve.
func wideConvolve(dst, src, taps []float32) int {
	if !wide {
		return 0
	}
	middle := every(taps[0])
	sides := taps[1:]
	i := 0
	for ; i+block <= len(dst); i += block {
		a, b, c, d := four(src, i+pad)
		a, b, c, d = a.Mul(middle), b.Mul(middle), c.Mul(middle), d.Mul(middle)
		for t, tap := range sides {
			by := every(tap)
			e, f, g, h := four(src, i+pad-1-t)
			k, l, m, n := four(src, i+pad+1+t)
			a, b, c, d = e.Add(k).MulAdd(by, a), f.Add(l).MulAdd(by, b), g.Add(m).MulAdd(by, c), h.Add(n).MulAdd(by, d)
		}
		w := (*[block]float32)(dst[i:])
		store(a, w[:], 0)
		store(b, w[:], 8)
		store(c, w[:], 16)
		store(d, w[:], 24)
	}
	for ; i+lanes <= len(dst); i += lanes {
		a := load(src, i+pad).Mul(middle)
		for t, tap := range sides {
			a = load(src, i+pad-1-t).Add(load(src, i+pad+1+t)).MulAdd(every(tap), a)
		}
		store(a, dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideCombine is combine for all columns.
func wideCombine(dst, centre []float32, pairs []pair, taps []float32) int {
	if !wide {
		return 0
	}
	middle := every(taps[0])
	sides := taps[1:]
	pairs = pairs[:len(sides)]
	i := 0
	for ; i+block <= len(dst); i += block {
		a, b, c, d := four(centre, i)
		a, b, c, d = a.Mul(middle), b.Mul(middle), c.Mul(middle), d.Mul(middle)
		for t := range pairs {
			by := every(sides[t])
			e, f, g, h := four(pairs[t].above, i)
			k, l, m, n := four(pairs[t].below, i)
			a, b, c, d = e.Add(k).MulAdd(by, a), f.Add(l).MulAdd(by, b), g.Add(m).MulAdd(by, c), h.Add(n).MulAdd(by, d)
		}
		w := (*[block]float32)(dst[i:])
		store(a, w[:], 0)
		store(b, w[:], 8)
		store(c, w[:], 16)
		store(d, w[:], 24)
	}
	for ; i+lanes <= len(dst); i += lanes {
		a := load(centre, i).Mul(middle)
		for t := range pairs {
			a = load(pairs[t].above, i).Add(load(pairs[t].below, i)).MulAdd(every(sides[t]), a)
		}
		store(a, dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideRespond is the loop of respond.
func wideRespond(xyb, rgb, soft *[3][]float32) int {
	if !wide {
		return 0
	}
	x, y, b := xyb[0], xyb[1], xyb[2]
	i := 0
	for ; i+lanes <= len(x); i += lanes {
		red, green, blue := load(rgb[0], i), load(rgb[1], i), load(rgb[2], i)
		softRed, softGreen, softBlue := load(soft[0], i), load(soft[1], i), load(soft[2], i)
		l := wideAdapted(&absorbance[0], red, green, blue, softRed, softGreen, softBlue)
		m := wideAdapted(&absorbance[1], red, green, blue, softRed, softGreen, softBlue)
		s := wideAdapted(&absorbance[2], red, green, blue, softRed, softGreen, softBlue)
		store(l.Sub(m), x, i)
		store(l.Add(m), y, i)
		store(s, b, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

func wideAdapted(by *[4]float32, red, green, blue, softRed, softGreen, softBlue vector) vector {
	k0, k1, k2, dark := every(by[0]), every(by[1]), every(by[2]), every(by[3])
	around := softRed.MulAdd(k0, softGreen.MulAdd(k1, softBlue.MulAdd(k2, dark)))
	// As log2.
	v := around.Add(every(gammaBias))
	bits := v.AsInt32x8()
	exponent := bits.Sub(archsimd.BroadcastInt32x8(twoThirds)).ShiftAllRight(23)
	m := bits.Sub(exponent.ShiftAllLeft(23)).AsFloat32x8().Sub(every(1))
	above := every(logAbove[2]).MulAdd(m, every(logAbove[1])).MulAdd(m, every(logAbove[0]))
	below := every(logBelow[2]).MulAdd(m, every(logBelow[1])).MulAdd(m, every(logBelow[0]))
	log := above.Div(below).Add(exponent.ConvertToFloat32())
	adapted := log.MulAdd(every(gammaMul), every(gammaAdd)).Div(around).Max(every(least))
	return red.MulAdd(k0, green.MulAdd(k1, blue.MulAdd(k2, dark))).Mul(adapted).Max(dark)
}

// wideSubtract is the loop of subtract.
func wideSubtract(dst, a, b []float32) int {
	if !wide {
		return 0
	}
	i := 0
	for ; i+lanes <= len(dst); i += lanes {
		store(load(a, i).Sub(load(b, i)), dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideWeigh is the loop of weigh.
func wideWeigh(l *[3][]float32) int {
	if !wide {
		return 0
	}
	x, y, b := l[0], l[1], l[2]
	i := 0
	for ; i+lanes <= len(x); i += lanes {
		v := load(y, i)
		store(every(lowYOutOfB).MulAdd(v, load(b, i)).Mul(every(lowB)), b, i)
		store(load(x, i).Mul(every(lowX)), x, i)
		store(v.Mul(every(lowY)), y, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideSplitMiddle is the loop of splitMiddle.
func wideSplitMiddle(mx, my, fx, fy []float32) int {
	if !wide {
		return 0
	}
	dead, more := newLimit(middleDead), newLimit(middleMore)
	by, least := every(suppression*(1-unsuppress)), every(unsuppress)
	i := 0
	for ; i+lanes <= len(mx); i += lanes {
		v := load(mx, i)
		store(v.Sub(dead.within(v)), mx, i)
		v = load(my, i)
		store(v.Add(more.within(v)), my, i)
		v = load(fy, i)
		store(by.Div(v.MulAdd(v, every(suppression))).Add(least).Mul(load(fx, i)), fx, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideSplitHigh is the loop of splitHigh.
func wideSplitHigh(h, u *[2][]float32, fx, fy, textured []float32) int {
	if !wide {
		return 0
	}
	hx, hy, ux, uy := h[0], h[1], u[0], u[1]
	dead, more, deadUltra := newLimit(highDead), newLimit(highMore), newLimit(ultraDead)
	most, mostUltra := newLimit(highMost), newLimit(ultraMost)
	start, zero := every(textureStart), every(textureZero)
	i := 0
	for ; i+lanes <= len(hx); i += lanes {
		v := load(hx, i)
		fine := load(fx, i).Sub(v)
		fine = fine.Sub(deadUltra.within(fine))
		v = v.Sub(dead.within(v))
		store(fine, ux, i)
		store(v, hx, i)
		x := fine.Add(v).Mul(every(textureX))
		v = most.wideCompress(load(hy, i))
		fine = mostUltra.wideCompress(load(fy, i).Sub(v)).Mul(every(ultraY))
		v = v.Mul(every(highY))
		v = v.Add(more.within(v))
		store(fine, uy, i)
		store(v, hy, i)
		y := fine.Add(v).Mul(every(textureY))
		amount := x.MulAdd(x, y.Mul(y)).Sqrt()
		store(amount.MulAdd(every(textureMul), start).Sqrt().Sub(zero), textured, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideCompress is compress.
func (l limit) wideCompress(v vector) vector {
	inside := l.within(v)
	return v.Sub(inside).MulAdd(every(beyond), inside)
}
