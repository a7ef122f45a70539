package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"safelight/internal/codec"
	"safelight/internal/encoder/jxl"
	"safelight/internal/format"
	"safelight/internal/metric"
	"safelight/internal/options"
	"safelight/internal/plan"
	"safelight/internal/quality"
)

// lane measures one photograph at a time, with a codec process of its own, so
// that the processor time of a job is the difference of the pool's.
type lane struct {
	dir         string
	pool        *codec.Pool
	butteraugli *jxl.Library
	jpegli      *jpegli // nil where there is none
}

// openLane makes a lane with a directory of its own. vips is the library that its
// codec process loads; "" is the system's.
func openLane(dir, vips, jpegliProgram string) (*lane, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	cfg := codec.DefaultConfig()
	cfg.Processes, cfg.Spares, cfg.VipsLibrary = 1, 0, vips
	pool, err := codec.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	l := &lane{dir: dir, pool: pool}
	if l.butteraugli, err = jxl.Open(""); err == nil && !l.butteraugli.HasButteraugli() {
		err = fmt.Errorf("butteraugli is needed, which libjxl %s lacks; 0.7 has it", l.butteraugli.Version())
	}
	if err == nil && jpegliProgram != "" {
		l.jpegli, err = startJpegli(jpegliProgram)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lane) close() {
	_ = l.pool.Close() // never fails
	if l.jpegli != nil {
		l.jpegli.stop()
	}
}

// versions says what is measured with.
func (l *lane) versions() string {
	info := l.pool.Info()
	said := []string{runtime.Version(), fmt.Sprintf("%d cores", runtime.NumCPU()), "libvips " + info.Libvips}
	for _, library := range info.Libraries {
		switch library.Name {
		case "jpeg", "webp", "heif", "aom", "jxl":
			said = append(said, "lib"+library.Name+" "+library.Version)
		}
	}
	return strings.Join(append(said, "butteraugli of libjxl "+l.butteraugli.Version()), ", ")
}

// made is a file with what it took.
type made struct {
	plan.Result
	data []byte
	cpu  float64 // seconds
}

// run does a job with a file as the server would.
func (l *lane) run(class codec.Class, job plan.Job, source string) (made, error) {
	f, err := os.Open(source)
	if err != nil {
		return made{}, err
	}
	defer f.Close()
	before := l.pool.Stats().CPUSeconds
	out, err := l.pool.Run(context.Background(), class, job, f)
	if err != nil {
		return made{}, err
	}
	defer out.Close()
	m := made{Result: out.Result, cpu: l.pool.Stats().CPUSeconds - before}
	m.data, err = io.ReadAll(out.File)
	return m, err
}

// search has a photograph compressed to targets.
func (l *lane) search(p *photo, f format.Format, tier quality.Tier, targets quality.Targets) (made, error) {
	header := format.Header{Format: format.PNG, Width: p.pixels.W, Height: p.pixels.H, Pages: 1, Orientation: 1, Bands: 3, BitDepth: 8}
	planned, err := plan.DefaultConfig().Render(options.Options{Format: f}.Normalize(), header, nil)
	if err != nil {
		return made{}, err
	}
	planned.Job.Save.Search = &plan.Search{Tier: tier, Targets: targets}
	m, err := l.run(codec.Background, planned.Job, p.path)
	if err == nil && m.Measured == nil {
		err = fmt.Errorf("nothing was measured")
	}
	return m, err
}

// decode reads the pixels of a file.
func (l *lane) decode(data []byte, f format.Format) (metric.Image, error) {
	path := l.dir + "/encoded"
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return metric.Image{}, err
	}
	job := plan.Job{Load: plan.Load{Format: f, Strict: true}, Steps: []plan.Step{{SRGB: true}}, Save: &plan.Save{Format: format.PNG, Effort: 1}}
	m, err := l.run(codec.Background, job, path)
	if err != nil {
		return metric.Image{}, err
	}
	return decodePNG(bytes.NewReader(m.data))
}
