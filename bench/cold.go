package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"safelight/internal/codec/wire"
	"safelight/internal/codec/worker"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/options"
	"safelight/internal/plan"
)

// cold makes 512 px JPEGs of pictures never asked for before, and sets their
// whole cost (HTTP, catalog, processes, hashing, both caches) against a bare
// loop over the same libvips operations.
func (b *bench) cold() ([]row, error) {
	var rows []row
	for _, c := range []struct {
		name    string
		w, h, n int
	}{{"3 megapixels", 2000, 1500, 24}, {"24 megapixels", 6000, 4000, 8}} {
		picture, err := photo(c.w, c.h, 85, 1)
		if err != nil {
			return nil, err
		}
		ours, err := b.safelight("SAFELIGHT_INGEST_VERIFY=header")
		if err != nil {
			return nil, err
		}
		loop, err := b.loop(c.w, c.h)
		if err != nil {
			return nil, err
		}
		us, them, server, err := b.coldRounds(ours, loop, picture, c.n)
		if err != nil {
			return nil, err
		}
		own, child := ours.peaks()
		rows = append(rows, paired(fmt.Sprintf("cold 512 px JPEG of %s: CPU a render", c.name), "ms", 1e3, us, them, "≤ 1.1 of a bare libvips loop"),
			row{what: "  of which the server's own process", ours: fmt.Sprintf("%.3g ms", median(server)*1e3)},
			row{what: fmt.Sprintf("  peak memory then: server %.0f MiB, largest codec process %.0f MiB", own, child)})
		b.stopAll()
	}
	return rows, nil
}

// coldRounds answers CPU seconds a render: ours, the bare loop's, and of ours
// the server's own process.
func (b *bench) coldRounds(ours *process, loop *vipsLoop, picture []byte, n int) (us, them, server []float64, err error) {
	c := client()
	for round := range b.rounds + 1 {
		for i := range n {
			body, key := unique(picture, uint64(round*1000+i), 0), fmt.Sprintf("%d-%d.jpg", round, i)
			if err := errors.Join(put(c, ours.url, key, body), os.WriteFile(filepath.Join(b.dir, key), body, 0o600)); err != nil {
				return nil, nil, nil, err
			}
		}
		before, alone := ours.cpu(), cpuOf(ours.cmd.Process.Pid)
		for i := range n {
			if _, err := get(c, fmt.Sprintf("%s/images/%d-%d.jpg?w=512", ours.url, round, i), nil); err != nil {
				return nil, nil, nil, err
			}
		}
		o, own := (ours.cpu()-before)/float64(n), (cpuOf(ours.cmd.Process.Pid)-alone)/float64(n)
		loop.cpuSince()
		for i := range n {
			if err := loop.say("render " + filepath.Join(b.dir, fmt.Sprintf("%d-%d.jpg", round, i))); err != nil {
				return nil, nil, nil, err
			}
		}
		t := loop.cpuSince() / float64(n)
		if round > 0 {
			us, them, server = append(us, o), append(them, t), append(server, own)
		}
	}
	return us, them, server, nil
}

// vipsLoop is a process that does what it is told with libvips and nothing
// else: the same engine as a codec process, without pool, sandbox and server.
type vipsLoop struct {
	p   *process
	in  *bufio.Writer
	out *bufio.Reader

	seen float64 // CPU seconds at the last cpuSince
}

// cpuSince is the CPU seconds that the process has used since it was last asked.
func (l *vipsLoop) cpuSince() float64 {
	now := l.p.cpu()
	used := now - l.seen
	l.seen = now
	return used
}

func (b *bench) loop(w, h int) (*vipsLoop, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "-bare", "vips", strconv.Itoa(w), strconv.Itoa(h))
	cmd.Env = append(os.Environ(), "VIPS_CONCURRENCY=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := b.launch(cmd)
	if err != nil {
		return nil, err
	}
	return &vipsLoop{p: p, in: bufio.NewWriter(stdin), out: bufio.NewReader(stdout)}, nil
}

// say sends an order and waits until it is done.
func (l *vipsLoop) say(order string) error {
	fmt.Fprintln(l.in, order)
	if err := l.in.Flush(); err != nil {
		return err
	}
	answer, err := l.out.ReadString('\n')
	if err == nil && answer != "done\n" {
		err = fmt.Errorf("the bare loop answered %q", answer)
	}
	return err
}

// bareVips executes the same plans as a codec process would, in a plain loop:
// open, work, close.
func bareVips(args []string) error {
	w, _ := strconv.Atoi(args[0])
	h, _ := strconv.Atoi(args[1])
	header := format.Header{Format: format.JPEG, Width: w, Height: h, Pages: 1, Orientation: 1, Bands: 3, BitDepth: 8}
	p, err := plan.DefaultConfig().Render(options.Options{Width: 512, Fit: geom.ScaleDown, Format: format.JPEG}, header, nil)
	if err != nil {
		return err
	}
	engine, err := worker.Open(wire.Setup{})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "at http://0.0.0.0:0")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		what, path, _ := strings.Cut(in.Text(), " ")
		job := p.Job
		if what == "inspect" {
			job = plan.Inspect(header)
		}
		if err := renderOnce(engine, job, path); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return in.Err()
}

func renderOnce(engine *worker.Engine, job plan.Job, path string) error {
	source, err := os.Open(path)
	if err != nil {
		return err
	}
	defer source.Close()
	out, err := memfile()
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = engine.Execute(job, worker.Files{Source: int(source.Fd()), Overlay: -1, Output: int(out.Fd())})
	return err
}
