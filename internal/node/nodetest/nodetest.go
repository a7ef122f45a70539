// Package nodetest is the contract of node.Registry in executable form.
package nodetest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"safelight/internal/node"
	"safelight/internal/task"
)

// Fixture is a registry over a fresh database, with the queue of tasks in the
// same.
type Fixture struct {
	Registry node.Registry
	Queue    task.Queue
}

// Run holds a registry against the contract.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	t.Run("life", func(t *testing.T) { life(t, open(t)) })
	t.Run("tasks", func(t *testing.T) { tasks(t, open(t)) })
}

// Made is a node with every field set.
func Made(name string) node.Node {
	return node.Node{Name: name, Instance: name + "-process", Address: "10.0.0.1:8080", Role: node.Worker, Version: "1.2.3", Host: "box", Cores: 4}
}

// Only lists the nodes, and fails unless there is one.
func Only(t *testing.T, r node.Registry) node.Member {
	t.Helper()
	list, err := r.Members(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("Members gave %+v, %v; expected one node", list, err)
	}
	return list[0]
}

func life(t *testing.T, f Fixture) {
	if list, err := f.Registry.Members(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("before anybody has joined there are %+v, %v", list, err)
	}
	n := Made("a")
	if err := f.Registry.Join(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	m := Only(t, f.Registry)
	if !reflect.DeepEqual(m.Node, n) || m.State != node.Ready || m.Age < 0 || m.Age > node.BeatEvery || len(m.Running) != 0 {
		t.Errorf("the node is listed as %+v", m)
	}
	if since := time.Since(m.Started); since < -time.Minute || since > time.Minute {
		t.Errorf("it has started at %s", m.Started)
	}
	if err := f.Registry.Beat(t.Context(), node.Draining); err != nil {
		t.Fatal(err)
	}
	if again := Only(t, f.Registry); again.State != node.Draining || !again.Started.Equal(m.Started) {
		t.Errorf("when it drains it is listed as %+v", again)
	}
	if err := f.Registry.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := f.Registry.Members(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("when it has left there are %+v, %v", list, err)
	}
}

func tasks(t *testing.T, f Fixture) {
	if err := f.Registry.Join(t.Context(), Made("a")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Registry.Leave(context.WithoutCancel(t.Context())) }()
	var list []task.New
	for _, function := range []string{"render", "render", "render", "publish"} {
		list = append(list, task.New{Owner: "o", Function: function})
	}
	if _, err := f.Queue.Submit(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for worker, c := range map[string]task.Claim{
		"a": {Functions: []string{"render"}, Max: 2}, "b": {Functions: []string{"render", "publish"}, Max: 1},
	} {
		c.Worker, c.Lease = task.NodePrefix+worker, time.Minute
		if got, err := f.Queue.Claim(t.Context(), c); err != nil || len(got) != c.Max {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	want := map[string]int{"render": 2}
	if m := Only(t, f.Registry); !reflect.DeepEqual(m.Running, want) {
		t.Errorf("its workers hold %v, expected %v", m.Running, want)
	}
}
