package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/node"
	"safelight/internal/node/nodetest"
	"safelight/internal/postgres"
)

func TestNodes(t *testing.T) {
	t.Parallel()
	nodetest.Run(t, func(t *testing.T) nodetest.Fixture {
		q := openQueue(t, config(fresh(t)), tasksConfig())
		return nodetest.Fixture{Registry: q.db.Nodes(), Queue: q}
	})
}

// process is a node of a database as one process has it.
type process struct {
	*postgres.Nodes
	self node.Node
}

func processes(t *testing.T, db *postgres.DB, instances ...string) []process {
	t.Helper()
	var all []process
	for _, instance := range instances {
		n := nodetest.Made("a")
		n.Instance = instance
		p := process{db.Nodes(), n}
		t.Cleanup(func() { _ = p.Leave(context.Background()) })
		all = append(all, p)
	}
	return all
}

func (p process) join(t *testing.T) error {
	t.Helper()
	return p.Join(t.Context(), p.self)
}

// joins joins, waiting for what the server needs a moment to notice.
func (p process) joins(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for err := p.join(t); err != nil; err = p.join(t) {
		if fault.Of(err) != fault.Conflict || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// age makes a node's last heartbeat older.
func age(t *testing.T, db *postgres.DB, by string) {
	t.Helper()
	if _, err := db.Pool().Exec(t.Context(), `UPDATE nodes SET seen = seen - $1::text::interval`, by); err != nil {
		t.Fatal(err)
	}
}

func conflict(t *testing.T, err error) {
	t.Helper()
	if fault.Of(err) != fault.Conflict || !strings.Contains(err.Error(), `node name "a"`) || !strings.Contains(err.Error(), "SAFELIGHT_NODE") {
		t.Fatalf("the answer is %v; expected a conflict that names the setting", err)
	}
}

// TestNameInUse: a name belongs to one process, until that has ended, or has not
// been heard of for long.
func TestNameInUse(t *testing.T) {
	t.Parallel()
	db := open(t, config(fresh(t)))
	p := processes(t, db, "one", "two", "three", "four")
	p[0].joins(t)
	conflict(t, p[1].join(t))
	age(t, db, "19 seconds")
	conflict(t, p[1].join(t))
	if m := nodetest.Only(t, db.Nodes()); m.State != node.Ready || m.Age < 19*time.Second || m.Instance != "one" {
		t.Errorf("before its time is over the node is %+v", m)
	}
	p[0].Break() // as if killed
	p[1].joins(t)
	conflict(t, p[0].Beat(t.Context(), node.Ready)) // it was not: it notices
	age(t, db, "20 seconds")
	if m := nodetest.Only(t, db.Nodes()); m.State != node.Gone {
		t.Errorf("when its time is over the node is %+v", m)
	}
	if err := p[2].join(t); err != nil { // though the lock is held
		t.Fatal(err)
	}
	conflict(t, p[1].Beat(t.Context(), node.Ready))
	if err := p[2].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p[3].join(t); err != nil {
		t.Fatal(err)
	}
	if err := p[3].Beat(t.Context(), node.Ready); err != nil {
		t.Fatal(err)
	}
}

// TestJoinAtOnce: of several processes that take a name at the same time, one
// gets it.
func TestJoinAtOnce(t *testing.T) {
	t.Parallel()
	db := open(t, config(fresh(t)))
	p := processes(t, db, "one", "two", "three", "four", "five")
	answers := make(chan error)
	for i := range p {
		go func() { answers <- p[i].Join(context.Background(), p[i].self) }()
	}
	joined := 0
	for range p {
		switch err := <-answers; {
		case err == nil:
			joined++
		default:
			conflict(t, err)
		}
	}
	if joined != 1 {
		t.Errorf("%d processes have the name", joined)
	}
}

// TestHeartbeatAfterTrouble: a node stays known when its connection, or its row,
// was lost, and nodes that have long been gone are forgotten.
func TestHeartbeatAfterTrouble(t *testing.T) {
	t.Parallel()
	db := open(t, config(fresh(t)))
	p := processes(t, db, "one", "two")
	p[0].joins(t)
	if _, err := db.Pool().Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'`); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for err := p[0].Beat(t.Context(), node.Ready); err != nil; err = p[0].Beat(t.Context(), node.Ready) {
		if fault.Of(err) != fault.Unavailable || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	conflict(t, p[1].join(t)) // the lock is held again
	p[1].self.Name = "b"
	if err := p[1].join(t); err != nil {
		t.Fatal(err)
	}
	age(t, db, "23 hours 59 minutes")
	if err := p[1].Beat(t.Context(), node.Ready); err != nil {
		t.Fatal(err)
	}
	if list, err := db.Nodes().Members(t.Context()); err != nil || len(list) != 2 || list[0].State != node.Gone || list[1].State != node.Ready {
		t.Fatalf("after almost a day the nodes are %+v, %v", list, err)
	}
	age(t, db, "2 minutes")
	if err := p[1].Beat(t.Context(), node.Ready); err != nil {
		t.Fatal(err)
	}
	if m := nodetest.Only(t, db.Nodes()); m.Name != "b" {
		t.Fatalf("after a day there is %+v", m)
	}
	if err := p[0].Beat(t.Context(), node.Draining); err != nil { // it had stood still
		t.Fatal(err)
	}
	if list, err := db.Nodes().Members(t.Context()); err != nil || len(list) != 2 || list[0].State != node.Draining {
		t.Fatalf("when it comes back the nodes are %+v, %v", list, err)
	}
}
