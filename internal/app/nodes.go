package app

import (
	"cmp"
	"crypto/rand"
	"net"
	"os"
	"runtime"

	"safelight/internal/node"
	"safelight/internal/telemetry"
)

// openNodes makes the membership of this process; it begins with Run.
func (a *App) openNodes(metrics *telemetry.Metrics, version string) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	a.nodes = node.NewMembership(a.registry, node.Node{
		Name: a.config.Node, Instance: rand.Text(), Role: cmp.Or(a.config.Role, node.All), Version: version, Host: host, Cores: runtime.NumCPU(),
	}, a.log)
	metrics.Nodes(a.nodes.Members)
}

// advertised is the address at which others reach this node: that of the
// configuration, or where it listens, on the machine's name if that is every
// address.
func (a *App) advertised(listens net.Addr) string {
	if a.config.Advertise != "" {
		return a.config.Advertise
	}
	tcp, ok := listens.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return listens.String()
	}
	host, err := os.Hostname()
	if err != nil {
		return listens.String()
	}
	_, port, err := net.SplitHostPort(listens.String())
	if err != nil {
		return listens.String()
	}
	return net.JoinHostPort(host, port)
}

// attended tells whether somebody carries out a function: a worker outside, or,
// if it is one of the server's own, a node.
func (a *App) attended() func(function string) bool {
	attendance := a.engine.Attendance()
	return func(function string) bool {
		own := a.engine.Reserved(function) && !a.policies.For(function).Worker
		return attendance.Attended(function) && (!own || a.nodes.Attended())
	}
}
