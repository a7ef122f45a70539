package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/sandbox"
	"safelight/internal/codec/wire"
	"safelight/internal/plan"
)

// stageVar marks the second stage of a codec process and carries the first
// one's sandbox.Status to it. The pool gives its children an environment of its
// own making, so nobody else sets it.
const stageVar = "SAFELIGHT_CODEC_STAGE"

const (
	// openFiles is enough for a job's files and a font or two.
	openFiles = 96
	// heapBytes is a soft limit for the Go side, which holds a job and a thumb.
	heapBytes = 16 << 20
)

// Main is the program of a codec process; its result is the exit code. It finds
// its socket at wire.SocketFD and obeys it until the other end is closed. It
// confines the process in which it is called for good.
func Main() int { return run(func() {}) }

// run calls sealed once the sandbox is closed, before the first job.
func run(sealed func()) int {
	runtime.LockOSThread() // libvips keeps buffers for each thread, and the first stage confines this one
	if err := obey(sealed); err != nil {
		fmt.Fprintln(os.Stderr, "codec:", err)
		return 1
	}
	return 0
}

func obey(sealed func()) error {
	stage := os.Getenv(stageVar)
	if stage == "" {
		return firstStage()
	}
	var status sandbox.Status
	if err := json.Unmarshal([]byte(stage), &status); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	var setup wire.Setup
	if _, err := receive(&setup, 0); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	debug.SetMemoryLimit(heapBytes)
	engine, err := Open(setup)
	if err != nil {
		return answer(wire.Hello{Error: err.Error()})
	}
	engine.warm(status.Landlock == 0)
	hello := wire.Hello{Info: engine.Info()}
	hello.Info.Sandbox = sandbox.Seal(status)
	sealed()
	if err := answer(hello); err != nil {
		return err
	}
	for {
		if again, err := engine.serve(); err != nil || !again {
			return err
		}
	}
}

// firstStage looks at the setup without taking it, confines the thread, and
// executes the same program again.
func firstStage() error {
	var setup wire.Setup
	if _, err := receive(&setup, unix.MSG_PEEK); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	limits := sandbox.Limits{FileBytes: setup.OutputBytes, Files: openFiles}
	if setup.MemoryBytes > 0 && !raceDetector {
		limits.DataBytes, limits.DataMore = setup.MemoryBytes+wire.DataRoom, setup.SearchBytes
	}
	status, err := sandbox.Confine(limits, setup.Readable)
	if err != nil {
		return answer(wire.Hello{Error: err.Error()})
	}
	stage, err := json.Marshal(status)
	if err != nil {
		return err
	}
	env := append(os.Environ(), stageVar+"="+string(stage))
	return fmt.Errorf("second stage: %w", syscall.Exec("/proc/self/exe", os.Args, env))
}

// serve does one job; false when the pool has no more.
func (e *Engine) serve() (again bool, err error) {
	var job plan.Job
	fds, err := receive(&job, 0)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return false, err
	}
	if fds == nil {
		return false, nil
	}
	files := Files{Source: fds[0], Overlay: -1, Output: -1}
	if job.Writes() {
		files.Output = fds[len(fds)-1]
	}
	if len(fds) == wire.MaxFiles || (!job.Writes() && len(fds) == 2) {
		files.Overlay = fds[1]
	}
	var reply wire.Reply
	result, err := e.Execute(job, files)
	if err != nil {
		reply.Error = wire.FromError(err)
	} else {
		reply.Result = &result
	}
	return true, answer(reply)
}

// One message at a time is read, into the same memory.
var (
	buffer = make([]byte, wire.MaxMessage)
	oob    = make([]byte, unix.CmsgSpace(4*wire.MaxFiles))
)

// receive reads one message with its descriptors; none at all is the end.
func receive(v any, flags int) (fds []int, err error) {
	var n, oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(wire.SocketFD, buffer, oob, flags|unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil || n == 0 {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		more, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, err
		}
		fds = append(fds, more...)
	}
	return fds, json.Unmarshal(buffer[:n], v)
}

func answer(v any) error {
	b, err := wire.Encode(v)
	if err != nil {
		return err
	}
	for {
		err := unix.Sendmsg(wire.SocketFD, b, nil, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}
