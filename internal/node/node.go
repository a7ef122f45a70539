// Package node is the port for membership: which nodes share a database, what
// they are for, and whether they are there. It decides nothing about images or
// tasks; leases do without it.
package node

import (
	"context"
	"fmt"
	"time"
)

// Times of membership. They are measured by the clock of the database.
const (
	BeatEvery   = 5 * time.Second
	GoneAfter   = 20 * time.Second // without a heartbeat
	ForgetAfter = 24 * time.Hour   // of those that are gone
)

// Role is what a node is for. "" is All.
type Role string

// The roles.
const (
	All    Role = "all"
	API    Role = "api"    // answers HTTP, and carries out no task
	Worker Role = "worker" // carries out tasks, and answers for its health only
)

// Works tells whether a node carries out tasks of the server's own functions.
func (r Role) Works() bool { return r != API }

// Serves tells whether a node answers requests for images and tasks.
func (r Role) Serves() bool { return r != Worker }

// Validate refuses what is no role.
func (r Role) Validate() error {
	switch r {
	case "", All, API, Worker:
		return nil
	}
	return fmt.Errorf("role: expected all, api or worker but received %q", string(r))
}

// State is whether a node wants requests.
type State string

// The states. A node does not tell that it is gone.
const (
	Ready    State = "ready"
	Draining State = "draining"
	Gone     State = "gone"
)

// Node is what a process tells of itself.
type Node struct {
	Name     string // unique among those that share a database
	Instance string // random, unique for each process
	Address  string // host:port at which others reach it
	Role     Role
	Version  string
	Host     string
	Cores    int
}

// Member is a node as it is known to all.
type Member struct {
	Node
	State   State // Gone once its last heartbeat is too old
	Started time.Time
	Age     time.Duration  // of the last heartbeat
	Running map[string]int // tasks that its own workers hold, by function
}

// Registry is where nodes are known. It is for one process, and safe for
// concurrent use.
type Registry interface {
	// Join makes a node known, Ready, and keeps its name from other processes.
	// fault.Conflict names the one that has it; a process that has ended holds
	// none. It is called again after a failure only.
	Join(ctx context.Context, n Node) error
	// Beat tells that the node is still there, and its state. A node that is no
	// longer known is made known again; fault.Conflict tells that another
	// process has its name now. Other errors change nothing: it is tried again.
	Beat(ctx context.Context, s State) error
	// Leave gives up the name and forgets the node. Nothing follows it.
	Leave(ctx context.Context) error
	// Members lists nodes by name, those that are gone too until they are
	// forgotten.
	Members(ctx context.Context) ([]Member, error)
}

// StateOf is the state of a node that told one when it was last heard of.
func StateOf(told State, age time.Duration) State {
	if age >= GoneAfter {
		return Gone
	}
	return told
}

// Attended tells whether any of the members carries out tasks.
func Attended(members []Member) bool {
	for _, m := range members {
		if m.State != Gone && m.Role.Works() {
			return true
		}
	}
	return false
}
