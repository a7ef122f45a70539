package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refusedStart starts a server that must not start, and gives what it says.
func refusedStart(t *testing.T, data string, env ...string) string {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--data", data)
	cmd.Env = append(os.Environ(), env...)
	said := &bytes.Buffer{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Fatalf("it ended well, and said:\n%s", said)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatalf("it runs, after %v:\n%s", <-ended, said)
	}
	return said.String()
}

// TestNodeNames: two processes with one name can't share a database, wherever
// their data lies; one that was killed can start again at once; one that stops
// leaves the list.
func TestNodeNames(t *testing.T) {
	_, setting := database(t)
	a := start(t, "", setting)
	if said := refusedStart(t, t.TempDir(), setting); !strings.Contains(said, `node name "node" is in use`) || !strings.Contains(said, "SAFELIGHT_NODE") {
		t.Errorf("a second node with the default name says:\n%s", said)
	}
	if said := refusedStart(t, a.data, setting); !strings.Contains(said, "in use by another server") || !strings.Contains(said, "(node)") {
		t.Errorf("a second node with the same data directory too says:\n%s", said)
	}
	b := start(t, t.TempDir(), setting, "SAFELIGHT_NODE=b", "SAFELIGHT_ADVERTISE=10.1.2.3:80")
	for _, s := range []*server{a, b} {
		nodes, warnings := s.listed(t)
		if len(nodes) != 2 || len(warnings) != 0 || nodes["node"].State != "ready" || nodes["node"].Self != (s == a) || nodes["b"].Self != (s == b) ||
			"http://"+nodes["node"].Address != a.url || nodes["b"].Address != "10.1.2.3:80" || nodes["b"].Role != "all" || nodes["b"].Heartbeat > 6 {
			t.Errorf("the nodes are %+v, %v", nodes, warnings)
		}
	}
	out, err := exec.Command(binary, "nodes", "--server", a.url).Output()
	if err != nil || !strings.Contains(string(out), "node *  all   ready") || !strings.Contains(string(out), "10.1.2.3:80") {
		t.Errorf("%v\n%s", err, out)
	}
	if text := string(a.get("/metrics").body); !strings.Contains(text, `nodes{state="ready"} 2`) || !strings.Contains(text, `nodes{state="gone"} 0`) {
		t.Errorf("the metrics lack the nodes:\n%s", text)
	}
	b.kill()
	began := time.Now()
	b = start(t, b.data, setting, "SAFELIGHT_NODE=b")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("after kill -9 a start takes %s", took)
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if nodes, _ := a.listed(t); len(nodes) != 1 {
		t.Errorf("when one has stopped the nodes are %+v", nodes)
	}
}

// TestNameTakenMeanwhile: a process whose name was taken by another while it was
// cut off ends with an error.
func TestNameTakenMeanwhile(t *testing.T) {
	pg, setting := database(t)
	a := start(t, "", setting)
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := pg.Exec("test1", `UPDATE nodes SET seen = seen - interval '20 seconds'`); err != nil {
		t.Fatal(err)
	}
	b := start(t, t.TempDir(), setting)
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("it goes on\n%s", a.log)
	}
	if a.err == nil || !strings.Contains(a.log.String(), `node name "node" is in use`) {
		t.Errorf("it ended with %v\n%s", a.err, a.log)
	}
	if nodes, _ := b.listed(t); len(nodes) != 1 || "http://"+nodes["node"].Address != b.url {
		t.Errorf("the nodes are %+v", nodes)
	}
}

// TestSQLiteNode: a server alone lists itself, and can't be anything but all.
func TestSQLiteNode(t *testing.T) {
	s := start(t, "")
	nodes, warnings := s.listed(t)
	if n := nodes["node"]; len(nodes) != 1 || !n.Self || n.State != "ready" || n.Role != "all" || len(warnings) > 0 {
		t.Errorf("%+v, %v", nodes, warnings)
	}
	if said := refusedStart(t, t.TempDir(), "SAFELIGHT_ROLE=worker"); !strings.Contains(said, "role: worker") || !strings.Contains(said, "database.url") {
		t.Errorf("a worker without a shared database says:\n%s", said)
	}
}

// TestRoles has a node take uploads that carries out nothing, and another carry
// out tasks that takes no requests.
func TestRoles(t *testing.T) {
	_, setting := database(t)
	env := []string{setting, "SAFELIGHT_PRESETS={thumb: w=64&format=jpeg}", "SAFELIGHT_PIPELINE_STEPS=[render]"}
	api := start(t, "", append(env, "SAFELIGHT_NODE=front", "SAFELIGHT_ROLE=api")...)
	body := jpegOf(t, scene(200, 150, 1))
	_, files := api.upload(file{name: "one.jpg", bytes: body})
	checkPicture(t, api, files[0].Key, body)
	if a := api.get(files[0].URL + "?w=20"); a.status != http.StatusOK {
		t.Errorf("a rendition is answered with %d %s", a.status, a.body)
	}
	waiting := func() string {
		var k struct {
			State      string
			WaitingFor string `json:"waiting_for"`
		}
		api.get(files[0].Tasks[0].URL).json(t, &k)
		return k.State + " " + k.WaitingFor
	}
	eventually(t, func() bool { return waiting() == "ready workers" }, func() string { return "without a worker its task is " + waiting() })
	if !strings.Contains(api.log.String(), "no node carries out tasks") {
		t.Errorf("the log does not say so:\n%s", api.log)
	}
	if _, warnings := api.listed(t); len(warnings) != 1 || !strings.Contains(warnings[0], "no node carries out tasks") {
		t.Errorf("the list of nodes warns of %q", warnings)
	}
	worker := launch(t, api.data, []string{binary}, append(env, "SAFELIGHT_NODE=back", "SAFELIGHT_ROLE=worker")...)
	eventually(t, func() bool { return api.settled(files[0].ID) }, func() string { return fmt.Sprintf("%+v\n%s", api.describe(files[0].ID), worker.log) })
	if p := api.describe(files[0].ID).Presets; len(p) != 1 || p[0].Width != 64 {
		t.Errorf("the presets are %+v", p)
	}
	nodes, warnings := api.listed(t)
	if len(warnings) > 0 || nodes["front"].Role != "api" || nodes["back"].Role != "worker" {
		t.Errorf("the nodes are %+v, %v", nodes, warnings)
	}
	for path, status := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/nodes": 421, "/images/" + files[0].Key: 421, "/images/" + files[0].Key + "?w=20": 421, "/v1/worker/claim": 421, "/": 421,
	} {
		a := worker.get(path)
		if a.status != status || status == 421 && !strings.Contains(string(a.body), "problem:misdirected") {
			t.Errorf("a worker answers %s with %d %.200s", path, a.status, a.body)
		}
	}
}

// TestOneNodeRenders: a rendition that is asked for again and again through nginx
// is rendered on one node only; when that is gone, the other finds it in Redis.
func TestOneNodeRenders(t *testing.T) {
	c := newCluster(t, "SAFELIGHT_PIPELINE_STEPS=[]")
	_, files := c.front.upload(file{name: "one.jpg", bytes: jpegOf(t, scene(400, 300, 1))})
	const variants, times = 40, 5
	path := func(i int) string { return fmt.Sprintf("%s?w=%d&format=jpeg", files[0].URL, 20+i) }
	for range times {
		for i := range variants {
			if a := c.front.get(path(i)); a.status != http.StatusOK {
				t.Fatalf("%d %s\n%s", a.status, a.body, c.logs())
			}
		}
	}
	rendered := func(name string) float64 { return metric(t, c.nodes[name], `renditions_total{from="render"}`) }
	a, b := rendered("a"), rendered("b")
	if a+b != variants || a < variants/8 || b < variants/8 {
		t.Errorf("the nodes have rendered %v and %v of %d renditions", a, b, variants)
	}
	c.nodes["a"].kill()
	for i := range variants {
		if answer := c.front.get(path(i)); answer.status != http.StatusOK {
			t.Fatalf("when a node is gone: %d %s\n%s", answer.status, answer.body, c.logs())
		}
	}
	if now := rendered("b"); now != b {
		t.Errorf("the node that is left has rendered %v that the other had rendered", now-b)
	}
}

// TestNodeKilled kills a node with SIGKILL while clients upload through nginx and
// it carries out tasks: all that was acknowledged is there, by the other node,
// which finishes the tasks too. The node itself can start again at once.
func TestNodeKilled(t *testing.T) {
	c := newCluster(t, "SAFELIGHT_PRESETS={big: w=1600&format=avif&q=60}", "SAFELIGHT_PIPELINE_STEPS=[render]", "SAFELIGHT_TASKS_LEASE=2s")
	known := &acknowledged{all: map[string][32]byte{}}
	load := &customers{front: c.front, known: known, ended: make(chan struct{})}
	var held map[string]int
	for round := range 2 {
		load.ended = make(chan struct{})
		for i := range 4 {
			load.all.Go(func() { load.upload(10*round + i) })
		}
		load.uploaded(t, 10)
		photo := jpegOf(t, scene(1600, 1200, uint64(100+round)))
		for i := range 4 { // each takes a while
			c.front.upload(file{name: fmt.Sprintf("photo%d-%d.jpg", round, i), bytes: append(photo, byte(i))})
		}
		eventually(t, func() bool {
			nodes, _ := c.nodes["b"].listed(t)
			held = nodes["a"].Tasks
			return held["render"] > 0
		}, func() string { return "the node carries out nothing" })
		before := c.nodes["b"].taken(t)
		c.nodes["a"].kill()
		load.uploaded(t, 10)
		close(load.ended)
		load.all.Wait()
		checkSample(t, c.nodes["b"], known, len(known.all), rand.New(rand.NewPCG(1, 1)))
		c.nodes["b"].settle(t, "render")
		if again := c.nodes["b"].taken(t); again <= before {
			t.Errorf("no task of the killed node was carried out again; it had %v", held)
		}
		t.Logf("%d uploads; %v were under way on the killed node; %d requests had no answer", load.uploads.Load(), held, len(load.failed()))
		c.start("a")
	}
	var list struct{ Tasks []struct{ State string } }
	c.nodes["b"].get("/v1/tasks?state=dead,cancelled").json(t, &list)
	if len(list.Tasks) > 0 {
		t.Errorf("%d tasks were not done", len(list.Tasks))
	}
	checkSample(t, c.nodes["a"], known, len(known.all), rand.New(rand.NewPCG(1, 1)))
}

// taken is how many tasks have been done, or are being done, in another attempt
// than their first.
func (s *server) taken(t *testing.T) int {
	t.Helper()
	var list struct{ Tasks []struct{ Attempt int } }
	s.get("/v1/tasks?function=render&limit=1000").json(t, &list)
	n := 0
	for _, k := range list.Tasks {
		if k.Attempt > 1 {
			n++
		}
	}
	return n
}
