package redistest

import (
	"errors"
	"fmt"
	"strings"
)

// Group is several servers that belong together.
type Group struct {
	Servers []*Server // of a cluster, or the master and its replica
	watch   []*Server // sentinels
}

// slots of a cluster.
const slots = 16384

// StartCluster makes a cluster of three servers without replicas. Close must be
// called.
func StartCluster() (_ *Group, err error) {
	g := &Group{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	for range 3 {
		s, err := Start("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
		if err != nil {
			return nil, err
		}
		g.Servers = append(g.Servers, s)
	}
	for i, s := range g.Servers {
		first, last := i*slots/3, (i+1)*slots/3-1
		if answer, err := s.Ask(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", first, last)); err != nil || answer != "+OK" {
			return nil, fmt.Errorf("CLUSTER ADDSLOTSRANGE: %s %w", answer, err)
		}
		if answer, err := s.Ask(fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d", g.Servers[0].Port)); err != nil || answer != "+OK" {
			return nil, fmt.Errorf("CLUSTER MEET: %s %w", answer, err)
		}
	}
	for _, s := range g.Servers {
		if err := s.await("CLUSTER INFO", "cluster_state:ok\r\ncluster_slots_assigned:16384"); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// StartSentinels makes a master with a replica and three sentinels, which watch it
// under the name mymaster. Close must be called.
func StartSentinels() (_ *Group, err error) {
	g := &Group{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	for i := range 2 {
		var settings []string
		if i > 0 {
			settings = []string{"--replicaof", "127.0.0.1", fmt.Sprint(g.Servers[0].Port), "--repl-diskless-sync-delay", "0"}
		}
		s, err := Start(settings...)
		if err != nil {
			return nil, err
		}
		g.Servers = append(g.Servers, s)
	}
	for range 3 {
		s, err := start(true, nil, nil)
		if err != nil {
			return nil, err
		}
		g.watch = append(g.watch, s)
		for _, command := range []string{
			fmt.Sprintf("SENTINEL MONITOR mymaster 127.0.0.1 %d 2", g.Servers[0].Port),
			"SENTINEL SET mymaster auth-pass " + Password, "SENTINEL SET mymaster down-after-milliseconds 500",
			"SENTINEL SET mymaster failover-timeout 3000",
		} {
			if answer, err := s.Ask(command); err != nil || answer != "+OK" {
				return nil, fmt.Errorf("%s: %s %w", command, answer, err)
			}
		}
	}
	if err := g.Servers[1].await("INFO replication", "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:"+fmt.Sprint(g.Servers[0].Port)+"\r\nmaster_link_status:up"); err != nil {
		return nil, err
	}
	for _, s := range g.watch { // until each knows the replica and the others
		if err := s.await("SENTINEL CKQUORUM mymaster", "+OK 3"); err != nil {
			return nil, err
		}
	}
	return g, g.watch[0].awaitReplica()
}

// awaitReplica waits until a sentinel knows whom to promote.
func (s *Server) awaitReplica() error {
	return s.await("SENTINEL REPLICAS mymaster", "*1")
}

// URL leads to the cluster, or to the master through its sentinels.
func (g *Group) URL() string {
	scheme, path, servers := "redis+cluster", "", g.Servers
	if len(g.watch) > 0 {
		scheme, path, servers = "redis+sentinel", "/mymaster/0", g.watch
	}
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, s.Address())
	}
	return scheme + "://:" + Password + "@" + strings.Join(hosts, ",") + path
}

// Close ends all servers.
func (g *Group) Close() error {
	var errs []error
	for _, s := range append(g.watch, g.Servers...) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
