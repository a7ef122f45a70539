package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// examples are the workers in examples/workers: each one's command, and the
// programs without which it is skipped.
var examples = map[string]struct{ command, needs []string }{
	"bash":   {[]string{"bash", "bash/worker.sh"}, []string{"bash", "curl", "jq"}},
	"python": {[]string{"python3", "python/worker.py"}, []string{"python3"}},
	"node":   {[]string{"node", "node/worker.mjs"}, []string{"node"}},
	"go":     {nil, []string{"go"}}, // built by the test
}

const examplesDir = "../../examples/workers"

// exampleWorker is a running worker.
type exampleWorker struct {
	cmd  *exec.Cmd
	log  string        // a file, which unlike a pipe nobody who outlives the worker keeps open
	done chan struct{} // closed when it has been reaped
	err  error         // its exit, after done
}

// work starts an example worker for a server, and kills it when the test ends.
func (s *server) work(t *testing.T, language string, env ...string) *exampleWorker {
	t.Helper()
	example := examples[language]
	for _, program := range append([]string{"guetzli"}, example.needs...) {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (scripts/setup test)", program)
		}
	}
	command := example.command
	if language == "go" {
		to := filepath.Join(t.TempDir(), "worker")
		build := exec.Command("go", "build", "-o", to, ".")
		build.Dir = filepath.Join(examplesDir, "go")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		command = []string{to}
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w := &exampleWorker{cmd: exec.Command(command[0], command[1:]...), log: log.Name(), done: make(chan struct{})}
	w.cmd.Dir = examplesDir
	w.cmd.Env = append(os.Environ(), append([]string{"SAFELIGHT_SERVER=" + s.url, "WORKER=" + language}, env...)...)
	w.cmd.Stdout, w.cmd.Stderr = log, log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		w.err = w.cmd.Wait()
		close(w.done)
	}()
	t.Cleanup(func() {
		w.signal(syscall.SIGKILL)
		t.Logf("%s worker: %v\n%s", language, w.err, w.said())
	})
	return w
}

// signal sends a signal that ends the worker, and waits until it has.
func (w *exampleWorker) signal(sig syscall.Signal) {
	_ = w.cmd.Process.Signal(sig)
	<-w.done
}

// said is what the worker has written.
func (w *exampleWorker) said() string {
	text, err := os.ReadFile(w.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// taskState is a task as the server tells it.
type taskState struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Attempt  int    `json:"attempt"`
	Worker   string `json:"worker"`
	Progress int    `json:"progress"`
	Message  string `json:"message"`
	Error    string `json:"error"`
	Result   struct {
		Before int64 `json:"before"`
		After  int64 `json:"after"`
	} `json:"result"`
	Output *struct {
		SHA256 string `json:"sha256"`
		Bytes  int64  `json:"bytes"`
		Type   string `json:"type"`
	} `json:"output"`
}

// compress uploads a picture and submits a task for a worker to shrink it.
func (s *server) compress(t *testing.T, seed uint64) taskState {
	t.Helper()
	a, files := s.upload(file{name: "photo.png", bytes: pngOf(t, scene(160, 120, seed))})
	if a.status != http.StatusCreated || len(files) != 1 {
		t.Fatalf("upload: %d %s", a.status, a.body)
	}
	body := fmt.Sprintf(`{"function":"guetzli","image":%q,"input":"w=64","args":{"quality":85}}`, files[0].ID)
	a = s.do(http.MethodPost, "/v1/tasks", strings.NewReader(body), "Content-Type", "application/json")
	if a.status != http.StatusCreated {
		t.Fatalf("submit: %d %s", a.status, a.body)
	}
	var task taskState
	a.json(t, &task)
	return task
}

// await follows a task's events until one of them will do.
func (s *server) await(t *testing.T, id string, enough func(taskState) bool) taskState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/tasks/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("events: %s", res.Status)
	}
	var last taskState
	event := ""
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if name, ok := strings.CutPrefix(scan.Text(), "event:"); ok {
			event = strings.TrimSpace(name)
		}
		data, ok := strings.CutPrefix(scan.Text(), "data:")
		if !ok || event != "task" {
			continue
		}
		last = taskState{}
		if err := json.Unmarshal([]byte(data), &last); err != nil {
			t.Fatalf("event %q: %v", data, err)
		}
		if enough(last) {
			return last
		}
	}
	t.Fatalf("the events ended (%v) with %+v\n%s", scan.Err(), last, s.log)
	return last
}

func finished(task taskState) bool {
	return task.State == "done" || task.State == "dead" || task.State == "cancelled"
}

// checkShrunk demands that a task is done and its output a JPEG 64 pixels wide.
func (s *server) checkShrunk(t *testing.T, task taskState) {
	t.Helper()
	if task.State != "done" || task.Output == nil || task.Output.Type != "image/jpeg" {
		t.Fatalf("%+v", task)
	}
	if task.Result.After != task.Output.Bytes || task.Result.Before <= task.Result.After {
		t.Errorf("result %+v, output %+v", task.Result, *task.Output)
	}
	a := s.get("/v1/tasks/" + task.ID + "/output")
	img, err := jpeg.Decode(bytes.NewReader(a.body))
	if err != nil || img.Bounds().Dx() != 64 || img.Bounds().Dy() != 48 {
		t.Errorf("output: answer %d with %d bytes: %v", a.status, len(a.body), err)
	}
}

// Every example does a task from claim to report, and ends well when told to.
func TestWorkers(t *testing.T) {
	for language := range examples {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := start(t, "")
			w := s.work(t, language)
			for seed := range uint64(2) {
				task := s.await(t, s.compress(t, seed).ID, finished)
				s.checkShrunk(t, task)
				if task.Attempt != 1 || task.Worker != language {
					t.Errorf("attempt %d of worker %q", task.Attempt, task.Worker)
				}
			}
			w.signal(syscall.SIGTERM) // while it waits for the next
			if w.err != nil {
				t.Errorf("stopped: %v", w.err)
			}
		})
	}
}

// blocked is a script in guetzli's place that stands still until it is let go
// on, and a channel that tells when it has begun. The one that comes first
// stands still; later ones are guetzli.
func blocked(t *testing.T) (script string, begun <-chan struct{}) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"begun", "go"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script = filepath.Join(dir, "guetzli")
	text := fmt.Sprintf("#!/bin/sh\ncd %q\nmkdir first 2>/dev/null || exec guetzli \"$@\"\necho >begun\nread line <go\nexit 1\n", dir)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	c := make(chan struct{})
	go func() {
		if f, err := os.Open(filepath.Join(dir, "begun")); err == nil { // waits for the script
			_, _ = io.Copy(io.Discard, f)
			f.Close()
			close(c)
		}
	}()
	t.Cleanup(func() {
		// Opened for both, a FIFO waits for nobody; what is written frees a
		// script that outlived its worker, and an open one frees the above.
		for _, name := range []string{"begun", "go"} {
			if f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0); err == nil {
				_, _ = f.WriteString("\n")
				defer f.Close()
			}
		}
	})
	return script, c
}

// stuck starts a worker and a task, and returns once guetzli stands still in it.
func stuck(t *testing.T, s *server, language string) (*exampleWorker, taskState, string) {
	t.Helper()
	script, begun := blocked(t)
	task := s.compress(t, 7)
	w := s.work(t, language, "GUETZLI="+script, "LEASE=5s")
	select {
	case <-begun:
	case <-w.done:
		t.Fatalf("the worker ended: %v\n%s", w.err, w.said())
	case <-time.After(time.Minute):
		t.Fatalf("the worker did not begin\n%s\n%s", w.said(), s.log)
	}
	return w, task, script
}

// A worker that is killed in the middle of a task leaves it to another, of
// another language, which begins attempt 2.
func TestWorkerKilled(t *testing.T) {
	next := map[string]string{"bash": "python", "python": "node", "node": "go", "go": "bash"}
	for language := range examples {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := start(t, "")
			w, task, script := stuck(t, s, language)
			held := s.await(t, task.ID, func(task taskState) bool { return task.State == "running" })
			if held.Worker != language || held.Attempt != 1 {
				t.Errorf("%+v", held)
			}
			w.signal(syscall.SIGKILL)
			s.work(t, next[language], "GUETZLI="+script)
			done := s.await(t, task.ID, finished)
			s.checkShrunk(t, done)
			if done.Attempt != 2 || done.Worker != next[language] {
				t.Errorf("attempt %d of worker %q", done.Attempt, done.Worker)
			}
		})
	}
}

// A worker that is told to stop in the middle of a task gives it back: it is
// ready again at once, and the attempt does not count.
func TestWorkerStopped(t *testing.T) {
	for language := range examples {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := start(t, "")
			w, task, script := stuck(t, s, language)
			w.signal(syscall.SIGTERM)
			if w.err != nil {
				t.Errorf("stopped: %v", w.err)
			}
			back := s.await(t, task.ID, func(task taskState) bool { return task.State != "running" })
			if back.State != "ready" && back.State != "scheduled" {
				t.Errorf("given back: %+v", back)
			}
			s.work(t, language, "GUETZLI="+script)
			done := s.await(t, task.ID, finished)
			s.checkShrunk(t, done)
			if done.Attempt != 1 {
				t.Errorf("attempt %d", done.Attempt)
			}
		})
	}
}

// A task that is cancelled under a worker's hands is dropped, guetzli killed,
// and the worker takes the next.
func TestWorkerCancelled(t *testing.T) {
	for language := range examples {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := start(t, "")
			_, task, _ := stuck(t, s, language)
			a := s.do(http.MethodPost, "/v1/tasks/"+task.ID+"/cancel", nil)
			if a.status/100 != 2 {
				t.Fatalf("cancel: %d %s", a.status, a.body)
			}
			s.checkShrunk(t, s.await(t, s.compress(t, 8).ID, finished))
		})
	}
}
