package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// child runs a program to its end; the seconds are its processor time.
func child(stdin []byte, name string, args ...string) (seconds float64, err error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// turbo is libjpeg-turbo's cjpeg, progressive with best Huffman tables; sampling
// is 1x1 for 4:4:4, 2x2 for 4:2:0.
func (l *lane) turbo(p *photo, sampling string) encoder {
	ppm := p.ppm()
	return func(quality int) (made, error) {
		to := filepath.Join(l.dir, "turbo.jpg")
		cpu, err := child(ppm, "cjpeg", "-quality", strconv.Itoa(quality), "-sample", sampling, "-optimize", "-progressive", "-outfile", to)
		return file(to, cpu, err)
	}
}

func file(path string, cpu float64, err error) (made, error) {
	if err != nil {
		return made{}, err
	}
	data, err := os.ReadFile(path)
	return made{data: data, cpu: cpu}, err
}

// guetzliOf runs guetzli.
func (l *lane) guetzliOf(p *photo) (made, error) {
	to := filepath.Join(l.dir, "guetzli.jpg")
	cpu, err := child(nil, "guetzli", p.path, to)
	return file(to, cpu, err)
}

// jpegli is a running encoder.
type jpegli struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// buildJpegli builds bench/jpegli, which needs the network once.
func buildJpegli(dir string) (program string, err error) {
	program = filepath.Join(dir, "jpegli")
	_, err = child(nil, "go", "build", "-C", filepath.Join("bench", "jpegli"), "-o", program, ".")
	if err != nil {
		program = ""
	}
	return program, err
}

func startJpegli(program string) (*jpegli, error) {
	j := &jpegli{cmd: exec.Command(program)}
	j.cmd.Stderr = os.Stderr
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	j.out = bufio.NewReader(out)
	if j.in, err = j.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return j, j.cmd.Start()
}

func (j *jpegli) stop() {
	_ = j.in.Close()
	_ = j.cmd.Wait() // it ends with its input
}

func (l *lane) jpegliOf(p *photo) encoder {
	return func(quality int) (made, error) {
		to := filepath.Join(l.dir, "jpegli.jpg")
		if _, err := fmt.Fprintln(l.jpegli.in, p.path, quality, to); err != nil {
			return made{}, err
		}
		line, err := l.jpegli.out.ReadString('\n')
		if err != nil {
			return made{}, fmt.Errorf("jpegli: %w", err)
		}
		cpu, err := strconv.ParseFloat(line[:len(line)-1], 64)
		return file(to, cpu, err)
	}
}
