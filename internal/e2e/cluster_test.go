package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"testing"

	"safelight/internal/cdkblob/s3test"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/redis/redistest"
)

// clusterKey lets tests do everything on the nodes of a cluster.
const clusterKey = "a-key-for-tests-only"

// cluster is what an operator runs, as deploy/compose has it: nginx before nodes
// that share a database, a bucket and Redis. Each node keeps its address and its
// data directory over restarts.
type cluster struct {
	t       *testing.T
	front   *server // nginx
	pg      *pgtest.Server
	s3      *s3test.Server
	redis   *redistest.Server
	data    string // has the nodes' data directories
	env     []string
	address map[string]string
	nodes   map[string]*server
}

// newCluster starts the nodes a and b, with settings as environment variables,
// and nginx.
func newCluster(t *testing.T, env ...string) *cluster {
	t.Helper()
	nginxProgram(t)
	pg, setting := database(t)
	c := &cluster{t: t, pg: pg, s3: s3test.Start(t), redis: startRedis(t), data: t.TempDir(), address: map[string]string{}, nodes: map[string]*server{}}
	c.env = append(s3test.Env(), "SAFELIGHT_STORE_SOURCES="+c.s3.Bucket("home", "pictures"), "SAFELIGHT_REDIS_URL="+c.redis.URL())
	c.env = append(append(c.env, setting, "SAFELIGHT_AUTH_KEYS=[{name: tests, token: "+clusterKey+", scopes: [admin]}]", "SAFELIGHT_CODEC_PROCESSES=2"), env...)
	for _, name := range []string{"a", "b"} {
		c.address[name] = quietAddress(t)
		c.start(name)
	}
	c.front = balance(t, clusterKey, c.address["a"], c.address["b"])
	return c
}

// start starts a node, or starts it again.
func (c *cluster) start(name string, env ...string) *server {
	c.t.Helper()
	if c.address[name] == "" {
		c.address[name] = quietAddress(c.t)
	}
	s := launchAt(c.t, c.address[name], filepath.Join(c.data, name), []string{binary}, append(append(c.env, "SAFELIGHT_NODE="+name), env...)...)
	s.key = clusterKey
	eventually(c.t, func() bool { return s.get("/readyz").status == http.StatusOK }, func() string { return s.log.String() })
	c.nodes[name] = s
	return s
}

// logs are those of all nodes.
func (c *cluster) logs() string {
	text := ""
	for name, s := range c.nodes {
		text += "node " + name + ":\n" + s.log.String()
	}
	return text
}

// nodeInfo is a node as /v1/nodes lists it.
type nodeInfo struct {
	Name, Role, State, Address, Host string
	Self                             bool
	Heartbeat                        float64 `json:"heartbeat_seconds"`
	Tasks                            map[string]int
}

// listed are the nodes as one of them lists them, by name, and the warnings.
func (s *server) listed(t *testing.T) (nodes map[string]nodeInfo, warnings []string) {
	t.Helper()
	var list struct {
		Nodes    []nodeInfo
		Warnings []string
	}
	s.get("/v1/nodes").json(t, &list)
	nodes = make(map[string]nodeInfo)
	for _, n := range list.Nodes {
		nodes[n.Name] = n
	}
	return nodes, list.Warnings
}

// traced notes the address from which a request is sent, which names its
// connection.
func traced(ctx context.Context, local *net.Addr) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { *local = c.Conn.LocalAddr() }})
}
