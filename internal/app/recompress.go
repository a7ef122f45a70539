package app

import (
	"context"
	"errors"
	"os"
	"slices"

	"safelight/internal/codec"
	"safelight/internal/fault"
	"safelight/internal/pipeline"
	"safelight/internal/plan"
	"safelight/internal/recompress"
	"safelight/internal/telemetry"
)

// Transcode implements recompress.Transcoder.
func (w worker) Transcode(ctx context.Context, urgency recompress.Urgency, job plan.Transcode, source *os.File) (*os.File, error) {
	class := codec.Background
	switch urgency {
	case recompress.Checking:
		class = codec.Verify
	case recompress.Reader:
		class = codec.Interactive
	}
	out, err := w.pool.Run(ctx, class, plan.Job{Transcode: &job}, source)
	if err != nil {
		return nil, err
	}
	return out.File, nil
}

// transcodes tells whether the codec processes have what JPEG XL needs.
func (a *App) transcodes() bool {
	return slices.Contains(a.codec.Info().Features, "jpeg-xl-transcoding")
}

// noJXL is why sources can be neither recompressed nor restored; nil where they
// can.
func (a *App) noJXL() error {
	if a.transcodes() {
		return nil
	}
	return fault.New(fault.Unavailable, "libjxl is not installed, or lacks transcoding: nothing is recompressed (pipeline.recompress), and sources that are can't be restored")
}

var errFound = errors.New("there is one")

// checkRecompress warns when sources are to be recompressed, or have been, and
// that can't be done.
func (a *App) checkRecompress(ctx context.Context) error {
	any, err := true, error(nil) // what can't be told now may be
	if a.reached.Load() {
		any, err = a.anyRecompressed(ctx)
	}
	if err != nil {
		return err
	}
	a.restores = any || a.config.Pipeline.Recompress == pipeline.RecompressJXL
	if missing := a.noJXL(); a.restores && missing != nil {
		a.log.Warn("recompressed sources can't be used", "error", missing)
	}
	return nil
}

// observeRecompress registers what is counted of recompressing.
func (a *App) observeRecompress(m *telemetry.Metrics) {
	for name, c := range map[string]struct {
		help  string
		count func(recompress.Stats) int64
	}{
		"recompressed_sources_total":   {"JPEG sources that were replaced by JPEG XL.", func(s recompress.Stats) int64 { return s.Sources }},
		"recompress_saved_bytes_total": {"Bytes by which recompressed sources are smaller.", func(s recompress.Stats) int64 { return s.Saved }},
		"restores_total":               {"Times that a source was restored from JPEG XL.", func(s recompress.Stats) int64 { return s.Restored }},
		"restore_failures_total":       {"Times that a source could not be restored from JPEG XL.", func(s recompress.Stats) int64 { return s.Failed }},
	} {
		m.Counter(name, c.help, nil, func() float64 { return float64(c.count(a.recompress.Stats())) })
	}
}
