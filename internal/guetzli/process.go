package guetzli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"safelight/internal/fault"
)

// errDeadline is the cause of a context that ended with the time for a picture.
var errDeadline = errors.New("guetzli: deadline")

// drainTime is how long standard error may stay open after the process' end.
const drainTime = time.Second

// ended is a process that is gone.
type ended struct {
	state *os.ProcessState
	said  string // the end of its standard error
}

func (e *ended) cpu() time.Duration { return e.state.UserTime() + e.state.SystemTime() }

// cause is what a log needs to know.
func (e *ended) cause() error {
	if e.said == "" {
		return errors.New(e.state.String())
	}
	return fmt.Errorf("%s; it said: %s", e.state, e.said)
}

// run executes the program under limits and waits for its end. files become its
// descriptors from 3 on. When ctx ends it is killed with its process group.
// Errors are Unavailable: the program was not run.
func (e *Encoder) run(ctx context.Context, l limits, files []*os.File, args ...string) (*ended, error) {
	if err := ctx.Err(); err != nil {
		return nil, gone(ctx)
	}
	// The kernel kills the child when the thread that forked it ends. This
	// goroutine keeps its thread for as long as the child lives.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	said := &tail{}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", l.arguments(e.program, args)...)
	cmd.Args[0] = "safelight"
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stderr = said
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = drainTime
	if err := cmd.Start(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "guetzli can't be started")
	}
	err := cmd.Wait() // beside the exit status, which is judged from the state
	gone := &ended{state: cmd.ProcessState, said: said.String()}
	switch {
	case gone.state == nil:
		return nil, fault.Wrap(fault.Unavailable, err, "guetzli was lost")
	case gone.state.ExitCode() == launchFailed:
		return nil, fault.Wrap(fault.Unavailable, gone.cause(), "guetzli can't be started")
	}
	return gone, nil
}

// judge explains a process that did not succeed.
func (e *Encoder) judge(ctx context.Context, p *ended) error {
	if p.state.Success() {
		return nil
	}
	status, _ := p.state.Sys().(syscall.WaitStatus)
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errDeadline):
		return gone(ctx)
	case ctx.Err() != nil, status.Signal() == syscall.SIGXCPU:
		return fault.Wrap(fault.Timeout, p.cause(), "guetzli took longer than %s", e.cfg.Deadline)
	case status.Signal() == syscall.SIGKILL, status.Signal() == syscall.SIGTERM:
		return fault.Wrap(fault.Unavailable, p.cause(), "guetzli was ended from outside")
	}
	for _, sign := range []string{"insufficient memory", "Memory limit", "bad_alloc", "ut of memory", "annot allocate memory"} {
		if strings.Contains(p.said, sign) {
			return e.needsMemory(p.cause())
		}
	}
	return failed(p.cause())
}

func failed(cause error) error {
	return &fault.Error{Kind: fault.Unprocessable, Code: "guetzli-failed", Cause: cause,
		Message: "guetzli could not encode the picture"}
}

func (e *Encoder) needsMemory(cause error) error {
	err := fault.Limit(fault.Unprocessable, "guetzli.memory_bytes", e.cfg.MemoryBytes, 0,
		"guetzli needs more than %d MiB for the picture", e.cfg.MemoryBytes>>20)
	err.Code, err.Cause = "needs-memory", cause
	return err
}

// gone explains a context that the caller ended.
func gone(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, ctx.Err(), "the picture was not ready in time")
	}
	return fault.Wrap(fault.Canceled, ctx.Err(), "the encoding was canceled")
}

// tailBytes is how much of standard error is kept.
const tailBytes = 2 << 10

// tail keeps the last of what is written to it. It belongs to one goroutine
// until the process has been waited for.
type tail struct{ kept []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b[max(0, len(b)-tailBytes):]...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "?"))
}
