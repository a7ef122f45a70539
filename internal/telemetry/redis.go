package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RedisCalls counts calls of Redis.
type RedisCalls struct {
	outcomes map[string]prometheus.Counter
	seconds  prometheus.Histogram
}

// Redis makes and registers the metrics of calls of Redis; it is called once.
func (m *Metrics) Redis() *RedisCalls {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "redis_calls_total", Help: "Calls of Redis, by what became of them; skipped ones were not tried."}, []string{"outcome"})
	r := &RedisCalls{
		outcomes: make(map[string]prometheus.Counter),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "redis_call_duration_seconds", Help: "How long calls of Redis were waited for, those that failed too.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}}),
	}
	for _, outcome := range []string{"ok", "error", "failed", "timeout", "skipped"} {
		r.outcomes[outcome] = calls.WithLabelValues(outcome)
	}
	m.registry.MustRegister(calls, r.seconds)
	return r
}

// Call counts a call that has ended.
func (r *RedisCalls) Call(outcome string, d time.Duration) {
	r.outcomes[outcome].Inc()
	if outcome != "skipped" {
		r.seconds.Observe(d.Seconds())
	}
}

// RedisState registers whether Redis is left alone.
func (m *Metrics) RedisState(b Broken) {
	m.Gauge("redis_left_alone", "1 while Redis is left alone because it does not answer.", func() float64 {
		if b.Open() {
			return 1
		}
		return 0
	})
	m.Counter("redis_left_alone_total", "Times that Redis was left alone because it did not answer.", nil, func() float64 { return float64(b.Times()) })
}
