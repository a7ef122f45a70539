package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server under measurement.
type process struct {
	cmd *exec.Cmd
	url string
	log *bytes.Buffer
}

var said = regexp.MustCompile(`(?m)at (http://[0-9.:]+)`)

// safelight starts our server with settings as environment variables.
func (b *bench) safelight(env ...string) (*process, error) {
	data, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.binary, "serve", "--listen", "127.0.0.1:0", "--data", data)
	cmd.Env = append(os.Environ(), env...)
	return b.launch(cmd)
}

// self starts a baseline: this program by another name.
func (b *bench) self(name string, args ...string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.launch(exec.Command(exe, append([]string{"-bare", name}, args...)...))
}

// launch starts a server that says its address on standard error.
func (b *bench) launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, log: &bytes.Buffer{}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.running = append(b.running, p)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.log.WriteString(lines.Text() + "\n")
		if m := said.FindStringSubmatch(lines.Text()); m != nil {
			p.url = m[1]
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s ended before it was ready:\n%s", cmd.Path, p.log)
}

// stopAll ends every server that was started, with its children.
func (b *bench) stopAll() {
	for _, p := range b.running {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
	b.running = nil
}

// cpu is the processor time in seconds of a process, its living descendants
// and those it has reaped.
func (p *process) cpu() float64 {
	var total float64
	for pid := range tree(p.cmd.Process.Pid) {
		total += cpuOf(pid)
	}
	return total
}

// tree lists a process and its living descendants with their parents.
func tree(root int) map[int]bool {
	parents := make(map[int]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		fields, ok := stat(path)
		if !ok {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parents[pid], _ = strconv.Atoi(fields[1])
	}
	in := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for pid, parent := range parents {
			if in[parent] && !in[pid] {
				in[pid], grown = true, true
			}
		}
	}
	return in
}

// stat is the fields of /proc/PID/stat after the name in brackets.
func stat(path string) ([]string, bool) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	_, rest, ok := strings.Cut(string(raw), ") ")
	return strings.Fields(rest), ok
}

// cpuOf is a process's own time to the nanosecond (its scheduler's account),
// and that of its reaped children in ticks.
func cpuOf(pid int) float64 {
	var total float64
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range tasks {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		ns, _, _ := strings.Cut(string(raw), " ")
		v, _ := strconv.ParseFloat(ns, 64)
		total += v / 1e9
	}
	fields, ok := stat(fmt.Sprintf("/proc/%d/stat", pid))
	if !ok {
		return total
	}
	ticks := 0.0
	for _, at := range []int{13, 14} { // cutime, cstime
		v, _ := strconv.ParseFloat(fields[at], 64)
		ticks += v
	}
	return total + ticks/100
}

// peaks are the largest resident sizes so far, MiB: of the process itself and
// of the largest of its descendants.
func (p *process) peaks() (own, child float64) {
	for pid := range tree(p.cmd.Process.Pid) {
		v := statusMiB(pid, "VmHWM")
		if pid == p.cmd.Process.Pid {
			own = v
		} else {
			child = max(child, v)
		}
	}
	return own, child
}

func statusMiB(pid int, name string) float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.SplitSeq(string(raw), "\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kib / 1024
		}
	}
	return 0
}

// client keeps a connection for each goroutine of a row.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}, Timeout: time.Minute}
}

// get asks for a URL and demands a 200.
func get(c *http.Client, url string, header http.Header) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s was answered %d: %.200s", url, res.StatusCode, body)
	}
	return body, err
}

// put stores bytes under a key.
func put(c *http.Client, base, key string, body []byte) error {
	req, err := http.NewRequest(http.MethodPut, base+"/images/"+key, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if res.StatusCode/100 != 2 {
		return errors.Join(err, fmt.Errorf("PUT %s was answered %d: %.300s", key, res.StatusCode, answer))
	}
	return err
}
