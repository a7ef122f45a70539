package sqlite

import (
	"context"
	"sync"
	"time"

	"safelight/internal/node"
	"safelight/internal/task"
)

// Nodes is the registry of the one node that a SQLite file is for. The lock in
// the data directory keeps others away.
type Nodes struct {
	db *DB

	mu   sync.Mutex
	self *node.Member // nil until Join, and after Leave
	seen time.Time
}

var _ node.Registry = (*Nodes)(nil)

// Nodes makes a registry.
func (db *DB) Nodes() *Nodes { return &Nodes{db: db} }

const selectHeld = `SELECT function, count(*) FROM tasks WHERE state = 2 AND worker = ? GROUP BY function`

// Join implements node.Registry.
func (s *Nodes) Join(_ context.Context, n node.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = time.Now()
	s.self = &node.Member{Node: n, State: node.Ready, Started: s.seen.UTC()}
	return nil
}

// Beat implements node.Registry.
func (s *Nodes) Beat(_ context.Context, state node.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.self.State, s.seen = state, time.Now()
	return nil
}

// Leave implements node.Registry.
func (s *Nodes) Leave(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.self = nil
	return nil
}

// Members implements node.Registry.
func (s *Nodes) Members(ctx context.Context) ([]node.Member, error) {
	s.mu.Lock()
	if s.self == nil {
		s.mu.Unlock()
		return nil, nil
	}
	m, seen := *s.self, s.seen
	s.mu.Unlock()
	m.Age = time.Since(seen)
	m.State = node.StateOf(m.State, m.Age)
	var err error
	m.Running, err = s.db.held(ctx, task.NodePrefix+m.Name)
	return []node.Member{m}, err
}

// held counts the tasks that a worker holds, by function.
func (db *DB) held(ctx context.Context, worker string) (map[string]int, error) {
	rows, err := db.reading.QueryContext(ctx, selectHeld, worker)
	if err != nil {
		return nil, classify(err, "counting a node's tasks")
	}
	defer rows.Close()
	held := make(map[string]int)
	for rows.Next() {
		var function string
		var n int
		if err := rows.Scan(&function, &n); err != nil {
			return nil, classify(err, "counting a node's tasks")
		}
		held[function] = n
	}
	return held, classify(rows.Err(), "counting a node's tasks")
}
