package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"safelight/internal/task"
)

// attempts are the metrics of tasks.
type attempts struct {
	outcomes *prometheus.CounterVec
	duration *prometheus.HistogramVec
	saved    prometheus.Counter
}

func newAttempts(r *prometheus.Registry) attempts {
	a := attempts{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "task_attempts_total", Help: "Attempts that were reported on, by function and outcome."}, []string{"function", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "task_attempt_duration_seconds", Help: "Attempts that this process carried out.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}}, []string{"function"}),
		saved: prometheus.NewCounter(prometheus.CounterOpts{Name: "optimize_saved_bytes_total", Help: "Bytes by which optimised renditions are smaller than the fast ones."}),
	}
	r.MustRegister(a.outcomes, a.duration, a.saved)
	return a
}

// knownFunctions keeps workers' inventions out of the labels once there are
// very many.
const knownFunctions = 200

// Attempt counts an attempt that was reported on.
func (m *Metrics) Attempt(function, outcome string) {
	m.mu.Lock()
	if _, known := m.functions[function]; !known {
		if len(m.functions) >= knownFunctions {
			function = "other"
		}
		m.functions[function] = struct{}{}
	}
	m.mu.Unlock()
	m.attempts.outcomes.WithLabelValues(function, outcome).Inc()
}

// AttemptTime observes how long an attempt in this process took.
func (m *Metrics) AttemptTime(function string, took time.Duration) {
	m.attempts.duration.WithLabelValues(function).Observe(took.Seconds())
}

// Saved counts bytes that an optimisation has saved.
func (m *Metrics) Saved(bytes int64) { m.attempts.saved.Add(float64(bytes)) }

// Tasks registers the numbers of tasks by function and state, counted when the
// metrics are asked for.
func (m *Metrics) Tasks(counts func(context.Context) ([]task.Count, error)) {
	m.registry.MustRegister(&queueLengths{
		counts: counts,
		tasks:  prometheus.NewDesc("tasks", "Tasks that wait, run or are dead.", []string{"function", "state"}, nil),
		oldest: prometheus.NewDesc("tasks_oldest_ready_seconds", "How long the task has been due that has waited longest.", []string{"function"}, nil),
	})
}

// queueLengths asks the queue at each scrape.
type queueLengths struct {
	counts        func(context.Context) ([]task.Count, error)
	tasks, oldest *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (q *queueLengths) Describe(to chan<- *prometheus.Desc) { to <- q.tasks; to <- q.oldest }

// Collect implements prometheus.Collector.
func (q *queueLengths) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := q.counts(ctx)
	if err != nil {
		return // the scrape tells the rest
	}
	for _, c := range counts {
		to <- prometheus.MustNewConstMetric(q.tasks, prometheus.GaugeValue, float64(c.Tasks), c.Function, c.State.String())
		if !c.Oldest.IsZero() {
			to <- prometheus.MustNewConstMetric(q.oldest, prometheus.GaugeValue, time.Since(c.Oldest).Seconds(), c.Function)
		}
	}
}
