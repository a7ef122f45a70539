//go:build goexperiment.simd && amd64

package metric

import "simd/archsimd"

// The inner loops, eight pixels at a time where the processor can. Each does
// as many pixels as fit and returns how far it came; the plain loop after it
// does the rest, with the same roundings in the same order.

// lanes is how many pixels a vector holds.
const lanes = 8

var wide = archsimd.X86.AVX2() && archsimd.X86.FMA()

type vector = archsimd.Float32x8

func load(row []float32, at int) vector { return archsimd.LoadFloat32x8((*[lanes]float32)(row[at:])) }

func store(v vector, row []float32, at int) { v.Store((*[lanes]float32)(row[at:])) }

func every(x float32) vector { return archsimd.BroadcastFloat32x8(x) }

// wideXYB is the loop of xybRow.
func wideXYB(r, g, b []float32) int {
	if !wide {
		return 0
	}
	half, spread := every(0.5), every(xSpread)
	offsetX, offsetY, offsetB := every(xOffset), every(yOffset), every(bOffset)
	i := 0
	for ; i+lanes <= len(r); i += lanes {
		red, green, blue := load(r, i), load(g, i), load(b, i)
		l := wideCone(&cones[0], red, green, blue)
		m := wideCone(&cones[1], red, green, blue)
		s := wideCone(&cones[2], red, green, blue)
		x, y := half.Mul(l.Sub(m)), half.Mul(l.Add(m))
		store(x.Mul(spread).Add(offsetX), r, i)
		store(y.Add(offsetY), g, i)
		store(s.Sub(y).Add(offsetB), b, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

func wideCone(mix *[3]float32, red, green, blue vector) vector {
	x := every(mix[2]).MulAdd(blue, every(coneBias))
	x = every(mix[1]).MulAdd(green, x)
	x = every(mix[0]).MulAdd(red, x)
	// As cubeRoot.
	third, fourThirds := every(1.0/3), every(4.0/3)
	exponent := x.AsInt32x8().ShiftAllRight(23)
	r := archsimd.BroadcastInt32x8(rootBias).Sub(exponent.Mul(archsimd.BroadcastInt32x8(rootSlope))).AsFloat32x8()
	minus := every(-1).Mul(x)
	minusThird := third.Mul(minus)
	for range 3 {
		rr := r.Mul(r)
		r = minusThird.MulAdd(rr.Mul(rr), fourThirds.Mul(r))
	}
	rr := r.Mul(r)
	r = third.MulAdd(minus.MulAdd(rr.Mul(rr), r), r)
	return r.Mul(r).MulAdd(x, every(coneBlack))
}

// wideHalve is the loop of halve.
func wideHalve(dst, above, below []float32) int {
	if !wide {
		return 0
	}
	quarter := every(0.25)
	i := 0
	for ; 2*(i+lanes) <= len(above) && i+lanes <= len(dst); i += lanes {
		a, b := apart(above[2*i:])
		c, d := apart(below[2*i:])
		store(a.Add(b).Add(c).Add(d).Mul(quarter), dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// apart takes sixteen pixels apart into those at even and at odd places.
func apart(row []float32) (even, odd vector) {
	row = row[:2*lanes]
	x := quads(row, row[8:], 0)
	y := quads(row, row[8:], 4)
	return x.SelectFromPairGrouped(0, 2, 4, 6, y), x.SelectFromPairGrouped(1, 3, 5, 7, y)
}

// quads loads four pixels of each of two rows.
func quads(a, b []float32, at int) vector {
	var v vector
	return v.SetLo(archsimd.LoadFloat32x4((*[4]float32)(a[at:]))).SetHi(archsimd.LoadFloat32x4((*[4]float32)(b[at:])))
}

// wideDown is the loop of blurDown.
func wideDown(dst, top, bottom []float32, last, before *[3][]float32) int {
	if !wide {
		return 0
	}
	n := len(dst)
	top, bottom = top[:n], bottom[:n]
	l0, l1, l2 := last[0][:n], last[1][:n], last[2][:n]
	b0, b1, b2 := before[0][:n], before[1][:n], before[2][:n]
	in0, in1, in2 := every(gauss.input[0]), every(gauss.input[1]), every(gauss.input[2])
	by0, by1, by2 := every(gauss.last[0]), every(gauss.last[1]), every(gauss.last[2])
	zero := every(0)
	i := 0
	for ; i+lanes <= n; i += lanes {
		x := load(top, i).Add(load(bottom, i))
		y0 := in0.MulAdd(x, zero.Sub(by0.MulAdd(load(l0, i), load(b0, i))))
		y1 := in1.MulAdd(x, zero.Sub(by1.MulAdd(load(l1, i), load(b1, i))))
		y2 := in2.MulAdd(x, zero.Sub(by2.MulAdd(load(l2, i), load(b2, i))))
		store(y0, b0, i)
		store(y1, b1, i)
		store(y2, b2, i)
		store(y0.Add(y1.Add(y2)), dst, i)
	}
	archsimd.ClearAVXUpperBits()
	return i
}

// steps are the factors of recursion.four for two rows: inputs[k][j] are those
// of input j in each output, zero in the outputs before it.
var steps = newSteps()

type stepFactors struct {
	inputs       [3][4][lanes]float32
	last, before [3][lanes]float32
}

func newSteps() (s stepFactors) {
	for k := range 3 {
		for i := range lanes {
			s.last[k][i], s.before[k][i] = gauss.stepLast[k][i%4], gauss.stepBefore[k][i%4]
			for j := 0; j <= i%4; j++ {
				s.inputs[k][j][i] = gauss.stepInput[k][i%4-j]
			}
		}
	}
	return s
}

// wideAcross makes four outputs of each of two rows at a time, like
// recursion.four.
func wideAcross(dst, src *[2][]float32, from int, state *[2]recursion) int {
	if !wide {
		return from
	}
	n := len(dst[0])
	a, b := src[0][:n], src[1][:n]
	outA, outB := dst[0][:n], dst[1][:n]
	last0, before0 := pick(state, 0)
	last1, before1 := pick(state, 1)
	last2, before2 := pick(state, 2)
	at := from
	for ; at < n-7; at += 4 {
		x := quads(a, b, at-radius-1).Add(quads(a, b, at+ahead))
		x0 := x.SelectFromPairGrouped(0, 0, 0, 0, x)
		x1 := x.SelectFromPairGrouped(1, 1, 1, 1, x)
		x2 := x.SelectFromPairGrouped(2, 2, 2, 2, x)
		x3 := x.SelectFromPairGrouped(3, 3, 3, 3, x)
		y0 := wideStep(0, x0, x1, x2, x3, last0, before0)
		y1 := wideStep(1, x0, x1, x2, x3, last1, before1)
		y2 := wideStep(2, x0, x1, x2, x3, last2, before2)
		before0, last0 = y0.SelectFromPairGrouped(2, 2, 2, 2, y0), y0.SelectFromPairGrouped(3, 3, 3, 3, y0)
		before1, last1 = y1.SelectFromPairGrouped(2, 2, 2, 2, y1), y1.SelectFromPairGrouped(3, 3, 3, 3, y1)
		before2, last2 = y2.SelectFromPairGrouped(2, 2, 2, 2, y2), y2.SelectFromPairGrouped(3, 3, 3, 3, y2)
		y := y0.Add(y1.Add(y2))
		y.GetLo().Store((*[4]float32)(outA[at:]))
		y.GetHi().Store((*[4]float32)(outB[at:]))
	}
	put(state, 0, last0, before0)
	put(state, 1, last1, before1)
	put(state, 2, last2, before2)
	archsimd.ClearAVXUpperBits()
	return at
}

// wideStep is recursion k's part of a step.
func wideStep(k int, x0, x1, x2, x3, last, before vector) vector {
	in := &steps.inputs[k]
	y := x0.Mul(archsimd.LoadFloat32x8(&in[0]))
	y = archsimd.LoadFloat32x8(&in[1]).MulAdd(x1, y)
	y = archsimd.LoadFloat32x8(&in[2]).MulAdd(x2, y)
	y = archsimd.LoadFloat32x8(&in[3]).MulAdd(x3, y)
	y = archsimd.LoadFloat32x8(&steps.before[k]).MulAdd(before, y)
	return archsimd.LoadFloat32x8(&steps.last[k]).MulAdd(last, y)
}

// pick spreads the state of recursion k over the four outputs of each row.
func pick(state *[2]recursion, k int) (last, before vector) {
	var v vector
	four := func(x float32) archsimd.Float32x4 { return archsimd.BroadcastFloat32x4(x) }
	return v.SetLo(four(state[0].last[k])).SetHi(four(state[1].last[k])),
		v.SetLo(four(state[0].before[k])).SetHi(four(state[1].before[k]))
}

func put(state *[2]recursion, k int, last, before vector) {
	var l, b [lanes]float32
	last.Store(&l)
	before.Store(&b)
	for row := range state {
		state[row].last[k], state[row].before[k] = l[4*row], b[4*row]
	}
}

// wideSSIM is the loop of norms.addSSIM.
func wideSSIM(meanA, varA, meanB, squares, products []float32) (i int, sum, fourth float32) {
	if !wide {
		return 0, 0, 0
	}
	zero, one, two, c := every(0), every(1), every(2), every(contrast)
	sums, fourths := zero, zero
	for ; i+lanes <= len(meanA); i += lanes {
		a, b := load(meanA, i), load(meanB, i)
		apart := a.Sub(b)
		close := one.Sub(apart.Mul(apart))
		shared := two.Mul(load(products, i).Sub(a.Mul(b))).Add(c)
		spread := load(varA, i).Add(load(squares, i).Sub(b.Mul(b))).Add(c)
		e := one.Sub(close.Mul(shared).Div(spread)).Max(zero)
		sums = sums.Add(e)
		e = e.Mul(e)
		fourths = e.MulAdd(e, fourths)
	}
	sum, fourth = total(sums), total(fourths)
	archsimd.ClearAVXUpperBits()
	return i, sum, fourth
}

// wideEdges is the loop of norms.addEdges.
func wideEdges(a, meanA, b, meanB []float32) (i int, sums [4]float32) {
	if !wide {
		return 0, sums
	}
	zero, one, positive := every(0), every(1), archsimd.BroadcastInt32x8(1<<31-1)
	more1, less1, more4, less4 := zero, zero, zero, zero
	for ; i+lanes <= len(a); i += lanes {
		edge := load(a, i).Sub(load(meanA, i)).AsInt32x8().And(positive).AsFloat32x8()
		other := load(b, i).Sub(load(meanB, i)).AsInt32x8().And(positive).AsFloat32x8()
		e := other.Sub(edge).Div(one.Add(edge))
		more, less := e.Max(zero), zero.Sub(e).Max(zero)
		more1, less1 = more1.Add(more), less1.Add(less)
		more, less = more.Mul(more), less.Mul(less)
		more4, less4 = more.MulAdd(more, more4), less.MulAdd(less, less4)
	}
	sums = [4]float32{total(more1), total(less1), total(more4), total(less4)}
	archsimd.ClearAVXUpperBits()
	return i, sums
}

func total(v vector) (sum float32) {
	var each [lanes]float32
	v.Store(&each)
	for _, x := range each {
		sum += x
	}
	return sum
}
