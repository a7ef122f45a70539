// Package redistest runs Redis servers of its own for tests, as child processes
// on free ports of the loopback interface, with their files in temporary
// directories.
package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrMissing tells that Redis is not installed; tests skip then.
var ErrMissing = errors.New("redis-server is not installed (apt-get install redis-server)")

// Password is that of every server.
const Password = "not-to-be-logged"

// startTime bounds how long a server takes to start or stop.
const startTime = 30 * time.Second

// Server is a Redis server. Its methods are for one goroutine; what URLs lead to
// is for any number.
type Server struct {
	Port     int
	dir      string
	program  string
	sentinel bool
	tls      *tls.Config // nil without
	settings []string
	process  *exec.Cmd
}

// Start makes a server and starts it, with settings such as "--maxmemory", "10mb"
// over Redis' defaults. Nothing is written to disk. Close must be called.
func Start(settings ...string) (*Server, error) {
	return start(false, nil, append([]string{"--save", "", "--appendonly", "no", "--requirepass", Password, "--masterauth", Password}, settings...))
}

func start(sentinel bool, encrypt *tls.Config, settings []string) (_ *Server, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrMissing
	}
	s := &Server{program: path, sentinel: sentinel, tls: encrypt, settings: settings}
	if s.dir, err = os.MkdirTemp("", "redistest"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	return s, s.Resume()
}

// freePort finds a port to which 10,000 can be added, for clusters.
func freePort() (int, error) {
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
		if port < 55_000 {
			return port, nil
		}
	}
	return 0, errors.New("no free port below 55000 was found")
}

// Resume starts the server again after Kill, on the same port and empty, and
// returns when it answers.
func (s *Server) Resume() error {
	var args []string
	if s.sentinel {
		args = append(args, filepath.Join(s.dir, "sentinel.conf"), "--sentinel")
		if err := os.WriteFile(args[0], nil, 0o600); err != nil {
			return err
		}
	}
	port := "--port"
	if s.tls != nil {
		port = "--tls-port"
		args = append(args, "--port", "0")
	}
	args = append(args, port, strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", s.dir)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = exec.Command(s.program, append(args, s.settings...)...)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	return s.await("PING", "+PONG")
}

// await asks until the answer begins with what is wanted.
func (s *Server) await(command, want string) error {
	var answer string
	var err error
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if answer, err = s.Ask(command); err == nil && strings.HasPrefix(answer, want) {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("redis-server answers %s with %q, %v; its log:\n%s", command, answer, err, log)
}

// Ask sends a command, with blanks between its words, and gives the answer as
// Redis writes it; a text of several lines is given as it is.
func (s *Server) Ask(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Address(), time.Second)
	if err != nil {
		return "", err
	}
	if s.tls != nil {
		conn = tls.Client(conn, s.tls)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	if !s.sentinel {
		if answer, err := exchange(conn, r, "AUTH "+Password); err != nil || !strings.HasPrefix(answer, "+OK") {
			return "", fmt.Errorf("AUTH: %s %w", answer, err)
		}
	}
	return exchange(conn, r, command)
}

func exchange(w io.Writer, r *bufio.Reader, command string) (string, error) {
	if _, err := io.WriteString(w, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "$") {
		return strings.TrimSpace(line), err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil || n < 0 {
		return "", err
	}
	text := make([]byte, n)
	_, err = io.ReadFull(r, text)
	return string(text), err
}

// Kill ends the server at once.
func (s *Server) Kill() error {
	if s.process == nil || s.process.Process == nil {
		return nil
	}
	process := s.process
	s.process = nil
	err := process.Process.Kill()
	_ = process.Wait() // its status tells by which signal it was ended
	return err
}

// Close ends the server and removes its files.
func (s *Server) Close() error { return errors.Join(s.Kill(), os.RemoveAll(s.dir)) }

// Address is where the server listens.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// URL leads to the server.
func (s *Server) URL() string {
	url := URL(s.Address())
	if s.tls != nil {
		return strings.Replace(url, "redis:", "rediss:", 1)
	}
	return url
}

// URL leads to the server behind an address.
func URL(address string) string { return "redis://:" + Password + "@" + address + "/0" }
