package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// crashWorkerOf is set for a process that is to be a worker of TestTaskCrash: the
// server's address. crashWorkerDir is the folder of its effects and its journal.
const (
	crashWorkerOf  = "CRASH_WORKER_OF"
	crashWorkerDir = "CRASH_WORKER_DIR"
)

// crashFunction is the function that these workers carry out.
const crashFunction = "crash"

// crashArgs say what a worker is to do with a task.
type crashArgs struct {
	Kind       string `json:"kind"`       // plain, slow, fail, always, kill
	Generation int    `json:"generation"` // of the submissions under one name
	Failures   int    `json:"failures,omitempty"`
	Batch      string `json:"batch,omitempty"` // which it was submitted in
	Of         int    `json:"of,omitempty"`    // how many that has
}

// toldToFail begins the error of an attempt that had to fail.
const toldToFail = "told to fail"

// effectName names the file that carrying out a task leaves. The generation is
// in it, so that a worker which lost its lease long ago can't put an old effect
// in the place of a new one.
func effectName(id string, generation int) string { return fmt.Sprintf("%s.%d", id, generation) }

// crashWorker is a worker that is killed at any moment. What it does and is
// answered it writes to a journal, one line in one write, so that a line is
// there or not.
type crashWorker struct {
	server, dir, name string
	journal           *os.File
	client            http.Client
}

// claimedTask is a task as a claim hands it out.
type claimedTask struct {
	ID      string    `json:"id"`
	Attempt int       `json:"attempt"`
	Lease   string    `json:"lease"`
	Args    crashArgs `json:"args"`
	URLs    struct {
		Heartbeat string `json:"heartbeat"`
		Report    string `json:"report"`
	} `json:"urls"`
}

// crashReport is a report as it is sent; id and lease only in batches.
type crashReport struct {
	ID      string         `json:"id,omitempty"`
	Lease   string         `json:"lease,omitempty"`
	Outcome string         `json:"outcome"`
	Result  map[string]int `json:"result,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// beCrashWorker works until the process is killed, or its parent has ended.
func beCrashWorker(server string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	w := &crashWorker{server: server, dir: os.Getenv(crashWorkerDir), name: fmt.Sprint("crash ", os.Getpid())}
	w.client.Timeout = 30 * time.Second
	var err error
	path := filepath.Join(w.dir, "journals", fmt.Sprint(os.Getpid(), "-", time.Now().UnixNano()))
	if w.journal, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		panic(err)
	}
	for {
		if err := w.round(); err != nil {
			time.Sleep(20 * time.Millisecond) // the server is away
		}
	}
}

func (w *crashWorker) note(format string, args ...any) {
	if _, err := fmt.Fprintf(w.journal, format+"\n", args...); err != nil {
		panic(err)
	}
}

// round claims some tasks, carries them out and reports them, one by one or
// all at once.
func (w *crashWorker) round() error {
	var got struct {
		Tasks []claimedTask `json:"tasks"`
	}
	most := []int{1, 5, 20}[rand.IntN(3)]
	status, err := w.post(w.server+"/v1/worker/claim", map[string]any{
		"functions": []string{crashFunction}, "wait": "2s", "lease": "1s", "worker": w.name, "max": most,
	}, &got)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		w.note("odd claim - %d", status)
		return nil
	}
	together := rand.IntN(2) == 0
	var reports []crashReport
	for _, t := range got.Tasks {
		w.note("begin %s %s %d", t.ID, t.Lease, t.Attempt)
		r := w.carryOut(t)
		if together {
			r.ID, r.Lease = t.ID, t.Lease
			reports = append(reports, r)
			continue
		}
		w.report(t, r)
	}
	if len(reports) > 0 {
		w.reportAll(reports)
	}
	return nil
}

// carryOut does what a task says, and answers what to report.
func (w *crashWorker) carryOut(t claimedTask) crashReport {
	switch a := t.Args; {
	case a.Kind == "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case a.Kind == "always", t.Attempt <= a.Failures:
		return crashReport{Outcome: "failed", Error: fmt.Sprintf("%s, attempt %d", toldToFail, t.Attempt)}
	case a.Kind == "slow" && rand.IntN(2) == 0: // away for longer than the lease: its report must be refused
		time.Sleep(1200 * time.Millisecond)
	case a.Kind == "slow": // longer than the lease too, but with a sign of life
		for range 4 {
			time.Sleep(300 * time.Millisecond)
			_, _ = w.post(t.URLs.Heartbeat, map[string]any{"progress": 50}, nil)
		}
	}
	if err := w.effect(t); err != nil {
		panic(err)
	}
	return crashReport{Outcome: "done", Result: map[string]int{"generation": t.Args.Generation}}
}

// effect leaves a file; doing it again changes nothing.
func (w *crashWorker) effect(t claimedTask) error {
	name := effectName(t.ID, t.Args.Generation)
	temp := filepath.Join(w.dir, fmt.Sprintf("%s.%d.part", name, os.Getpid()))
	return errors.Join(os.WriteFile(temp, []byte(name), 0o600), os.Rename(temp, filepath.Join(w.dir, "effects", name)))
}

// report tells the outcome of one task, again and again while the server is
// away, and notes what is answered.
func (w *crashWorker) report(t claimedTask, r crashReport) {
	for {
		var answer struct {
			State string `json:"state"`
			Type  string `json:"type"`
		}
		w.note("send %s %s %s", t.ID, t.Lease, r.Outcome)
		status, err := w.post(t.URLs.Report, r, &answer)
		if err == nil && w.answered(t.ID, t.Lease, r.Outcome, status, answer.State, answer.Type) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// reportAll is report for several at once.
func (w *crashWorker) reportAll(reports []crashReport) {
	for len(reports) > 0 {
		var answer struct {
			Results []struct {
				ID    string  `json:"id"`
				State string  `json:"state"`
				Error problem `json:"error"`
			} `json:"results"`
		}
		for _, r := range reports {
			w.note("send %s %s %s", r.ID, r.Lease, r.Outcome)
		}
		status, err := w.post(w.server+"/v1/worker/reports", map[string]any{"reports": reports}, &answer)
		if err != nil || status != http.StatusOK || len(answer.Results) != len(reports) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		var left []crashReport
		for i, a := range answer.Results {
			if r := reports[i]; !w.answered(r.ID, r.Lease, r.Outcome, max(a.Error.Status, http.StatusOK), a.State, a.Error.Type) {
				left = append(left, r)
			}
		}
		reports = left
	}
}

// answered notes the answer to a report, and tells whether it is final.
func (w *crashWorker) answered(id, lease, outcome string, status int, state, problemType string) bool {
	switch {
	case status == http.StatusOK:
		w.note("took %s %s %s %s", id, lease, outcome, state)
	case status == http.StatusConflict && strings.HasSuffix(problemType, ":lease-lost"):
		w.note("refused %s %s %s", id, lease, outcome)
	case status == http.StatusTooManyRequests, status >= 500:
		return false
	default:
		w.note("odd %s %s %d", id, lease, status)
	}
	return true
}

// post sends JSON and reads JSON.
func (w *crashWorker) post(url string, body, into any) (status int, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	res, err := w.client.Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || into == nil {
		return res.StatusCode, err
	}
	return res.StatusCode, json.Unmarshal(answer, into)
}
