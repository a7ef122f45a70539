// Package pgtest runs a PostgreSQL server of its own for tests, as a child
// process on a free port of the loopback interface, with its files in a
// temporary directory.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing tells that PostgreSQL is not installed; tests skip then.
var ErrMissing = errors.New("PostgreSQL is not installed (apt-get install postgresql)")

// User and Password are those of the server's superuser.
const (
	User     = "tester"
	Password = "not-to-be-logged"
)

// startTime bounds how long a server takes to start or stop.
const startTime = 60 * time.Second

// Server is a PostgreSQL server. Its methods are for one goroutine; what URLs
// lead to is for any number.
type Server struct {
	Port     int
	dir, bin string
	settings []string
	owner    *syscall.Credential // who the server runs as; nil is this process's user
	process  *exec.Cmd
	last     atomic.Int64 // number of the last database
}

// Start makes a server and starts it, with settings such as "fsync=off" over
// PostgreSQL's defaults. Close must be called.
func Start(settings ...string) (_ *Server, err error) {
	s := &Server{settings: settings}
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.own(); err != nil {
		return nil, err
	}
	if err := s.initialise(); err != nil {
		return nil, err
	}
	return s, s.open()
}

// open starts the server on a port of its own.
func (s *Server) open() (err error) {
	if s.Port, err = freePort(); err != nil {
		return err
	}
	return s.Resume()
}

// Standby makes a server that follows this one and takes no changes until
// Promote. Close must be called.
func (s *Server) Standby() (_ *Server, err error) {
	f := &Server{settings: s.settings, bin: s.bin}
	if f.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := f.own(); err != nil {
		return nil, err
	}
	if out, err := f.command("pg_basebackup", "-D", f.data(), "-R", "-X", "stream", "-c", "fast", "-d", s.URL("postgres")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return f, f.open()
}

// Promote makes a standby take changes.
func (s *Server) Promote() error { return s.Exec("postgres", `SELECT pg_promote()`) }

// binaries finds the newest directory with a server's programs.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		found = append([]string{filepath.Join(string(out[:max(len(out)-1, 0)]), "postgres")}, found...)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append([]string{path}, found...)
		}
	}
	for _, path := range slices.Backward(found) {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", ErrMissing
}

// version is that of a path /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// own gives the directory to a user that PostgreSQL runs as: it refuses root.
func (s *Server) own() error {
	if os.Getuid() != 0 {
		return nil
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(s.dir, uid, gid)
	}
	return errors.Join(errs...)
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

func (s *Server) initialise() error {
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o600); err != nil {
		return err
	}
	if s.owner != nil {
		if err := os.Chown(secret, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return err
		}
	}
	args := []string{"-D", s.data(), "-U", User, "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"}
	// An order of text that is not that of its bytes, where the server has one:
	// so a column that needs the latter and lacks it is noticed.
	_, err := s.command("initdb", append(args, "--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8")...).CombinedOutput()
	if err == nil {
		return nil
	}
	if out, err := s.command("initdb", append(args, "--locale=C")...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// Resume starts the server again after Stop or Kill, on the same port and with
// what it has stored, and returns when it answers.
func (s *Server) Resume() error {
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.Port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=" + s.dir, "max_connections=200"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = s.command("postgres", args...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return err
	}
	return s.await()
}

// LogFile is what the server has written.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }

func (s *Server) await() error {
	var err error
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = s.Exec("postgres", "SELECT 1"); err == nil {
			return nil
		}
	}
	log, _ := os.ReadFile(s.LogFile())
	return fmt.Errorf("PostgreSQL does not answer: %w; its log:\n%s", err, log)
}

// Stop ends the server as an administrator would in a hurry: connections are
// cut, and everything is written.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Kill ends the server at once; it recovers when it is started again.
func (s *Server) Kill() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(signal os.Signal) error {
	if s.process == nil {
		return nil
	}
	process := s.process
	s.process = nil
	if err := process.Process.Signal(signal); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	select {
	case <-ended: // its status tells by which signal it was ended
		return nil
	case <-time.After(startTime):
		return errors.Join(errors.New("PostgreSQL did not stop"), process.Process.Kill(), <-ended)
	}
}

// Close stops the server and removes its files.
func (s *Server) Close() error { return errors.Join(s.Kill(), os.RemoveAll(s.dir)) }

// URL leads to a database of the server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", User, Password, s.Port, database)
}

// Exec carries out statements in a database.
func (s *Server) Exec(database string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, text := range statements {
		if _, err := conn.Exec(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

// Database makes a database, as a copy of another one ("" is an empty one), and
// gives its URL. Nobody may be connected to the other one meanwhile.
func (s *Server) Database(template string) (string, error) {
	if template == "" {
		template = "template0"
	}
	name := fmt.Sprintf("test%d", s.last.Add(1))
	return s.URL(name), s.Exec("postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template))
}

// Drop removes a database, whoever is connected to it.
func (s *Server) Drop(name string) error {
	return s.Exec("postgres", fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name))
}
