package telemetry

import "time"

// Connections is the state of a pool of connections to a database, and what it
// has counted.
type Connections struct {
	Acquired, Idle, Total, Max int

	Acquires, EmptyAcquires, Timeouts, Stops int64
	Wait                                     time.Duration
}

// Database registers a pool of connections.
func (m *Metrics) Database(read func() Connections) {
	for name, g := range map[string]struct {
		help  string
		value func(Connections) float64
	}{
		"database_connections_in_use": {"Connections to the database that a call has.", func(c Connections) float64 { return float64(c.Acquired) }},
		"database_connections_idle":   {"Connections to the database that wait for a call.", func(c Connections) float64 { return float64(c.Idle) }},
		"database_connections":        {"Connections to the database, those being made too.", func(c Connections) float64 { return float64(c.Total) }},
		"database_connections_max":    {"What database.max_conns allows.", func(c Connections) float64 { return float64(c.Max) }},
	} {
		m.Gauge(name, g.help, func() float64 { return g.value(read()) })
	}
	for name, c := range map[string]struct {
		help  string
		value func(Connections) float64
	}{
		"database_acquires_total":             {"Calls that got a connection to the database.", func(c Connections) float64 { return float64(c.Acquires) }},
		"database_acquire_wait_seconds_total": {"How long they waited for it.", func(c Connections) float64 { return c.Wait.Seconds() }},
		"database_empty_acquires_total":       {"Those that waited as none was idle.", func(c Connections) float64 { return float64(c.EmptyAcquires) }},
		"database_acquire_timeouts_total":     {"Calls that got none within database.acquire_timeout.", func(c Connections) float64 { return float64(c.Timeouts) }},
		"database_away_total":                 {"Times that the database server stopped answering.", func(c Connections) float64 { return float64(c.Stops) }},
	} {
		m.Counter(name, c.help, nil, func() float64 { return c.value(read()) })
	}
}
