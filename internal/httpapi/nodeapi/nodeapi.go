// Package nodeapi is the list of nodes over HTTP.
package nodeapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"safelight/internal/auth"
	"safelight/internal/node"
)

// Front is what the server around gives.
type Front interface {
	// Operation describes an operation that needs a scope.
	Operation(method, path, id, summary string, scope auth.Scope) huma.Operation
	// Problem is an error as it is answered.
	Problem(ctx context.Context, err error) error
}

// Nodes knows the nodes.
type Nodes interface {
	// Name is that of this one.
	Name() string
	Members(ctx context.Context) ([]node.Member, error)
}

// NodeList are the nodes that share a database.
type NodeList struct {
	Nodes    []Node   `json:"nodes" doc:"By name"`
	Warnings []string `json:"warnings,omitempty" doc:"What they lack"`
}

// Node is one of them.
type Node struct {
	Name      string         `json:"name"`
	Self      bool           `json:"self,omitempty" doc:"It is the one that answers"`
	Role      string         `json:"role" enum:"all,api,worker"`
	State     string         `json:"state" enum:"ready,draining,gone" doc:"gone: without a heartbeat for 20 s; after a day it is forgotten"`
	Address   string         `json:"address" doc:"Host and port at which other machines reach it"`
	Version   string         `json:"version"`
	Host      string         `json:"host" doc:"Name of its machine"`
	Cores     int            `json:"cores"`
	Started   time.Time      `json:"started"`
	Heartbeat float64        `json:"heartbeat_seconds" doc:"Age of its last heartbeat"`
	Tasks     map[string]int `json:"tasks" doc:"Tasks that its own workers hold now, by function"`
}

// Mount registers the operations.
func Mount(api huma.API, front Front, nodes Nodes) {
	op := front.Operation(http.MethodGet, "/v1/nodes", "list-nodes", "The nodes that share the database, and how they do", auth.Admin)
	op.Tags = []string{"nodes"}
	huma.Register(api, op, func(ctx context.Context, _ *struct{}) (*answer, error) {
		members, err := nodes.Members(ctx)
		if err != nil {
			return nil, front.Problem(ctx, err)
		}
		return &answer{list(members, nodes.Name())}, nil
	})
}

type answer struct{ Body NodeList }

func list(members []node.Member, self string) NodeList {
	out := NodeList{Nodes: make([]Node, len(members))}
	for i, m := range members {
		out.Nodes[i] = Node{
			Name: m.Name, Self: m.Name == self, Role: string(m.Role), State: string(m.State), Address: m.Address, Version: m.Version,
			Host: m.Host, Cores: m.Cores, Started: m.Started, Heartbeat: float64(m.Age.Milliseconds()) / 1000, Tasks: m.Running,
		}
	}
	if !node.Attended(members) {
		out.Warnings = append(out.Warnings, node.Unattended)
	}
	return out
}
