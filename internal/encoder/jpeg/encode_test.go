package jpeg

import (
	"bytes"
	"math"
	"os/exec"
	"slices"
	"testing"
)

// psnr compares decoded luma with the picture's own.
func psnr(t testing.TB, pix []uint8, w, h, bands int, file []byte) float64 {
	t.Helper()
	planes, strides := planesOf(decode(t, file))
	want := split(pix, w, h, bands, S444)[0]
	sum := 0.0
	for y := range h {
		for x := range w {
			d := float64(planes[0][y*strides[0]+x]) - 128 - float64(want.samples[y*want.stride+x])
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255/(sum/float64(w*h)+1e-9))
}

func TestSameSettingsSameBytes(t *testing.T) {
	t.Parallel()
	pix := scene(3, 97, 61, 3)
	p := analyse(t, pix, 97, 61, 3, S420)
	first := p.Encode(nil, Settings{Scale: 3})
	p.Encode(nil, Settings{Scale: 20, Weights: slices.Repeat([]float32{2}, 13*8)})
	if again := p.Encode([]byte("before"), Settings{Scale: 3}); !bytes.Equal(again, append([]byte("before"), first...)) {
		t.Error("the same settings after others, appended, give other bytes")
	}
	if other := analyse(t, pix, 97, 61, 3, S420).Encode(nil, Settings{Scale: 3}); !bytes.Equal(other, first) {
		t.Error("the same picture analysed again gives other bytes")
	}
}

func TestLargerScaleSmallerFile(t *testing.T) {
	t.Parallel()
	const w, h = 240, 160
	pix := photoLike(w, h)
	p := analyse(t, pix, w, h, 3, S444)
	before, worst := math.MaxInt, 99.0
	for scale := 0.5; scale < 60; scale *= 1.15 {
		file := p.Encode(nil, Settings{Scale: scale})
		if float64(len(file)) > 1.01*float64(before) {
			t.Errorf("scale %.2f takes %d bytes; the scale before took %d", scale, len(file), before)
		}
		got := psnr(t, pix, w, h, 3, file)
		if got > worst+0.3 {
			t.Errorf("scale %.2f has a PSNR of %.2f dB; the scale before had %.2f", scale, got, worst)
		}
		before, worst = len(file), got
	}
	if worst < 20 {
		t.Errorf("at the largest scale the PSNR is %.1f dB; want at least 20", worst)
	}
	for _, scale := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, -3, 1e9} {
		decode(t, p.Encode(nil, Settings{Scale: scale}))
	}
}

func TestChroma(t *testing.T) {
	t.Parallel()
	const w, h = 120, 80
	p := analyse(t, photoLike(w, h), w, h, 3, S444)
	plain := p.Encode(nil, Settings{Scale: 4})
	if !bytes.Equal(plain, p.Encode(nil, Settings{Scale: 4, Chroma: 1})) {
		t.Error("a factor of 1 for chroma is not that of none")
	}
	luma := p.table[0]
	if n := len(p.Encode(nil, Settings{Scale: 4, Chroma: 2})); n >= len(plain) || p.table[0] != luma {
		t.Errorf("a factor of 2 for chroma takes %d bytes, and 1 takes %d", n, len(plain))
	}
	for _, c := range []float64{math.NaN(), math.Inf(1), -1, 1e-9} {
		decode(t, p.Encode(nil, Settings{Scale: 4, Chroma: c}))
	}
}

func TestWeightsKeepDetail(t *testing.T) {
	t.Parallel()
	const w, h = 128, 64
	p := analyse(t, photoLike(w, h), w, h, 3, S444)
	across, down := p.Blocks()
	neutral := slices.Repeat([]float32{1}, across*down)
	plain := p.Encode(nil, Settings{Scale: 6})
	if !bytes.Equal(plain, p.Encode(nil, Settings{Scale: 6, Weights: neutral})) {
		t.Error("weights of 1 change the file")
	}
	if !bytes.Equal(plain, p.Encode(nil, Settings{Scale: 6, Weights: neutral[1:]})) {
		t.Error("weights of another length change the file")
	}
	side := func(e []float32) (left, right float32) {
		for b, v := range e {
			if b%across < across/2 {
				left += v
			} else {
				right += v
			}
		}
		return left, right
	}
	p.Encode(nil, Settings{Scale: 6})
	left, right := side(p.Errors())
	weights := slices.Clone(neutral)
	for b := range weights {
		if b%across < across/2 {
			weights[b] = 8
		}
	}
	p.Encode(nil, Settings{Scale: 6, Weights: weights})
	if l, r := side(p.Errors()); l > 0.97*left || math.Abs(float64(r/right-1)) > 0.03 {
		t.Errorf("eightfold weight on the left changes errors from %.0f, %.0f to %.0f, %.0f", left, right, l, r)
	}
}

func TestFeedbackFollowsDistance(t *testing.T) {
	t.Parallel()
	const w, h = 83, 45
	p := analyse(t, photoLike(w, h), w, h, 3, S420)
	distance := make([]float32, w*h)
	if p.Errors() != nil {
		t.Error("there are errors before anything was encoded")
	}
	for _, v := range p.Feedback(distance, nil) {
		if v != 1 {
			t.Fatalf("feedback on nothing gives a weight of %v; want 1", v)
		}
	}
	p.Encode(nil, Settings{Scale: 5})
	for i := range distance {
		distance[i] = 0.5
		if i%w >= w/2 {
			distance[i] = 2
		}
	}
	distance[0] = float32(math.NaN())
	weights := p.Feedback(distance, nil)
	across, down := p.Blocks()
	for y := range down {
		if l, r := weights[y*across+1], weights[y*across+across-2]; !(l < r) {
			t.Errorf("row %d: the weight is %v where the distance is small and %v where it is large", y, l, r)
		}
	}
	again := p.Feedback(distance, weights)
	for b, v := range again {
		if ratio := math.Log(float64(v / weights[b])); !(math.Abs(ratio) <= feedbackLimit+1e-4) {
			t.Errorf("block %d: weight %v after %v", b, v, weights[b])
		}
	}
	if short := p.Feedback(distance[1:], weights); !slices.Equal(short, weights) {
		t.Error("a map of another size changes the weights")
	}
}

func TestOtherDecoders(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"djpeg", "jpegtran"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not installed", name)
			continue
		}
		for _, kind := range kinds {
			p := analyse(t, scene(8, 211, 93, kind.bands), 211, 93, kind.bands, kind.s)
			for _, scale := range []float64{0.5, 3, 25} {
				cmd := exec.Command(path)
				cmd.Stdin = bytes.NewReader(p.Encode(nil, Settings{Scale: scale}))
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil || stderr.Len() > 0 || len(out) == 0 {
					t.Errorf("%s on %v at %v: %v %s", name, kind, scale, err, stderr.String())
				}
			}
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(uint16(17), uint16(9), true, false, 3.0, []byte{1, 2, 250})
	f.Add(uint16(64), uint16(70), false, true, 0.1, []byte{0, 255, 0, 3})
	f.Add(uint16(1), uint16(1), false, false, 60.0, []byte{})
	f.Fuzz(func(t *testing.T, w16, h16 uint16, grey, half bool, scale float64, data []byte) {
		w, h, bands, s := int(w16)%100+1, int(h16)%100+1, 3, S444
		if grey {
			bands = 1
		}
		if half {
			s = S420
		}
		pix := make([]uint8, w*h*bands)
		for i := range pix {
			if len(data) > 0 {
				pix[i] = data[i%len(data)] + uint8(i/len(data))*data[0]
			}
		}
		p := analyse(t, pix, w, h, bands, s)
		file := p.Encode(nil, Settings{Scale: scale})
		checkDecoded(t, p, file)
		if got := psnr(t, pix, w, h, bands, file); scale < 1 && got < 25 {
			t.Errorf("scale %v gives a PSNR of %.1f dB", scale, got)
		}
	})
}
