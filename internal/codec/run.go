package codec

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/fault"
	"safelight/internal/plan"
)

// Output is what a job made. File is nil for jobs that save nothing; otherwise
// it holds Bytes bytes, can't be changed by anybody any more, and is the
// caller's to close.
type Output struct {
	plan.Result
	File  *os.File
	Bytes int64
	CPU   time.Duration // processor time that the process spent on the job
}

// Close gives the memory of the result back.
func (o *Output) Close() error {
	if o.File == nil {
		return nil
	}
	return o.File.Close()
}

// Run does a job in one of the pool's processes: input 0 is the source, input 1
// an overlay if the job has one. Each must be opened afresh for this call, since
// its file position is used, and stays the caller's. A job whose process was
// killed from outside is tried once more.
//
// When ctx ends, the job is given up: a process that works on it is killed.
// Errors are fault.Errors: Unprocessable for a picture that can't be decoded
// ("undecodable-image"), crashes the decoder ("codec-crashed") or needs too
// much memory ("needs-memory"); Timeout for one that takes too long; TooLarge
// for a result over the limit; Canceled; Unavailable when no process can be
// had, or was killed twice ("codec-killed").
// With Transcode also Unprocessable ("not-reversible"), for a JPEG that can't be
// carried over without loss or a file that holds none, and Unavailable without
// libjxl.
func (p *Pool) Run(ctx context.Context, class Class, job plan.Job, inputs ...*os.File) (*Output, error) {
	if len(inputs) < 1 || len(inputs) > wire.MaxFiles-1 || class >= classes {
		return nil, fault.New(fault.Internal, "a codec job needs a class, and one or two files")
	}
	message, err := wire.Encode(job)
	if err != nil {
		return nil, err
	}
	out, err := p.attempt(ctx, class, &job, message, inputs)
	if known := fault.As(err); known == nil || known.Code != codeKilled {
		return out, err
	}
	for _, f := range inputs {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, fault.Wrap(fault.Internal, err, "a picture can't be read again")
		}
	}
	return p.attempt(ctx, class, &job, message, inputs)
}

// attempt has one process do a job.
func (p *Pool) attempt(ctx context.Context, class Class, job *plan.Job, message []byte, inputs []*os.File) (*Output, error) {
	out, fds, err := files(job, inputs)
	if err != nil {
		return nil, err
	}
	kind := p.kindFor(job)
	for range 1 + p.cfg.Processes + p.cfg.Spares {
		var one *process
		if one, err = p.acquire(ctx, class, kind); err != nil {
			break
		}
		if err = p.do(ctx, class, job, one, message, fds, out); !errors.Is(err, errUnsent) {
			break // otherwise it had died while it was idle, and another may live
		}
	}
	runtime.KeepAlive(inputs)
	if errors.Is(err, errUnsent) {
		err = fault.Wrap(fault.Unavailable, err, "no codec process lives long enough to take a picture")
	}
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// files makes the empty output and lists the job's descriptors.
func files(job *plan.Job, inputs []*os.File) (*Output, []int, error) {
	out := &Output{}
	fds := make([]int, 0, wire.MaxFiles)
	for _, f := range inputs {
		fds = append(fds, int(f.Fd()))
	}
	if job.Writes() {
		fd, err := unix.MemfdCreate("rendition", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Unavailable, err, "there is no memory for the result")
		}
		out.File = os.NewFile(uintptr(fd), "rendition")
		fds = append(fds, fd)
	}
	return out, fds, nil
}

// do runs a job in a process and gives the process back.
func (p *Pool) do(ctx context.Context, class Class, job *plan.Job, one *process, message []byte, fds []int, out *Output) error {
	number := p.count()
	cpu, wall := p.cfg.allowance(class, job, fds[0])
	one.begin(number)
	memory := p.cfg.MemoryBytes + p.cfg.searchMemory(job)
	defer one.allow(p.cfg.MemoryBytes, memory)()
	watch := p.watch(one, number, cpu, wall, memory)
	abandon := context.AfterFunc(ctx, func() { one.kill(number, canceled) })
	closing := context.AfterFunc(p.ctx, func() { one.kill(number, canceled) })
	var reply wire.Reply
	err := one.exchange(message, fds, &reply)
	abandon()
	closing()
	watch.end()
	why := one.finish()

	healthy := err == nil && why == alive
	if err == nil && (reply.Result == nil) == (reply.Error == nil) {
		err, healthy = errors.New("codec: a reply that is neither result nor error"), false
	}
	switch {
	case errors.Is(err, errUnsent) && why == alive:
		one.end(broken)
	case err != nil:
		err = p.lost(ctx, one, why, err, cpu, wall)
	case reply.Error != nil && reply.Error.Code == codeMemory:
		err = p.needsMemory(reply.Error.Fault().Cause)
	case reply.Error != nil:
		err = reply.Error.Fault()
	default:
		out.Result = *reply.Result
		if err = seal(out, p.cfg.OutputBytes); err != nil {
			healthy = false
		}
	}
	out.CPU = p.account(one, healthy, why, err)
	p.release(one, class, healthy && !p.recycle(one))
	return err
}

func (p *Pool) count() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs++
	return p.jobs
}

// lost explains a job whose process did not answer.
func (p *Pool) lost(ctx context.Context, one *process, why reason, cause error, cpu, wall time.Duration) error {
	one.end(broken)
	switch why {
	case overCPU:
		return fault.New(fault.Timeout, "the picture took longer than %s of processor time", cpu.Round(time.Millisecond))
	case overWall:
		return fault.New(fault.Timeout, "the picture took longer than %s", wall.Round(time.Millisecond))
	case overMemory:
		return p.needsMemory(nil)
	case canceled:
		if err := ctx.Err(); err != nil {
			return gone(err)
		}
		return fault.New(fault.Unavailable, "the server is shutting down")
	}
	said := one.stderr.last()
	cause = errors.Join(cause, errors.New(one.cmd.ProcessState.String()))
	if said != "" {
		cause = errors.Join(cause, errors.New(said))
	}
	if one.stderr.ranOut() {
		return p.needsMemory(cause)
	}
	if status, ok := one.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return &fault.Error{Kind: fault.Unavailable, Code: codeKilled, Cause: cause,
			Message: "the codec process was killed by the system, perhaps for want of memory; try again"}
	}
	return &fault.Error{Kind: fault.Unprocessable, Code: "codec-crashed", Cause: cause,
		Message: "the picture made its decoder fail"}
}

const codeMemory = "needs-memory"

// codeKilled is of a job whose process somebody else killed: not the picture's fault.
const codeKilled = "codec-killed"

func (p *Pool) needsMemory(cause error) error {
	e := fault.Limit(fault.Unprocessable, "codec.memory_bytes", p.cfg.MemoryBytes, 0,
		"the picture needs more memory than %d MiB", p.cfg.MemoryBytes>>20)
	e.Code, e.Cause = codeMemory, cause
	return e
}

// seal makes the result unchangeable, for the process that wrote it too.
func seal(out *Output, most int64) error {
	if out.File == nil {
		return nil
	}
	fd := out.File.Fd()
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(fd, unix.F_ADD_SEALS, seals); err != nil {
		return &fault.Error{Kind: fault.Unprocessable, Code: "codec-crashed", Cause: err,
			Message: "the picture made its decoder fail"}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		return fault.Wrap(fault.Internal, err, "the result can't be read")
	}
	if st.Size > most {
		return fault.Limit(fault.TooLarge, "codec.output_bytes", most, st.Size, "the result is larger than %d bytes", most)
	}
	out.Bytes = st.Size
	if _, err := out.File.Seek(0, 0); err != nil {
		return fault.Wrap(fault.Internal, err, "the result can't be read")
	}
	return nil
}

// account counts a job, and tells its processor time.
func (p *Pool) account(one *process, healthy bool, why reason, err error) time.Duration {
	one.jobs++
	before := one.cpu
	one.cpu = one.clock()
	spent := one.cpu - before
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Jobs++
	p.stats.CPUSeconds += spent.Seconds()
	if err != nil {
		p.stats.Failed++
	}
	switch {
	case healthy:
	case why != alive && why != broken:
		p.stats.Kills[string(why)]++
	default:
		p.stats.Crashes++
	}
	return spent
}

// recycle tells whether a healthy process has served long enough.
func (p *Pool) recycle(one *process) bool {
	old := p.cfg.RecycleJobs > 0 && one.jobs >= p.cfg.RecycleJobs
	fat := p.cfg.RecycleRSSBytes > 0 && one.memory() > p.cfg.RecycleRSSBytes
	if old || fat {
		p.mu.Lock()
		p.stats.Recycles++
		p.mu.Unlock()
	}
	return old || fat
}
