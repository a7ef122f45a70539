package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTaskCrash kills the server and workers with SIGKILL at random moments,
// while clients submit tasks and workers carry them out, and demands of every
// task that was accepted that it ends done, with its effect there and one report
// of it accepted, or dead for the reason that it had.
func TestTaskCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := newTaskCrash(t)
	s := c.serve(t)
	for range 4 {
		c.employ(t)
	}
	for i := range 4 {
		c.clients.Go(func() { c.submit(i, seed) })
	}
	n := cycles(t)
	servers, workers := 0, 0
	for range n {
		for range c.room(t, s) {
			c.budget <- struct{}{}
		}
		<-time.NewTimer(time.Duration(20+r.IntN(400)) * time.Millisecond).C
		if r.IntN(2) == 0 {
			s.kill()
			servers++
			s = c.serve(t)
		}
		for _, w := range r.Perm(len(c.workers))[:r.IntN(3)] {
			c.workers[w].kill()
			workers++
		}
	}
	close(c.budget)
	c.clients.Wait()
	s.settle(t, crashFunction)
	c.dismiss()
	t.Logf("%d cycles: the server was killed %d times, workers %d times; %d tasks were accepted, %d submissions had no answer",
		n, servers, workers, len(c.accepted), c.unanswered)
	c.check(t, s)
}

// crashLoad is how many submissions may be made for each kill, while fewer than
// crashBacklog tasks are unfinished, so that the workers get to the end of them.
const (
	crashLoad    = 60
	crashBacklog = 1000
)

// taskCrash is what is known from outside about a crash test of tasks.
type taskCrash struct {
	address, data, dir string
	budget             chan struct{} // one for each submission that may be made; closed at the end
	clients            sync.WaitGroup
	workers            []*crashProcess

	mu         sync.Mutex
	accepted   map[string]crashArgs // by id: the arguments last accepted
	unanswered int
}

func newTaskCrash(t *testing.T) *taskCrash {
	t.Helper()
	c := &taskCrash{address: quietAddress(t), data: t.TempDir(), dir: t.TempDir(),
		budget: make(chan struct{}, crashLoad), accepted: make(map[string]crashArgs)}
	for _, sub := range []string{"effects", "journals"} {
		if err := os.Mkdir(filepath.Join(c.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// quietAddress is a free address outside of the ports that the kernel gives to
// clients, so that it stays free while the server is away.
func quietAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 20000+rand.IntN(10000)))
		if err == nil {
			_ = ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// serve starts the server at its address over its data.
func (c *taskCrash) serve(t *testing.T) *server {
	t.Helper()
	return launchAt(t, c.address, c.data, []string{binary}, "SAFELIGHT_CODEC_PROCESSES=1", "SAFELIGHT_LOG_LEVEL=error",
		"SAFELIGHT_TASKS_FUNCTIONS={"+crashFunction+": {max_attempts: 100, retry_unit: 10ms, retry_max: 300ms}}")
}

// crashProcess is a place for a worker: when its process ends, another takes it.
type crashProcess struct {
	mu   sync.Mutex
	cmd  *exec.Cmd
	shut bool
	done chan struct{} // closed when there is none any more
}

// employ fills a place with workers.
func (c *taskCrash) employ(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &crashProcess{done: make(chan struct{})}
	c.workers = append(c.workers, p)
	t.Cleanup(p.end)
	go func() {
		defer close(p.done)
		for {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), crashWorkerOf+"=http://"+c.address, crashWorkerDir+"="+c.dir)
			out := &lines{}
			cmd.Stderr = writerTo(out)
			stdin, err := cmd.StdinPipe() // it ends with this process
			if err == nil {
				err = p.start(cmd)
			}
			if err != nil {
				if err != errNoMore {
					t.Errorf("worker: %v", err)
				}
				return
			}
			_ = cmd.Wait()
			_ = stdin.Close()
			if text := out.String(); text != "" {
				t.Errorf("a worker said:\n%s", text)
			}
		}
	}()
}

// writerTo collects what a process writes.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func writerTo(l *lines) io.Writer {
	return writerFunc(func(p []byte) (int, error) { l.add(string(p)); return len(p), nil })
}

var errNoMore = fmt.Errorf("no more workers are wanted")

func (p *crashProcess) start(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return errNoMore
	}
	p.cmd = cmd
	return cmd.Start()
}

func (p *crashProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
	}
}

func (p *crashProcess) end() {
	p.mu.Lock()
	p.shut = true
	p.mu.Unlock()
	p.kill()
	<-p.done
}

func (c *taskCrash) dismiss() {
	for _, p := range c.workers {
		p.end()
	}
}

// submission is a task as a client submits it.
type submission struct {
	Function    string    `json:"function"`
	Name        string    `json:"name,omitempty"`
	Args        crashArgs `json:"args"`
	Delay       string    `json:"delay,omitempty"`
	Priority    int       `json:"priority,omitempty"`
	MaxAttempts int       `json:"max_attempts,omitempty"`
}

// submit is a client: single tasks, batches, and the same name again and again,
// as fast as answers come.
func (c *taskCrash) submit(client int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(client)+1))
	for i := 0; ; i++ {
		if _, ok := <-c.budget; !ok {
			return
		}
		var err error
		tag := fmt.Sprintf("%d-%d", client, i)
		switch r.IntN(6) {
		case 0:
			batch := make([]submission, 1+r.IntN(40))
			for j := range batch {
				batch[j] = anySubmission(r)
				batch[j].Args.Batch, batch[j].Args.Of = tag, len(batch)
			}
			err = c.send(map[string]any{"tasks": batch}, batch)
		case 1: // the name has a life of its own: each submission has a higher generation
			for g := range 1 + r.IntN(6) {
				s := submission{Function: crashFunction, Name: "name " + tag, Args: crashArgs{Kind: "plain", Generation: g}}
				err = errors.Join(err, c.send(s, []submission{s}))
			}
		default:
			s := anySubmission(r)
			err = c.send(s, []submission{s})
		}
		if err != nil { // the server is away; what may be submitted is not spent on that
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func anySubmission(r *rand.Rand) submission {
	s := submission{Function: crashFunction, Args: crashArgs{Kind: "plain"}, Priority: r.IntN(3)}
	if r.IntN(4) == 0 {
		s.Delay = fmt.Sprintf("%dms", 1+r.IntN(500))
	}
	switch n := r.IntN(1000); {
	case n < 50:
		s.Args.Kind, s.Args.Failures = "fail", 1+r.IntN(3)
	case n < 80:
		s.Args.Kind, s.MaxAttempts = "always", 1+r.IntN(3)
	case n < 88:
		s.Args.Kind, s.MaxAttempts = "kill", 1+r.IntN(3)
	case n < 93:
		s.Args.Kind = "slow"
	}
	return s
}

// send submits once, and notes what was accepted. What has no answer may have
// been stored or not.
func (c *taskCrash) send(body any, tasks []submission) error {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	var answer struct {
		ID    string
		Tasks []struct{ ID string }
	}
	res, err := client.Post("http://"+c.address+"/v1/tasks", "application/json", strings.NewReader(string(text)))
	if err == nil {
		defer res.Body.Close()
		if res.StatusCode == http.StatusCreated {
			err = json.NewDecoder(res.Body).Decode(&answer)
		} else {
			err = fmt.Errorf("answered %s", res.Status)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.unanswered++
		return err
	}
	if answer.Tasks == nil {
		answer.Tasks = []struct{ ID string }{{answer.ID}}
	}
	for i, t := range answer.Tasks {
		c.accepted[t.ID] = tasks[i].Args
	}
	return nil
}

// room is how many submissions may be made now.
func (c *taskCrash) room(t *testing.T, s *server) int {
	t.Helper()
	if s.live(t, crashFunction) > crashBacklog {
		return 0
	}
	return crashLoad - len(c.budget)
}

// live is how many tasks of some functions wait or run.
func (s *server) live(t *testing.T, functions ...string) int {
	t.Helper()
	var all struct {
		Functions []struct {
			Name  string
			Tasks map[string]int
		}
	}
	s.get("/v1/functions").json(t, &all)
	n := 0
	for _, f := range all.Functions {
		if slices.Contains(functions, f.Name) {
			n += f.Tasks["scheduled"] + f.Tasks["ready"] + f.Tasks["running"]
		}
	}
	return n
}

// settle waits until no task of some functions is left that may still run. It
// fails when it gets no further for a while.
func (s *server) settle(t *testing.T, functions ...string) {
	t.Helper()
	began := time.Now()
	least := s.live(t, functions...)
	left := least
	for least > 0 {
		within(t, time.Minute, func() bool {
			left = s.live(t, functions...)
			return left < least
		}, func() string {
			var page struct{ Tasks []taskState }
			s.get("/v1/tasks?state=scheduled,ready,running&limit=5").json(t, &page)
			return fmt.Sprintf("%d tasks are left, such as: %+v\n%s", left, page.Tasks, s.log)
		})
		least = left
	}
	t.Logf("everything was settled %s after the last kill", time.Since(began).Round(time.Millisecond))
}
