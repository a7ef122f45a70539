// Package guetzli makes JPEG files with the external program of that name,
// which searches minutes for the smallest file that looks the same. Each
// picture gets a process of its own: it is given descriptors and no paths, has
// limits on memory, time and output from its first instruction, and dies with
// the server.
package guetzli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/fault"
)

// Encoder runs the program. It is safe for concurrent use; how many run at once
// is up to its callers, each for half a minute of processor time per megapixel.
type Encoder struct {
	cfg     Config
	log     *slog.Logger
	program string // absolute
	version string
}

// Result is a finished JPEG. File is memory without a name that nobody can
// change any more, positioned at its start, and the caller's to close.
type Result struct {
	File  *os.File
	Bytes int64
	CPU   time.Duration // that the process used
}

// checkTime is for the program to say what it is.
const checkTime = 10 * time.Second

// New finds the program and runs it once without a picture. A program that is
// missing, can't be run or is another is fault.Unavailable.
func New(cfg Config, log *slog.Logger) (*Encoder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	program, err := exec.LookPath(cfg.Path)
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err,
			"the program guetzli is not there; on Debian and Ubuntu it is in the package guetzli, and guetzli.path names one elsewhere")
	}
	e := &Encoder{cfg: cfg, log: log, program: program}
	if e.version, err = fingerprint(program); err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the program guetzli can't be read")
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

// check runs the program without arguments, at which it explains itself.
func (e *Encoder) check() error {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	ended, err := e.run(ctx, limits{memory: e.cfg.MemoryBytes, cpu: checkTime, file: 1 << 20}, nil)
	if err != nil {
		return err
	}
	if !strings.Contains(ended.said, "Guetzli JPEG compressor") {
		return fault.Wrap(fault.Unavailable, ended.cause(), "the program at guetzli.path does not answer as guetzli does")
	}
	return nil
}

// Version tells encoders apart whose results may differ. The program does not
// know its own version, so it is the beginning of its file's SHA-256, as found
// by New.
func (e *Encoder) Version() string { return e.version }

func fingerprint(program string) (string, error) {
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("guetzli sha256:%x", h.Sum(nil)[:6]), nil
}

// Encode makes a JPEG of a PNG or JPEG with the given number of pixels. The
// picture is read from its first byte, whatever its position, and stays the
// caller's. quality is the rendition's, on the scale of libjpeg; values outside
// 84 to 110 are moved there. What is transparent becomes black.
//
// When ctx ends, the process is killed. Errors are fault.Errors: TooLarge for
// more pixels than allowed; Unprocessable for a picture that the program
// refuses ("guetzli-failed") or that needs too much memory ("needs-memory");
// Timeout; Canceled; Unavailable when the program can't be run.
func (e *Encoder) Encode(ctx context.Context, picture *os.File, pixels int64, quality int) (*Result, error) {
	if pixels > e.cfg.MaxPixels {
		return nil, fault.Limit(fault.TooLarge, "guetzli.max_pixels", e.cfg.MaxPixels, pixels,
			"the picture has %d pixels; guetzli is given at most %d", pixels, e.cfg.MaxPixels)
	}
	in, err := e.input(picture)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := memory("guetzli-output")
	if err != nil {
		return nil, err
	}
	cpu, err := e.encode(ctx, in, out, pixels, quality)
	if err == nil {
		var size int64
		if size, err = finish(out); err == nil {
			return &Result{File: out, Bytes: size, CPU: cpu}, nil
		}
	}
	out.Close()
	return nil, err
}

// Paths by which the process finds its descriptors; it takes nothing but paths.
const (
	inputPath  = "/proc/self/fd/3"
	outputPath = "/proc/self/fd/4"
)

func (e *Encoder) encode(ctx context.Context, in, out *os.File, pixels int64, quality int) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.Deadline, errDeadline)
	defer cancel()
	l := limits{memory: e.cfg.MemoryBytes, cpu: e.cfg.Deadline, file: outputBytes(pixels)}
	// With its own limit, below the system's, the program refuses a picture
	// that is too large at once, rather than when the memory is used up.
	ended, err := e.run(ctx, l, []*os.File{in, out}, "--quality", strconv.Itoa(e.cfg.quality(quality)),
		"--memlimit", strconv.FormatInt(e.cfg.MemoryBytes>>20, 10), inputPath, outputPath)
	if err != nil {
		return 0, err
	}
	if err := e.judge(ctx, ended); err != nil {
		e.log.Debug("guetzli failed", "pid", ended.state.Pid(), "cpu", ended.cpu(), "error", err)
		return 0, err
	}
	return ended.cpu(), nil
}

// outputBytes is how long a result may get: as long as the pixels themselves,
// which no JPEG worth keeping reaches, and some for headers.
func outputBytes(pixels int64) int64 { return 1<<20 + 4*max(pixels, 0) }

// input copies the picture: through its path in /proc a process could open the
// file behind a descriptor for writing.
func (e *Encoder) input(picture *os.File) (*os.File, error) {
	in, err := memory("guetzli-input")
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(in, io.NewSectionReader(picture, 0, e.cfg.MemoryBytes+1))
	switch {
	case err != nil:
		err = fault.Wrap(fault.Internal, err, "the picture can't be read")
	case n > e.cfg.MemoryBytes:
		err = e.needsMemory(nil)
	default:
		err = seal(in)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// memory makes a file without a name.
func memory(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "there is no memory for a file")
	}
	return os.NewFile(uintptr(fd), name), nil
}

// seal makes a memory file unchangeable.
func seal(f *os.File) error {
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fault.Wrap(fault.Internal, err, "a file in memory can't be sealed")
	}
	return nil
}

// finish seals the output, checks that it is a JPEG and answers its size.
func finish(out *os.File) (int64, error) {
	if err := seal(out); err != nil {
		return 0, err
	}
	info, err := out.Stat()
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "the result can't be read")
	}
	var head [3]byte
	if _, err := out.ReadAt(head[:], 0); err != nil || head != [3]byte{0xff, 0xd8, 0xff} {
		return 0, failed(errors.Join(err, fmt.Errorf("the output of %d bytes begins with %x", info.Size(), head)))
	}
	return info.Size(), nil
}
