// A Safelight worker with nothing but Go's standard library: takes tasks, runs
// guetzli on their pictures, gives the results back. README.md tells the protocol.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	server   = setting("SAFELIGHT_SERVER", "http://127.0.0.1:8080")
	guetzli  = setting("GUETZLI", "guetzli")
	name     = setting("WORKER", "go-"+strconv.Itoa(os.Getpid()))
	lease, _ = strconv.Atoi(strings.TrimSuffix(setting("LEASE", "30"), "s")) // seconds
)

func setting(name, fallback string) string { return cmp.Or(os.Getenv(name), fallback) }

type object = map[string]any

type task struct {
	ID   string
	Args object
	URLs struct{ Heartbeat, Report, Input, Output string }
}

// Why a call gives up.
var (
	errLost    = errors.New("the lease is lost") // or the task cancelled: it is no longer ours
	errRefused = errors.New("refused")           // however often it is asked
)

// call answers the body. What may pass is tried again after a growing pause.
func call(ctx context.Context, tries int, timeout time.Duration, method, url string, body any) (answer []byte, err error) {
	content, raw := body.([]byte)
	if body != nil && !raw {
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		answer, err = once(ctx, timeout, method, url, content, raw)
		tries--
		if err == nil || tries == 0 || ctx.Err() != nil || errors.Is(err, errLost) || errors.Is(err, errRefused) {
			return answer, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func once(ctx context.Context, timeout time.Duration, method, url string, content []byte, raw bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if key := os.Getenv("SAFELIGHT_KEY"); key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if content != nil {
		req.Header.Set("Content-Type", map[bool]string{true: "image/jpeg", false: "application/json"}[raw])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch status := res.StatusCode; {
	case err != nil || status < 300:
		return answer, err
	case status == http.StatusConflict:
		return nil, fmt.Errorf("%w: %.500s", errLost, answer)
	case status < 500 && status != http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: %s %.500s", errRefused, res.Status, answer)
	}
	return nil, fmt.Errorf("%s %.500s", res.Status, answer)
}

// heartbeat extends the lease. Guetzli does not tell how far it is; the guess
// nears 99 and never reaches it.
func heartbeat(ctx context.Context, t *task, begun time.Time) error {
	seconds := int(time.Since(begun).Seconds())
	_, err := call(ctx, 1, max(time.Duration(lease)*time.Second/3, time.Second), "POST", t.URLs.Heartbeat, object{
		"progress": 99 * seconds / (seconds + 30), "message": fmt.Sprintf("guetzli, %d s", seconds), "extend": fmt.Sprintf("%ds", lease)})
	if errors.Is(err, errLost) || errors.Is(err, errRefused) {
		return err
	}
	return nil // one that gets no answer is not repeated: the next is near
}

// encode runs guetzli, with a heartbeat at every third of the lease, so that
// two may be lost before the lease is.
func encode(ctx context.Context, t *task, source, output string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stderr bytes.Buffer
	quality := t.Args["quality"]
	if quality == nil {
		quality = 90
	}
	cmd := exec.CommandContext(ctx, guetzli, "--quality", fmt.Sprint(quality), source, output)
	cmd.Stderr = &stderr
	// A process group of its own, to be killed with its children if it has any.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	begun, ended := time.Now(), make(chan error, 1)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			if err != nil {
				return fmt.Errorf("guetzli, %w: %s", err, stderr.Bytes()[max(0, stderr.Len()-2000):])
			}
			return heartbeat(ctx, t, begun) // a whole lease for the upload
		case <-time.After(time.Duration(lease) * time.Second / 3):
			if err := heartbeat(ctx, t, begun); err != nil {
				cancel(err) // kills it; its end is awaited above
			}
		}
	}
}

func work(ctx context.Context, t *task) (result object, err error) {
	dir, err := os.MkdirTemp("", "worker-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, output := filepath.Join(dir, "input"), filepath.Join(dir, "output")
	before, err := call(ctx, 5, time.Minute, "GET", t.URLs.Input, nil)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(source, before, 0o600); err != nil {
		return nil, err
	}
	if err := encode(ctx, t, source, output); err != nil {
		return nil, err
	}
	after, err := os.ReadFile(output)
	if err != nil {
		return nil, err
	}
	if _, err = call(ctx, 5, time.Minute, "PUT", t.URLs.Output, after); err != nil {
		return nil, err
	}
	return object{"before": len(before), "after": len(after)}, nil
}

// take does one task and reports.
func take(ctx context.Context, t *task) {
	result, err := work(ctx, t)
	report := object{"outcome": "done", "result": result}
	switch {
	case errors.Is(err, errLost):
		log.Printf("task %s: dropped: %v", t.ID, err)
		return
	case ctx.Err() != nil:
		report = object{"outcome": "later", "delay": "0s"}
	case err != nil:
		report = object{"outcome": "failed", "error": err.Error(), "final": false}
	}
	// Told even when we stop, and so without ctx.
	_, err = call(context.Background(), 5, time.Minute, "POST", t.URLs.Report, report)
	if err != nil {
		log.Printf("task %s: %s, but the report was not taken: %v", t.ID, report["outcome"], err)
		return
	}
	log.Printf("task %s: %s", t.ID, report["outcome"])
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	claim := object{"functions": strings.Split(setting("FUNCTIONS", "guetzli"), ","), "max": 1,
		"wait": "20s", "lease": fmt.Sprintf("%ds", lease), "worker": name}
	left, err := strconv.Atoi(setting("MAX_TASKS", "-1"))
	for err == nil && left != 0 && ctx.Err() == nil {
		var answer []byte
		var claimed struct{ Tasks []task }
		if answer, err = call(ctx, -1, 40*time.Second, "POST", server+"/v1/worker/claim", claim); err != nil {
			break
		}
		if err = json.Unmarshal(answer, &claimed); err != nil {
			break
		}
		for i := range claimed.Tasks {
			left--
			take(ctx, &claimed.Tasks[i])
		}
	}
	// A task that was on its way when we were stopped goes back when its lease ends.
	if err != nil && ctx.Err() == nil {
		log.Fatalf("the claim was refused: %v", err)
	}
}
