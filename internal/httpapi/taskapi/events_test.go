package taskapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/asset"
	"safelight/internal/auth"
	"safelight/internal/fault"
	"safelight/internal/httpapi/taskapi"
	"safelight/internal/task"
)

// next is the next event, told apart as name, state and progress.
func next(t *testing.T, events <-chan event) string {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			return "closed"
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %d", e.name, e.task.State, e.task.Progress))
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return ""
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(s *server) { s.Server.Config.WriteTimeout = 100 * time.Millisecond })
	id := s.submit(siteKey, "f").ID
	events := s.follow(readKey, id)
	expect := func(want string) {
		t.Helper()
		if got := next(t, events); got != want {
			t.Fatalf("the event is %q; want %q", got, want)
		}
	}
	expect("task ready 0")
	c := s.claim(workerKey, "f")
	expect("task running 0")
	s.do(workerKey, "POST", c.URLs.Heartbeat, `{"progress":40}`).is(200)
	expect("task running 40")
	s.do(workerKey, "POST", c.URLs.Report, `{"outcome":"done"}`).is(200)
	expect("task done 100")
	expect("end  0")
	expect("closed")
	events = s.follow(readKey, id) // of one that is finished
	expect("task done 100")
	expect("end  0")
	expect("closed")
	s.do(readKey, "HEAD", "/v1/tasks/"+s.submit(siteKey, "f").ID+"/events", "").is(200)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.api.SetReady(true)
	s.do("", "GET", "/readyz", "").is(200)
	events := s.follow(readKey, s.submit(siteKey, "f").ID)
	if got := next(t, events); got != "task ready 0" {
		t.Fatal(got)
	}
	answers := make(chan *reply)
	go func() {
		answers <- s.do(workerKey, "POST", "/v1/worker/claim", `{"functions":["g"],"wait":"1m"}`)
	}()
	<-s.waiting
	s.api.Drain()
	if got := as[claimedList]((<-answers).is(200)); got.Tasks == nil || len(got.Tasks) != 0 {
		t.Errorf("%+v", got)
	}
	if got := next(t, events); got != "closed" {
		t.Errorf("the stream goes on with %s", got)
	}
	s.do("", "GET", "/readyz", "").is(503)
}

// open is a Front that lets everybody in.
type open struct{ taskapi.Front }

func (open) Permit(*http.Request, auth.Scope) (auth.Principal, error) {
	return auth.Principal{Owner: "main"}, nil
}

func (open) Fail(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), 500)
}

// one is a queue of one task, which changes without a signal, as one does that
// another node changes.
type one struct {
	taskapi.Tasks
	mu   sync.Mutex
	task task.Task
	err  error
}

func (o *one) Task(context.Context, string, asset.ID) (task.Task, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.task, o.err
}

func (o *one) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// lines is a connection that gathers what was written.
type lines struct {
	*httptest.ResponseRecorder
	mu    sync.Mutex
	until time.Time
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.until.After(time.Now()) {
		return 0, context.DeadlineExceeded
	}
	return l.ResponseRecorder.Write(p)
}

func (l *lines) SetWriteDeadline(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = at
	return nil
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.Body.Reset()
	return l.Body.String()
}

func TestEventsWithoutSignals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mint := asset.NewMint([]byte("a secret for tests"))
		queue := &one{task: task.Task{ID: mint.New(time.Now()), State: task.Running}}
		api := taskapi.New(open{}, taskapi.Deps{Tasks: queue, Signals: task.NewSignals(), Mint: mint, Attended: func(string) bool { return true }})
		w := &lines{ResponseRecorder: httptest.NewRecorder()}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r := httptest.NewRequest("GET", "/", nil)
			r.SetPathValue("id", queue.task.ID.String())
			api.ServeEvents(w, r)
		}()
		pass := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			got := w.take()
			for _, part := range want {
				if !strings.Contains(got, part) {
					t.Errorf("%s later %q lacks %q", d, got, part)
				}
			}
			if len(want) == 0 && got != "" {
				t.Errorf("%s later came %q", d, got)
			}
		}
		pass(time.Millisecond, "event: task\ndata: {", `"running"`)
		pass(10 * time.Second)
		queue.set(func() { queue.task.Progress = 7 })
		pass(time.Second, "event: task\n", `"progress":7`)
		pass(4*time.Second, ":\n\n") // at 15 s
		pass(14 * time.Second)
		pass(time.Second, ":\n\n")
		queue.set(func() { queue.err = fault.New(fault.Unavailable, "busy") })
		pass(5 * time.Second)
		queue.set(func() { queue.err = fault.New(fault.NotFound, "forgotten") })
		pass(time.Second, "event: end\ndata: {}\n\n")
		<-ended
	})
}
