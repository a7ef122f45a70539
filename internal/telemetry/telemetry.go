// Package telemetry counts and logs: the only place that knows Prometheus, and
// where the structured logger is made.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"safelight/internal/cache"
	"safelight/internal/render"
)

// LogConfig shapes the log.
type LogConfig struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text or json
}

// Validate tells what is wrong with a configuration.
func (c LogConfig) Validate() error {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil || c.Format != "text" && c.Format != "json" {
		return fmt.Errorf("log: expected a level of debug, info, warn or error and a format of text or json but received %q and %q", c.Level, c.Format)
	}
	return nil
}

// Logger makes the logger that everything shares.
func Logger(w io.Writer, c LogConfig) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		o.ReplaceAttr = readable
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// readable writes durations as the text log does, such as "20s"; as numbers they
// would be nanoseconds that nothing names.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// Metrics holds every metric of the process. It is safe for concurrent use.
type Metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	uploads    *prometheus.CounterVec
	uploadTime prometheus.Histogram
	uploaded   prometheus.Counter
	renditions [render.FromShared + 1]prometheus.Counter
	attempts   attempts
	mu         sync.Mutex
	functions  map[string]struct{} // of tasks, that have labels
	series     sync.Map            // request → series, so that the fast path hashes no labels
}

type request struct {
	route, method string
	status        int
}

type series struct {
	count prometheus.Counter
	time  prometheus.Observer
}

// New makes the metrics and registers Go's and the process's own.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests answered."}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "request_duration_seconds", Help: "From the request's header to the end of the answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "image_uploads_total", Help: "Files that were sent, by what became of them."}, []string{"outcome"}),
		uploadTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "image_upload_duration_seconds", Help: "From a file's first byte to its commit.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}),
		uploaded: prometheus.NewCounter(prometheus.CounterOpts{Name: "image_upload_bytes_total", Help: "Bytes of stored files."}),
	}
	renditions := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "renditions_total", Help: "Renditions answered, by where they came from."}, []string{"from"})
	for status, from := range map[render.Status]string{render.FromMemory: "memory", render.FromDisk: "disk", render.Made: "render", render.Joined: "coalesced", render.FromHome: "home", render.FromShared: "shared"} {
		m.renditions[status] = renditions.WithLabelValues(from)
	}
	m.attempts, m.functions = newAttempts(m.registry), make(map[string]struct{})
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "safelight_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.uploads, m.uploadTime, m.uploaded, renditions, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts an answered request.
func (m *Metrics) Request(route, method string, status int, d time.Duration) {
	key := request{route, knownMethod(method), status}
	found, ok := m.series.Load(key)
	if !ok {
		found, _ = m.series.LoadOrStore(key, series{
			m.requests.WithLabelValues(key.method, route, strconv.Itoa(status)), m.duration.WithLabelValues(route)})
	}
	s := found.(series)
	s.count.Inc()
	s.time.Observe(d.Seconds())
}

// knownMethod keeps a stranger's inventions out of the labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "other"
}

// Upload counts a file that was sent.
func (m *Metrics) Upload(outcome string, bytes int64, d time.Duration) {
	m.uploads.WithLabelValues(outcome).Inc()
	m.uploadTime.Observe(d.Seconds())
	m.uploaded.Add(float64(bytes))
}

// Rendition counts a rendition that was answered.
func (m *Metrics) Rendition(from render.Status) { m.renditions[from].Inc() }

// Gauge registers a value that is read when it is asked for.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// Counter registers a count that is read when it is asked for.
func (m *Metrics) Counter(name, help string, labels map[string]string, value func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

// Broken is what is left alone when it fails again and again.
type Broken interface {
	Open() bool   // it is left alone
	Times() int64 // that it was
}

// Destination registers whether a destination is left alone.
func (m *Metrics) Destination(name string, b Broken) {
	labels := map[string]string{"destination": name}
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "destination_left_alone", Help: "1 while a destination is left alone because it fails again and again.", ConstLabels: labels,
	}, func() float64 {
		if b.Open() {
			return 1
		}
		return 0
	}))
	m.Counter("destination_left_alone_total", "Times that a destination was left alone because it failed again and again.", labels, func() float64 { return float64(b.Times()) })
}

// Counted has statistics as a cache has.
type Counted interface{ Stats() cache.Stats }

// Cache registers the statistics of a cache level.
func (m *Metrics) Cache(level string, c Counted) {
	labels := prometheus.Labels{"level": level}
	for name, v := range map[string]func(cache.Stats) int64{
		"cache_hits_total":      func(s cache.Stats) int64 { return s.Hits },
		"cache_misses_total":    func(s cache.Stats) int64 { return s.Misses },
		"cache_evictions_total": func(s cache.Stats) int64 { return s.Evictions },
		"cache_corrupt_total":   func(s cache.Stats) int64 { return s.Corrupt },
	} {
		m.Counter(name, "What caches were asked for, and what became of it, by level.", labels, func() float64 { return float64(v(c.Stats())) })
	}
	if c.Stats().Elsewhere {
		return // what it holds, others tell
	}
	for name, v := range map[string]func(cache.Stats) int64{
		"cache_entries":      func(s cache.Stats) int64 { return s.Entries },
		"cache_bytes":        func(s cache.Stats) int64 { return s.Bytes },
		"cache_budget_bytes": func(s cache.Stats) int64 { return s.Budget },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: "What a cache level holds.", ConstLabels: labels},
			func() float64 { return float64(v(c.Stats())) }))
	}
}
