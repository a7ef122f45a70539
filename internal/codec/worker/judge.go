package worker

import (
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/metric"
	"safelight/internal/metric/butteraugli"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/vips"
)

// judged bounds how many frames of an animation are compared.
const judged = 5

// judge scores encoded files against the frames that they are made of.
type judge struct {
	targets quality.Targets
	frames  []compared // of an animation, some
	whole   bool       // butteraugli is measured, whether or not a target needs it
}

// compared is a frame that results are compared with.
type compared struct {
	at          int // in the animation
	original    metric.Image
	ssimulacra2 *metric.Reference
	butteraugli *butteraugli.Reference // nil until it is needed
}

var errDepth = fault.New(fault.Unprocessable, "a picture of more than 8 bits a sample, or more than four samples a pixel, can't be compared")

// raster computes a picture's samples, which must be 8 bit.
func raster(i *vips.Image) (metric.Image, error) {
	pix, err := i.Bytes()
	if err != nil {
		return metric.Image{}, err
	}
	m := metric.Image{W: i.Width(), H: i.Height(), Bands: i.Bands(), Pix: pix}
	if i.Format() != vips.Uchar || m.Bands > 4 || len(pix) != m.W*m.H*m.Bands {
		return metric.Image{}, errDepth
	}
	return m, nil
}

// newJudge prepares the comparison with a picture's frames, which must be held.
func newJudge(p *picture, targets quality.Targets) (*judge, error) {
	j := &judge{targets: targets}
	n := len(p.frames)
	for k := range min(n, judged) {
		at := 0
		if n > 1 {
			at = k * (n - 1) / (min(n, judged) - 1)
		}
		original, err := raster(p.frames[at])
		if err != nil {
			return nil, err
		}
		reference, err := metric.Prepare(original)
		if err != nil {
			return nil, err
		}
		j.frames = append(j.frames, compared{at: at, original: original, ssimulacra2: reference})
	}
	return j, nil
}

// hopeless is how many points under its target SSIMULACRA2 must be for
// butteraugli not to matter any more.
const hopeless = 1.5

// score decodes an encoded file and compares it. Of an animation the scores
// are those of the worst frame. Butteraugli is measured where a target needs it
// and the other is not missed already, or where it is wanted.
func (j *judge) score(encoded []byte, f format.Format) (quality.Scores, error) {
	frames, err := j.decode(encoded, f)
	if err != nil {
		return quality.Scores{}, err
	}
	worst := quality.Scores{SSIMULACRA2: 100}
	for i, frame := range frames {
		s, err := j.frames[i].ssimulacra2.Score(frame)
		if err != nil {
			return worst, err
		}
		worst.SSIMULACRA2 = min(worst.SSIMULACRA2, s)
	}
	if !j.whole && (j.targets.Butteraugli == 0 || worst.SSIMULACRA2 < j.targets.SSIMULACRA2-hopeless) {
		return worst, nil
	}
	for i, frame := range frames {
		d, err := j.frames[i].distance(frame)
		if err != nil {
			return worst, err
		}
		worst.Butteraugli = max(worst.Butteraugli, d)
	}
	return worst, nil
}

// distance is butteraugli's 3-norm between the original and a frame.
func (c *compared) distance(frame metric.Image) (float64, error) {
	if c.butteraugli == nil {
		var err error
		if c.butteraugli, err = butteraugli.Prepare(onGrey(c.original)); err != nil {
			return 0, err
		}
	}
	d, err := c.butteraugli.Distance(onGrey(frame))
	return d.P3, err
}

// distances are those of each pixel in the last comparison; nil where the
// picture is too small to have some.
func (j *judge) distances() []float32 {
	c := j.frames[0]
	if c.butteraugli == nil || min(c.original.W, c.original.H) < butteraugli.MinSide {
		return nil
	}
	return c.butteraugli.Map()
}

// onGrey is a picture in three bands: grey is repeated, what is transparent lies
// on mid grey, and a short side is drawn out.
func onGrey(m metric.Image) metric.Image {
	if m.Bands == 3 && min(m.W, m.H) >= butteraugli.MinSide {
		return m
	}
	w, h := max(m.W, butteraugli.MinSide), max(m.H, butteraugli.MinSide)
	out := make([]uint8, w*h*3)
	for i := range w * h {
		at := min(i/w, m.H-1)*m.W + min(i%w, m.W-1)
		p := m.Pix[at*m.Bands : (at+1)*m.Bands]
		alpha := 255
		if m.Bands%2 == 0 {
			alpha = int(p[m.Bands-1])
		}
		for c := range 3 {
			v := int(p[min(c, (m.Bands-1)/2*2)])
			out[i*3+c] = uint8((v*alpha + 128*(255-alpha) + 127) / 255)
		}
	}
	return metric.Image{W: w, H: h, Bands: 3, Pix: out}
}

// decode reads the frames that are compared back out of a file.
func (j *judge) decode(encoded []byte, f format.Format) ([]metric.Image, error) {
	q := newPicture(Files{Source: -1, Overlay: -1, Output: -1})
	defer q.close()
	source, err := q.scope.SourceBytes(encoded)
	if err != nil {
		return nil, err
	}
	pages, last := 1, j.frames[len(j.frames)-1].at
	if last > 0 {
		pages = -1
	}
	roll, err := q.read(plan.Load{Format: f}, source, pages)
	if err != nil {
		return nil, err
	}
	if err := q.split(roll, 0); err != nil {
		return nil, err
	}
	if len(q.frames) <= last {
		return nil, fault.New(fault.Unprocessable, "the encoded animation has %d frames; expected more", len(q.frames))
	}
	out := make([]metric.Image, len(j.frames))
	for i, c := range j.frames {
		frame, err := q.srgb(q.frames[c.at])
		if err != nil {
			return nil, err
		}
		if out[i], err = raster(frame); err != nil {
			return nil, err
		}
	}
	return out, nil
}
