package main

import (
	"runtime"

	"golang.org/x/sys/unix"

	"safelight/internal/encoder/jxl"
	"safelight/internal/format"
	"safelight/internal/metric"
	"safelight/internal/metric/butteraugli"
	"safelight/internal/quality"
)

// judge scores files against one photograph.
type judge struct {
	*lane
	photo     *photo
	reference *metric.Reference
	own       *butteraugli.Reference
	costs     costs
}

// costs are the processor seconds that measuring took.
type costs struct {
	prepare, prepareOwn     float64 // SSIMULACRA2, and butteraugli in Go
	score, butteraugli, own float64 // of all comparisons: butteraugli by libjxl, and in Go
	scored, butteraugled    int     // how many
}

func (l *lane) judge(p *photo) (*judge, error) {
	j := &judge{lane: l, photo: p}
	var err error
	j.costs.prepare = thread(func() { j.reference, err = metric.Prepare(p.pixels) })
	if err == nil {
		j.costs.prepareOwn = thread(func() { j.own, err = butteraugli.Prepare(p.pixels) })
	}
	return j, err
}

// scores decodes a file and compares it, with butteraugli where both are wanted.
func (j *judge) scores(data []byte, f format.Format, both bool) (quality.Scores, error) {
	decoded, err := j.decode(data, f)
	if err != nil {
		return quality.Scores{}, err
	}
	var s quality.Scores
	j.costs.score += thread(func() { s.SSIMULACRA2, err = j.reference.Score(decoded) })
	j.costs.scored++
	if err != nil || !both {
		return s, err
	}
	var d jxl.Distance
	j.costs.butteraugli += thread(func() { d, err = j.butteraugli.Butteraugli(pixels(j.photo.pixels), pixels(decoded)) })
	j.costs.own += thread(func() { _, _ = j.own.Distance(decoded) }) // for its time alone
	j.costs.butteraugled++
	s.Butteraugli = d.P3
	return s, err
}

func pixels(m metric.Image) jxl.Pixels { return jxl.Pixels{W: m.W, H: m.H, Bands: m.Bands, Pix: m.Pix} }

// thread is the processor seconds of something that starts no goroutines.
func thread(do func()) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := usage(unix.RUSAGE_THREAD)
	do()
	return usage(unix.RUSAGE_THREAD) - before
}

func usage(who int) float64 {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
