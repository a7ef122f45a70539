package app

import (
	"context"
	"errors"
	"os"
	"slices"

	"safelight/internal/codec"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/memcache"
	"safelight/internal/plan"
	"safelight/internal/render"
	"safelight/internal/telemetry"
)

// worker is the codec pool as the services see it.
type worker struct{ pool *codec.Pool }

// Render makes a rendition.
func (w worker) Render(ctx context.Context, urgency render.Urgency, job plan.Job, inputs ...*os.File) (*render.Encoded, error) {
	class := codec.Interactive
	if urgency == render.Unawaited {
		class = codec.Background
	}
	out, err := w.pool.Run(ctx, class, job, inputs...)
	if err != nil {
		return nil, err
	}
	if err := examine(out, job.Save.Format); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return &render.Encoded{Result: out.Result, File: out.File, Bytes: out.Bytes, CPU: out.CPU}, nil
}

// examine looks at a result before anybody is given it: some encoders report
// success and write nothing when they run out of memory.
func examine(out *codec.Output, want format.Format) error {
	h, err := format.Probe(out.File, out.Bytes)
	if err == nil && h.Format == want && h.Width == out.Width && h.Height == out.Height {
		return nil
	}
	return fault.Wrap(fault.Unprocessable, err, "the picture could not be encoded as %s at %d×%d px; ask for a smaller one", want, out.Width, out.Height)
}

// Inspect decodes an upload once; renders go before it.
func (w worker) Inspect(ctx context.Context, job plan.Job, source *os.File) (plan.Result, error) {
	out, err := w.pool.Run(ctx, codec.Verify, job, source)
	if err != nil {
		return plan.Result{}, err
	}
	return out.Result, out.Close()
}

// writable leaves out what no codec process here can write: a format that is only
// preferred must not make requests fail.
func (a *App) writable(setting string, names []string) []string {
	info := a.codec.Info()
	writes := info.Writes
	if info.Fallback != nil {
		writes = slices.Concat(writes, info.Fallback.Writes)
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		lacking := !slices.Contains(writes, format.Parse(name).String())
		if lacking {
			a.log.Warn("this installation's libvips can't write a format that is configured; it is left out", "setting", setting, "format", name)
		}
		return lacking
	})
}

// observe registers what is counted outside of requests.
func (a *App) observe(m *telemetry.Metrics, memory *memcache.Cache, r *render.Service) {
	m.Cache("memory", memory)
	m.Cache("disk", a.disk)
	a.observeStore(m)
	m.Gauge("render_waiting", "Renders that wait for admission.", func() float64 { return float64(r.Waiting()) })
	m.Counter("render_refused_total", "Renders turned away because too many were waiting.", nil, func() float64 { return float64(r.Refused()) })
	m.Gauge("codec_processes_busy", "Codec processes at work.", func() float64 { return float64(a.codec.Stats().Busy) })
	m.Gauge("codec_processes_idle", "Codec processes waiting for work.", func() float64 { return float64(a.codec.Stats().Idle) })
	m.Gauge("codec_jobs_waiting", "Jobs that wait for a codec process.", func() float64 { return float64(a.codec.Stats().Waiting) })
	for name, count := range map[string]func(codec.Stats) float64{
		"codec_jobs_total":        func(s codec.Stats) float64 { return float64(s.Jobs) },
		"codec_crashes_total":     func(s codec.Stats) float64 { return float64(s.Crashes) },
		"codec_recycles_total":    func(s codec.Stats) float64 { return float64(s.Recycles) },
		"codec_starts_total":      func(s codec.Stats) float64 { return float64(s.Starts) },
		"codec_cpu_seconds_total": func(s codec.Stats) float64 { return s.CPUSeconds },
	} {
		m.Counter(name, "Codec processes.", nil, func() float64 { return count(a.codec.Stats()) })
	}
}
