package codec

import (
	"bytes"
	"context"
	"image"
	"image/draw"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/plan"
)

func transcodeJob(to string) plan.Job { return plan.Job{Transcode: &plan.Transcode{To: to}} }

func needTranscoding(t testing.TB, p *Pool) {
	t.Helper()
	if !slices.Contains(p.Info().Features, "jpeg-xl-transcoding") {
		t.Skip("no libjxl")
	}
}

// bytesOf runs a job and reads its result.
func bytesOf(t testing.TB, p *Pool, class Class, job plan.Job, source []byte) ([]byte, error) {
	t.Helper()
	out, err := p.Run(context.Background(), class, job, file(t, source))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	b, err := io.ReadAll(out.File)
	if err != nil || int64(len(b)) != out.Bytes {
		t.Fatal(len(b), out.Bytes, err)
	}
	return b, nil
}

func TestTranscode(t *testing.T) {
	p := openPool(t, testConfig())
	needTranscoding(t, p)
	t.Logf("%+v", p.Info())
	source := photo(t, 1500, 1200)
	for _, class := range []Class{Interactive, Background} {
		small, err := bytesOf(t, p, class, transcodeJob(plan.ToJXL), source)
		if err != nil || len(small) >= len(source) {
			t.Fatal(len(small), len(source), err)
		}
		back, err := bytesOf(t, p, class, transcodeJob(plan.ToJPEG), small)
		if err != nil || !bytes.Equal(back, source) {
			t.Error(len(back), len(source), err)
		}
	}
	if s := p.Stats(); s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTranscodeRefuses(t *testing.T) {
	p := openPool(t, testConfig())
	needTranscoding(t, p)
	source := photo(t, 320, 200)
	small, err := bytesOf(t, p, Background, transcodeJob(plan.ToJXL), source)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(small)
	for i := len(damaged) / 2; i < len(damaged)/2+40; i++ {
		damaged[i] ^= 0xff
	}
	const unprocessable = fault.Unprocessable
	for name, c := range map[string]struct {
		to     string
		source []byte
		kind   fault.Kind
		code   string
	}{
		"a truncated JPEG":     {plan.ToJXL, source[:len(source)/2], unprocessable, "not-reversible"},
		"a JPEG without end":   {plan.ToJXL, source[:len(source)-2], unprocessable, "not-reversible"},
		"only the magic":       {plan.ToJXL, source[:3], unprocessable, "not-reversible"},
		"text":                 {plan.ToJXL, []byte("no picture"), unprocessable, "undecodable-image"},
		"nothing":              {plan.ToJXL, nil, unprocessable, "undecodable-image"},
		"a JPEG XL to JPEG XL": {plan.ToJXL, small, unprocessable, "undecodable-image"},
		"a damaged JPEG XL":    {plan.ToJPEG, damaged, unprocessable, "undecodable-image"},
		"half a JPEG XL":       {plan.ToJPEG, small[:len(small)/2], unprocessable, "undecodable-image"},
		"a JPEG to JPEG":       {plan.ToJPEG, source, unprocessable, "undecodable-image"},
		"to nothing":           {"", source, fault.Invalid, ""},
		"to PNG":               {"png", source, fault.Invalid, ""},
	} {
		_, err := bytesOf(t, p, Background, transcodeJob(c.to), c.source)
		if fault.Of(err) != c.kind || fault.As(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustRender(t, p)
	if s := p.Stats(); s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

// A damaged file of any kind costs its own job at most.
func TestTranscodeDamaged(t *testing.T) {
	p := openPool(t, testConfig())
	needTranscoding(t, p)
	source := photo(t, 64, 48)
	small, err := bytesOf(t, p, Background, transcodeJob(plan.ToJXL), source)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(small); i += 1 + len(small)/100 {
		damaged := slices.Clone(small)
		damaged[i] ^= 0x55
		back, err := bytesOf(t, p, Background, transcodeJob(plan.ToJPEG), damaged)
		if kind := fault.Of(err); err != nil && kind != fault.Unprocessable && kind != fault.TooLarge {
			t.Errorf("byte %d: %v", i, err)
		}
		_ = back // may differ from the JPEG: who restores compares digests
	}
	mustRender(t, p)
}

// grain is a JPEG that nothing makes small.
func grain(t testing.TB, w, h int) []byte {
	t.Helper()
	m := image.NewGray16(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
	}
	rgb := image.NewRGBA(m.Rect)
	draw.Draw(rgb, rgb.Rect, m, image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, rgb, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTranscodeLimits(t *testing.T) {
	cfg := single()
	cfg.OutputBytes = 64 << 10
	p := openPool(t, cfg)
	needTranscoding(t, p)
	for range 2 {
		if _, err := bytesOf(t, p, Background, transcodeJob(plan.ToJXL), grain(t, 400, 300)); fault.Of(err) != fault.TooLarge {
			t.Error("to JPEG XL:", err)
		}
	}
	mustRender(t, p)
	wide := openPool(t, testConfig())
	small, err := bytesOf(t, wide, Background, transcodeJob(plan.ToJXL), grain(t, 400, 300))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bytesOf(t, p, Background, transcodeJob(plan.ToJPEG), small); fault.Of(err) != fault.TooLarge {
		t.Error("to JPEG:", err)
	}
	if s := p.Stats(); s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTranscodeAllowance(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/source")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
	cfg, job := DefaultConfig(), transcodeJob(plan.ToJXL)
	if cpu, wall := cfg.allowance(Background, &job, int(f.Fd())); cpu != 150*time.Second || wall != 600*time.Second {
		t.Error(cpu, wall)
	}
	if cpu, _ := cfg.allowance(Interactive, &job, int(f.Fd())); cpu != cfg.CPUInteractive {
		t.Error(cpu)
	}
}
