package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Fetches counts what is fetched from other servers.
type Fetches struct {
	outcomes *prometheus.CounterVec
	bytes    prometheus.Counter
	seconds  prometheus.Histogram
}

// Fetches makes and registers the metrics of fetches; it is called once.
func (m *Metrics) Fetches() *Fetches {
	f := &Fetches{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "remote_fetches_total", Help: "Fetches from other servers, by what became of them."}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "remote_fetch_bytes_total", Help: "Bytes that came from other servers."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "remote_fetch_duration_seconds", Help: "From the wish to fetch to the last byte, waiting for a turn included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}),
	}
	m.registry.MustRegister(f.outcomes, f.bytes, f.seconds)
	return f
}

// Fetch counts a fetch that has ended. There are few outcomes: "fetched",
// "unchanged" and the kinds of error.
func (f *Fetches) Fetch(outcome string, bytes int64, d time.Duration) {
	f.outcomes.WithLabelValues(outcome).Inc()
	f.bytes.Add(float64(bytes))
	f.seconds.Observe(d.Seconds())
}
