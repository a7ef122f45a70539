package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"safelight/internal/node"
)

// Nodes registers the numbers of nodes by state, counted when the metrics are
// asked for.
func (m *Metrics) Nodes(members func(context.Context) ([]node.Member, error)) {
	m.registry.MustRegister(&nodeCounts{members, prometheus.NewDesc("nodes", "Nodes that share the database.", []string{"state"}, nil)})
}

// nodeCounts asks for the nodes at each scrape.
type nodeCounts struct {
	members func(context.Context) ([]node.Member, error)
	nodes   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (n *nodeCounts) Describe(to chan<- *prometheus.Desc) { to <- n.nodes }

// Collect implements prometheus.Collector.
func (n *nodeCounts) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	members, err := n.members(ctx)
	if err != nil {
		return // the scrape tells the rest
	}
	counts := map[node.State]int{node.Ready: 0, node.Draining: 0, node.Gone: 0}
	for _, m := range members {
		counts[m.State]++
	}
	for state, count := range counts {
		to <- prometheus.MustNewConstMetric(n.nodes, prometheus.GaugeValue, float64(count), string(state))
	}
}
