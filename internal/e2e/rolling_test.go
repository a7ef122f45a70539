package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// customers send uploads and reads through the balancer all the time, and note
// every request that was not answered as it should.
type customers struct {
	front    *server
	known    *acknowledged
	ended    chan struct{}
	all      sync.WaitGroup
	uploads  atomic.Int64
	reads    atomic.Int64
	mu       sync.Mutex
	failures []string
}

func (c *customers) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

func (c *customers) going() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// slowBody is a body that takes a while, so that a stop falls into it.
type slowBody struct {
	io.Reader
	pause time.Duration
}

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(b.pause)
	return b.Reader.Read(p[:min(len(p), 16<<10)])
}

// upload sends files one after the other, each once, some of them slowly.
func (c *customers) upload(worker int) {
	r := rand.New(rand.NewPCG(uint64(worker), 1))
	for i := 0; c.going(); i++ {
		name := fmt.Sprintf("w%d-%d.png", worker, i)
		body := uniquePNG(name, r.IntN(200_000))
		content, kind := form(file{name: name, bytes: body})
		var sent io.Reader = content
		if worker%2 == 0 {
			sent = slowBody{bytes.NewReader(content.Bytes()), time.Duration(r.IntN(40)) * time.Millisecond}
		}
		a, err := c.front.try(http.MethodPost, "/upload", sent, "Content-Type", kind)
		if err != nil || a.status != http.StatusCreated {
			c.fail("upload of %s: %v, %d %.300s", name, err, a.status, a.body)
			continue
		}
		var doc struct{ Files []stored }
		a.json(c.front.t, &doc)
		c.known.add(doc.Files[0].URL, body)
		c.uploads.Add(1)
	}
}

// read asks for pictures whose answers are known.
func (c *customers) read(worker int, want map[string]string) {
	var paths []string
	for p := range want {
		paths = append(paths, p)
	}
	r := rand.New(rand.NewPCG(uint64(worker), 2))
	for c.going() {
		p := paths[r.IntN(len(paths))]
		a, err := c.front.try(http.MethodGet, p, nil)
		if err != nil || a.status != http.StatusOK || digestOf(a.body) != want[p] {
			c.fail("read of %s: %v, %d %.300s", p, err, a.status, a.body)
		}
		if a, err = c.front.try(http.MethodGet, "/v1/images?limit=2", nil); err != nil || a.status != http.StatusOK {
			c.fail("list: %v, %d %.300s", err, a.status, a.body)
		}
		c.reads.Add(2)
	}
}

// busy begins the load, on pictures that are there.
func busy(t *testing.T, c *cluster) *customers {
	t.Helper()
	want := make(map[string]string)
	for i := range 8 {
		_, files := c.front.upload(file{name: fmt.Sprintf("old%d.jpg", i), bytes: jpegOf(t, scene(320, 240, uint64(i)))})
		for _, query := range []string{"", "?w=100&format=jpeg", "?w=50&format=png"} {
			a := c.front.get(files[0].URL + query)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			want[files[0].URL+query] = digestOf(a.body)
		}
	}
	load := &customers{front: c.front, known: &acknowledged{all: map[string][32]byte{}}, ended: make(chan struct{})}
	for i := range 4 {
		load.all.Go(func() { load.upload(i) })
		load.all.Go(func() { load.read(i, want) })
	}
	return load
}

// more waits until the load has gone on for so many uploads and reads.
func (c *customers) more(t *testing.T, n int64) {
	t.Helper()
	uploads, reads := c.uploads.Load()+n, c.reads.Load()+n
	eventually(t, func() bool { return c.uploads.Load() >= uploads && c.reads.Load() >= reads || len(c.failed()) > 0 },
		func() string { return "the load does not go on" })
}

// uploaded waits for so many more uploads, while others may fail.
func (c *customers) uploaded(t *testing.T, n int64) {
	t.Helper()
	enough := c.uploads.Load() + n
	eventually(t, func() bool { return c.uploads.Load() >= enough }, func() string { return fmt.Sprintf("uploads fail: %v", c.failed()) })
}

func (c *customers) failed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures
}

// TestRollingRestart restarts both nodes behind nginx one after the other, twice,
// while clients upload and read: no request fails, and what was acknowledged is
// there. Uploads are sent once.
func TestRollingRestart(t *testing.T) {
	c := newCluster(t, "SAFELIGHT_PIPELINE_STEPS=[]")
	load := busy(t, c)
	load.more(t, 10)
	for range 2 {
		for _, name := range []string{"a", "b"} {
			if err := c.nodes[name].stop(); err != nil {
				t.Errorf("%s ended with %v\n%s", name, err, c.nodes[name].log)
			}
			load.more(t, 5)
			c.start(name)
			c.returned(name)
			load.more(t, 5)
		}
	}
	close(load.ended)
	load.all.Wait()
	t.Logf("%d uploads, %d reads", load.uploads.Load(), load.reads.Load())
	for i, f := range load.failed() {
		if i < 5 {
			t.Error(f)
		}
	}
	if n := len(load.failed()); n > 0 {
		t.Fatalf("%d requests failed\n%s", n, c.logs())
	}
	checkSample(t, c.front, load.known, int(load.uploads.Load()), rand.New(rand.NewPCG(1, 1)))
	for _, line := range accesses(t, c.front) {
		if w := strings.Fields(line); w[0] == "POST" && len(w) > 5 && w[len(w)-2] != "502," { // that is nginx's own word for a connection that was not made
			t.Errorf("an upload was sent twice: %s", line)
		}
	}
}

// returned waits until nginx sends requests to a node again.
func (c *cluster) returned(name string) {
	c.t.Helper()
	s := c.nodes[name]
	before := served(c.t, s)
	eventually(c.t, func() bool {
		for i := range 20 {
			c.front.get(fmt.Sprintf("/images/none-%d?w=%d", i, i+1))
		}
		return served(c.t, s) > before
	}, func() string { return "nginx does not use the node again" })
}

// served is how many requests for pictures that don't exist a node has answered.
func served(t *testing.T, s *server) float64 {
	t.Helper()
	sum := 0.0
	for line := range strings.Lines(string(s.get("/metrics").body)) {
		var n float64
		if strings.HasPrefix(line, "http_requests_total{") && strings.Contains(line, `status="404"`) {
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &n); err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// TestStopLosesNoConnection stops a node while clients open connections as fast
// as they can: each is answered, or not made at all.
func TestStopLosesNoConnection(t *testing.T) {
	_, setting := database(t)
	for range 3 {
		s := start(t, "", setting)
		host := strings.TrimPrefix(s.url, "http://")
		var clients sync.WaitGroup
		var answered, lost atomic.Int64
		for range 16 {
			clients.Go(func() {
				for {
					dialer := net.Dialer{Timeout: 5 * time.Second}
					c, err := dialer.Dial("tcp", host)
					if errors.Is(err, syscall.ECONNREFUSED) {
						return
					}
					if err == nil {
						err = ask(c)
					}
					if err != nil {
						lost.Add(1)
						t.Errorf("a connection that was made was lost: %v", err)
						return
					}
					answered.Add(1)
				}
			})
		}
		eventually(t, func() bool { return answered.Load() > 200 || lost.Load() > 0 }, func() string { return s.log.String() })
		if err := s.stop(); err != nil {
			t.Errorf("%v\n%s", err, s.log)
		}
		clients.Wait()
	}
}

// ask makes one request over a connection of its own.
func ask(c net.Conn) error {
	defer c.Close()
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	text, err := io.ReadAll(c)
	if err == nil && !bytes.HasPrefix(text, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("the answer is %.100q", text)
	}
	return err
}

// TestDrainDelay: while a node waits for balancers to notice that it stops, it
// says so, answers everything, and ends kept connections with their next answer.
func TestDrainDelay(t *testing.T) {
	s := start(t, "", "SAFELIGHT_HTTP_DRAIN_DELAY=3s")
	_, files := s.upload(file{name: "a.jpg", bytes: jpegOf(t, scene(200, 150, 1))})
	path := files[0].URL + "?w=50&format=jpeg"
	for range 3 { // so that an answer is prepared
		s.get(path)
	}
	kept := &http.Client{Transport: &http.Transport{MaxIdleConns: 1, MaxConnsPerHost: 1}}
	get := func(path string) (*http.Response, net.Addr) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		var local net.Addr
		res, err := kept.Do(req.WithContext(traced(req.Context(), &local)))
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, s.log)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		return res, local
	}
	_, first := get(path)
	if res, second := get(path); res.Close || second.String() != first.String() {
		t.Fatal("a connection is not kept")
	}
	began := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return s.get("/readyz").status == http.StatusServiceUnavailable }, func() string { return s.log.String() })
	if res, same := get(path); res.StatusCode != http.StatusOK || !res.Close || same.String() != first.String() {
		t.Errorf("a kept connection is answered with %d, close %v, over %s instead of %s", res.StatusCode, res.Close, same, first)
	}
	if nodes, _ := s.listed(t); nodes["node"].State != "draining" {
		t.Errorf("it is listed as %+v", nodes)
	}
	if a, _ := s.upload(file{name: "b.jpg", bytes: jpegOf(t, scene(200, 150, 2))}); a.status != http.StatusCreated {
		t.Errorf("an upload is answered with %d %s", a.status, a.body)
	}
	<-s.done
	if s.err != nil || time.Since(began) < 3*time.Second {
		t.Errorf("it ended after %s: %v\n%s", time.Since(began), s.err, s.log)
	}
}
