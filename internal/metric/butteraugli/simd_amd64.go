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

// all is for constants inside of a loop: numbers that are spread there get
// spilled by other instructions than vectors, and mixing the two is slow.
func (s *splat) all() vector { return archsimd.LoadFloat32x8((*[lanes]float32)(s)) }

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
func wideConvolve(dst, src []float32, taps []splat) int {
	if !wide {
		return 0
	}
	middle := taps[0].all()
	sides := taps[1:]
	i := 0
	for ; i+block <= len(dst); i += block {
		a, b, c, d := four(src, i+pad)
		a, b, c, d = a.Mul(middle), b.Mul(middle), c.Mul(middle), d.Mul(middle)
		for t := range sides {
			by := sides[t].all()
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
		for t := range sides {
			a = load(src, i+pad-1-t).Add(load(src, i+pad+1+t)).MulAdd(sides[t].all(), a)
		}
		store(a, dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideCombine is combine for all columns.
func wideCombine(dst, centre []float32, pairs []pair, taps []splat) int {
	if !wide {
		return 0
	}
	middle := taps[0].all()
	sides := taps[1:]
	pairs = pairs[:len(sides)]
	i := 0
	for ; i+block <= len(dst); i += block {
		a, b, c, d := four(centre, i)
		a, b, c, d = a.Mul(middle), b.Mul(middle), c.Mul(middle), d.Mul(middle)
		for t := range pairs {
			by := sides[t].all()
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
			a = load(pairs[t].above, i).Add(load(pairs[t].below, i)).MulAdd(sides[t].all(), a)
		}
		store(a, dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// The constants of wideRespond.
var (
	pigments = func() (p [3][4]splat) {
		for c := range p {
			for i := range p[c] {
				p[c][i] = newSplat(absorbance[c][i])
			}
		}
		return p
	}()
	logTerms = [6]splat{
		newSplat(logAbove[0]), newSplat(logAbove[1]), newSplat(logAbove[2]),
		newSplat(logBelow[0]), newSplat(logBelow[1]), newSplat(logBelow[2]),
	}
	gammaTerms = [4]splat{newSplat(gammaBias), newSplat(gammaMul), newSplat(gammaAdd), newSplat(least)}
	oneTerm    = newSplat(1)
)

// wideRespond is the loop of respond.
func wideRespond(xyb, rgb, soft *[3][]float32) int {
	if !wide {
		return 0
	}
	x, y, b := xyb[0], xyb[1], xyb[2]
	shift := archsimd.BroadcastInt32x8(twoThirds)
	i := 0
	for ; i+lanes <= len(x); i += lanes {
		red, green, blue := load(rgb[0], i), load(rgb[1], i), load(rgb[2], i)
		softRed, softGreen, softBlue := load(soft[0], i), load(soft[1], i), load(soft[2], i)
		l := wideAdapted(&pigments[0], red, green, blue, softRed, softGreen, softBlue, shift)
		m := wideAdapted(&pigments[1], red, green, blue, softRed, softGreen, softBlue, shift)
		s := wideAdapted(&pigments[2], red, green, blue, softRed, softGreen, softBlue, shift)
		store(l.Sub(m), x, i)
		store(l.Add(m), y, i)
		store(s, b, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

func wideAdapted(by *[4]splat, red, green, blue, softRed, softGreen, softBlue vector, shift archsimd.Int32x8) vector {
	dark := by[3].all()
	around := softRed.MulAdd(by[0].all(), softGreen.MulAdd(by[1].all(), softBlue.MulAdd(by[2].all(), dark)))
	// As log2.
	v := around.Add(gammaTerms[0].all())
	bits := v.AsInt32x8()
	exponent := bits.Sub(shift).ShiftAllRight(23)
	m := bits.Sub(exponent.ShiftAllLeft(23)).AsFloat32x8().Sub(oneTerm.all())
	above := logTerms[2].all().MulAdd(m, logTerms[1].all()).MulAdd(m, logTerms[0].all())
	below := logTerms[5].all().MulAdd(m, logTerms[4].all()).MulAdd(m, logTerms[3].all())
	log := above.Div(below).Add(exponent.ConvertToFloat32())
	adapted := log.MulAdd(gammaTerms[1].all(), gammaTerms[2].all()).Div(around).Max(gammaTerms[3].all())
	return red.MulAdd(by[0].all(), green.MulAdd(by[1].all(), blue.MulAdd(by[2].all(), dark))).Mul(adapted).Max(dark)
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
	out, mulX, mulY, mulB := every(lowYOutOfB), every(lowX), every(lowY), every(lowB)
	i := 0
	for ; i+lanes <= len(x); i += lanes {
		v := load(y, i)
		store(out.MulAdd(v, load(b, i)).Mul(mulB), b, i)
		store(load(x, i).Mul(mulX), x, i)
		store(v.Mul(mulY), y, i)
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
	most, by, least := every(suppression), every(suppression*(1-unsuppress)), every(unsuppress)
	i := 0
	for ; i+lanes <= len(mx); i += lanes {
		v := load(mx, i)
		store(v.Sub(dead.within(v)), mx, i)
		v = load(my, i)
		store(v.Add(more.within(v)), my, i)
		v = load(fy, i)
		store(by.Div(v.MulAdd(v, most)).Add(least).Mul(load(fx, i)), fx, i)
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
	terms := [...]splat{
		newSplat(textureX), newSplat(textureY), newSplat(textureMul), newSplat(textureStart), newSplat(textureZero),
		newSplat(ultraY), newSplat(highY), newSplat(beyond),
	}
	i := 0
	for ; i+lanes <= len(hx); i += lanes {
		v := load(hx, i)
		fine := load(fx, i).Sub(v)
		fine = fine.Sub(deadUltra.within(fine))
		v = v.Sub(dead.within(v))
		store(fine, ux, i)
		store(v, hx, i)
		x := fine.Add(v).Mul(terms[0].all())
		v = most.wideCompress(load(hy, i), &terms[7])
		fine = mostUltra.wideCompress(load(fy, i).Sub(v), &terms[7]).Mul(terms[5].all())
		v = v.Mul(terms[6].all())
		v = v.Add(more.within(v))
		store(fine, uy, i)
		store(v, hy, i)
		y := fine.Add(v).Mul(terms[1].all())
		amount := x.MulAdd(x, y.Mul(y)).Sqrt()
		store(amount.MulAdd(terms[2].all(), terms[3].all()).Sqrt().Sub(terms[4].all()), textured, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// wideCompress is compress.
func (l limit) wideCompress(v vector, by *splat) vector {
	inside := l.within(v)
	return v.Sub(inside).MulAdd(by.all(), inside)
}
