package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// taskServer is the server's queue over HTTP, with a connection for each worker.
type taskServer struct {
	p     *process
	conns []*caller
}

func (b *bench) openTaskServer() (*taskServer, error) {
	p, err := b.safelight("SAFELIGHT_CODEC_PROCESSES=1")
	if err != nil {
		return nil, err
	}
	s := &taskServer{p: p}
	for range taskWorkers {
		s.conns = append(s.conns, &caller{host: strings.TrimPrefix(p.url, "http://")})
	}
	return s, nil
}

// caller is a client that costs little: one connection, prepared bytes out.
type caller struct {
	host string
	conn net.Conn
	in   *bufio.Reader
	used time.Time
}

// stale is when a connection is given up that was not used: the server may have
// closed it.
const stale = 5 * time.Second

func (c *caller) dial() error {
	if time.Since(c.used) < stale {
		return nil
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
	var err error
	c.conn, err = net.Dial("tcp", c.host)
	c.in = bufio.NewReaderSize(c.conn, 64<<10)
	return err
}

// post sends JSON, demands a 200 or 201, and reads the answer into into; nil
// reads it and no more.
func (c *caller) post(path, body string, into any) error {
	if err := c.dial(); err != nil {
		return err
	}
	defer func() { c.used = time.Now() }()
	if _, err := fmt.Fprintf(c.conn, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		answer, _ := io.ReadAll(res.Body)
		return fmt.Errorf("POST %s was answered %s: %.300s", path, res.Status, answer)
	}
	if into != nil {
		err = json.NewDecoder(res.Body).Decode(into)
	}
	if _, rest := io.Copy(io.Discard, res.Body); err == nil {
		err = rest
	}
	return err
}

// heldTasks are tasks as a claim hands them out.
type heldTasks struct {
	Tasks []struct {
		ID    string    `json:"id"`
		Lease string    `json:"lease"`
		RunAt time.Time `json:"run_at"`
	} `json:"tasks"`
}

const oneTask = `{"function":"` + taskFunction + `","args":` + taskArgs + `}`

func (s *taskServer) submit(worker, n int) error {
	body := oneTask
	if n > 1 {
		body = `{"tasks":[` + strings.Repeat(oneTask+",", n-1) + oneTask + `]}`
	}
	return s.conns[worker].post("/v1/tasks", body, nil)
}

func (s *taskServer) finish(worker, n int) error {
	got, err := s.claim(worker, n, taskLease, 0)
	if err := all(len(got.Tasks), n, err); err != nil {
		return err
	}
	return s.report(worker, got)
}

func (s *taskServer) claim(worker, n int, lease, wait time.Duration) (got heldTasks, err error) {
	body := fmt.Sprintf(`{"functions":[%q],"max":%d,"lease":%q,"wait":%q}`, taskFunction, n, lease, wait)
	err = s.conns[worker].post("/v1/worker/claim", body, &got)
	return got, err
}

func (s *taskServer) report(worker int, got heldTasks) error {
	var body strings.Builder
	for i, t := range got.Tasks {
		fmt.Fprintf(&body, `%s{"id":%q,"lease":%q,"outcome":"done","result":%s}`, []string{`{"reports":[`, ","}[min(i, 1)], t.ID, t.Lease, taskResult)
	}
	var answer struct {
		Results []struct{ State string }
	}
	err := s.conns[worker].post("/v1/worker/reports", body.String()+"]}", &answer)
	for _, r := range answer.Results {
		if r.State != "done" {
			return fmt.Errorf("a report was answered with the state %q", r.State)
		}
	}
	return err
}
