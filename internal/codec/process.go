package codec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/fault"
)

// process is one codec process. Its socket belongs to whoever was handed it by
// the pool; kill may be called by anybody.
type process struct {
	kind   *kind
	cmd    *exec.Cmd
	conn   *net.UnixConn
	statm  *os.File // nil where it can't be read
	stderr *tail
	info   wire.Info
	exited chan struct{} // closed once it is reaped
	buffer []byte        // for replies

	jobs int           // done so far
	cpu  time.Duration // processor time up to the last job's end

	mu     sync.Mutex
	job    uint64 // number of the job at hand, 0 between jobs
	reason reason // why it was killed
}

// reason is why the pool killed a process.
type reason string

const (
	alive      reason = ""
	overCPU    reason = "cpu"
	overWall   reason = "wall"
	overMemory reason = "memory"
	canceled   reason = "canceled"
	broken     reason = "broken" // it broke the protocol, or is gone
)

// start runs a codec process and waits until it is ready. It must be called
// through the pool's spawner: the kernel kills the child when the thread that
// forked it ends.
func start(ctx context.Context, k *kind, log *slog.Logger, fork func(func() error) error) (*process, error) {
	cfg := k.cfg
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "a codec process can't be given a socket")
	}
	p := &process{kind: k, exited: make(chan struct{}), conn: ours, buffer: make([]byte, wire.MaxMessage)}
	p.cmd = exec.Command(cfg.Command[0], cfg.Command[1:]...)
	p.cmd.Env = append(environment(), cfg.Env...)
	p.cmd.Dir = "/"
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	reader, writer, err := os.Pipe()
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, fault.Wrap(fault.Unavailable, err, "a codec process can't be given a pipe")
	}
	p.cmd.Stderr = writer
	err = fork(p.cmd.Start)
	writer.Close()
	theirs.Close()
	if err != nil {
		ours.Close()
		reader.Close()
		return nil, fault.Wrap(fault.Unavailable, err, "a codec process can't be started")
	}
	p.stderr = follow(reader, log.With("pid", p.cmd.Process.Pid))
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state is read from cmd.ProcessState
		p.stderr.wait()
	}()
	if err := p.greet(ctx, cfg); err != nil {
		p.end(broken)
		return nil, err
	}
	return p, nil
}

// environment is all that a codec process knows of ours: nothing.
func environment() []string {
	return []string{
		"SAFELIGHT_CODEC_CHILD=1",
		"LANG=C.UTF-8",
		"GOMAXPROCS=2",
		"GOGC=50",
		"GOTRACEBACK=none",
		"MALLOC_ARENA_MAX=2",
	}
}

func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "codec"), os.NewFile(uintptr(fds[1]), "codec")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// greet sends the setup and reads what the process says when it is ready.
func (p *process) greet(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { p.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// Opened before the process makes itself undumpable, after which some systems hide it.
	p.statm, _ = os.Open(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	setup, err := wire.Encode(wire.Setup{Library: cfg.VipsLibrary, MemoryBytes: cfg.MemoryBytes, SearchBytes: cfg.SearchBytes,
		OutputBytes: cfg.OutputBytes, Readable: cfg.readable()})
	if err != nil {
		return err
	}
	var hello wire.Hello
	if err := p.exchange(setup, nil, &hello); err != nil {
		if said := p.stderr.last(); said != "" {
			err = fmt.Errorf("%w; it said: %s", err, said)
		}
		return fault.Wrap(fault.Unavailable, err, "a codec process did not get ready")
	}
	if hello.Error != "" {
		return fault.Wrap(fault.Unavailable, errors.New(hello.Error), "the codecs can't be used; "+
			"libvips 8.13 or later is needed, on Debian and Ubuntu the package libvips42 (libvips42t64 from Debian 13 on)")
	}
	p.info = hello.Info
	p.cpu = p.clock()
	return nil
}

// errUnsent means that the process was gone before it saw the message.
var errUnsent = errors.New("the codec process took no message")

// exchange sends a message with files and reads the answer.
func (p *process) exchange(message []byte, fds []int, answer any) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := p.conn.WriteMsgUnix(message, rights, nil); err != nil {
		return fmt.Errorf("%w: %w", errUnsent, err)
	}
	n, err := p.conn.Read(p.buffer)
	if errors.Is(err, unix.ECONNRESET) { // it died with the message unread (unix(7))
		return fmt.Errorf("%w: %w", errUnsent, err)
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(p.buffer[:n], answer)
}

// allow lets the process have more memory than usual until the returned function
// is called. Where the system refuses, the usual limit stays.
func (p *process) allow(usual, now int64) func() {
	if now <= usual {
		return func() {}
	}
	p.limit(now + wire.DataRoom)
	return func() { p.limit(usual + wire.DataRoom) }
}

// limit sets the soft limit on the process' writable memory, within the hard one.
func (p *process) limit(bytes int64) {
	var old unix.Rlimit
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_DATA, nil, &old); err != nil || old.Max == unix.RLIM_INFINITY {
		return
	}
	_ = unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: min(uint64(bytes), old.Max), Max: old.Max}, nil)
}

// begin marks the start of a job; finish its end, with why the process was
// killed meanwhile, if it was.
func (p *process) begin(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.job = number
}

func (p *process) finish() reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.job = 0
	return p.reason
}

// kill ends the process if it is still at that job.
func (p *process) kill(number uint64, why reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.job == number && p.reason == alive {
		p.reason = why
		_ = p.cmd.Process.Kill()
	}
}

// end kills the process whatever it does, and waits until it is gone.
func (p *process) end(why reason) {
	p.mu.Lock()
	if p.reason == alive {
		p.reason = why
	}
	_ = p.cmd.Process.Kill()
	p.mu.Unlock()
	p.conn.Close()
	<-p.exited
	if p.statm != nil {
		p.statm.Close()
	}
}

// clock is the processor time of all the process' threads since it began. The
// clock of another process is named by its id (clock_getcpuclockid(3)).
func (p *process) clock() time.Duration {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	default:
	}
	const perProcess = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|perProcess), &ts); err != nil {
		return p.cpu
	}
	return time.Duration(ts.Nano())
}

// memory is what the process holds beside the files that it maps, bytes; 0
// where it can't be told. The second field of statm is resident, the third
// resident and backed by files (proc(5)), both in pages.
func (p *process) memory() int64 {
	if p.statm == nil {
		return 0
	}
	var text [128]byte
	n, err := p.statm.ReadAt(text[:], 0)
	if err != nil && err != io.EOF {
		return 0
	}
	var size, resident, shared int64
	if _, err := fmt.Sscan(string(text[:n]), &size, &resident, &shared); err != nil {
		return 0
	}
	return (resident - shared) * int64(os.Getpagesize())
}
