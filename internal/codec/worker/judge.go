package worker

import (
	"safelight/internal/encoder/jxl"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/metric"
	"safelight/internal/plan"
	"safelight/internal/quality"
	"safelight/internal/vips"
)

// judged bounds how many frames of an animation are compared.
const judged = 5

// judge scores encoded files against the frames that they are made of.
type judge struct {
	targets     quality.Targets
	frames      []int          // of the animation, those that are compared
	originals   []metric.Image // of these
	references  []*metric.Reference
	butteraugli *jxl.Library // nil where there is none
	distances   []float32    // of the last frame that butteraugli compared, one a pixel, if they are wanted
	wantMap     bool
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
func newJudge(p *picture, targets quality.Targets, butteraugli *jxl.Library) (*judge, error) {
	j := &judge{targets: targets, butteraugli: butteraugli}
	n := len(p.frames)
	if targets.Butteraugli > 0 && (butteraugli == nil || !butteraugli.HasButteraugli()) {
		return nil, fault.New(fault.Unsupported, "a target for butteraugli needs libjxl 0.7, which is not there")
	}
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
		j.frames, j.originals, j.references = append(j.frames, at), append(j.originals, original), append(j.references, reference)
	}
	return j, nil
}

// score decodes an encoded file and compares it. Of an animation the scores
// are those of the worst frame. Butteraugli is measured where a target or a map
// needs it, and the first target is not missed already.
func (j *judge) score(encoded []byte, f format.Format) (quality.Scores, error) {
	frames, err := j.decode(encoded, f)
	if err != nil {
		return quality.Scores{}, err
	}
	worst := quality.Scores{SSIMULACRA2: 100}
	for i, frame := range frames {
		s, err := j.references[i].Score(frame)
		if err != nil {
			return worst, err
		}
		worst.SSIMULACRA2 = min(worst.SSIMULACRA2, s)
	}
	wanted := j.targets.Butteraugli > 0 && worst.SSIMULACRA2 >= j.targets.SSIMULACRA2-hopeless || j.wantMap
	for i, frame := range frames {
		if !wanted {
			break
		}
		d, err := j.distance(i, frame)
		if err != nil {
			return worst, err
		}
		worst.Butteraugli = max(worst.Butteraugli, d)
	}
	return worst, nil
}

// hopeless is how many points under its target SSIMULACRA2 must be for
// butteraugli not to matter any more.
const hopeless = 1.5

// maps tells whether there is a map of distances for an encoder to go by.
func (j *judge) maps() bool {
	return j.butteraugli != nil && j.butteraugli.HasButteraugli() && min(j.originals[0].W, j.originals[0].H) >= leastSide
}

// distance is butteraugli's 3-norm between an original and a frame.
func (j *judge) distance(at int, frame metric.Image) (float64, error) {
	original, dist := onGrey(j.originals[at]), onGrey(frame)
	if !j.wantMap {
		d, err := j.butteraugli.Butteraugli(original, dist)
		return d.P3, err
	}
	d, err := j.butteraugli.ButteraugliMap(original, dist)
	j.distances = d.Map
	return d.P3, err
}

// leastSide is what butteraugli needs of a side.
const leastSide = 8

// onGrey is a picture in three bands: grey is repeated, what is transparent lies
// on mid grey, and a short side is drawn out.
func onGrey(m metric.Image) jxl.Pixels {
	if m.Bands == 3 && min(m.W, m.H) >= leastSide {
		return jxl.Pixels{W: m.W, H: m.H, Bands: 3, Pix: m.Pix}
	}
	w, h := max(m.W, leastSide), max(m.H, leastSide)
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
	return jxl.Pixels{W: w, H: h, Bands: 3, Pix: out}
}

// decode reads the frames that are compared back out of a file.
func (j *judge) decode(encoded []byte, f format.Format) ([]metric.Image, error) {
	q := newPicture(Files{Source: -1, Overlay: -1, Output: -1})
	defer q.close()
	source, err := q.scope.SourceBytes(encoded)
	if err != nil {
		return nil, err
	}
	pages := 1
	if j.frames[len(j.frames)-1] > 0 {
		pages = -1
	}
	roll, err := q.read(plan.Load{Format: f}, source, pages)
	if err != nil {
		return nil, err
	}
	if err := q.split(roll, 0); err != nil {
		return nil, err
	}
	if len(q.frames) <= j.frames[len(j.frames)-1] {
		return nil, fault.New(fault.Unprocessable, "the encoded animation has %d frames; expected more", len(q.frames))
	}
	out := make([]metric.Image, len(j.frames))
	for i, at := range j.frames {
		frame, err := q.srgb(q.frames[at])
		if err != nil {
			return nil, err
		}
		if out[i], err = raster(frame); err != nil {
			return nil, err
		}
	}
	return out, nil
}
