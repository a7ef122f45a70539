// Package s3test runs a real S3 server for tests: Versity's gateway over a
// directory, built from tools/versitygw.
package s3test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The keys that the server knows.
const (
	AccessKey = "safelight-test"
	SecretKey = "a-key-that-is-used-in-tests-only-0001"
)

// Server is an S3 server on a port of its own, over a directory that has one
// directory for each bucket.
type Server struct {
	// Endpoint is such as http://127.0.0.1:40123.
	Endpoint string
	// Dir has the buckets.
	Dir string

	// Events is where the server tells of changes; "" tells nobody. It counts
	// from the next Run on.
	Events string

	t       testing.TB // nil after Launch
	program string
	cmd     *exec.Cmd
	output  *bytes.Buffer
}

// Start runs a server until the test ends; the test is skipped where none can be
// built.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := build(); err != nil {
		t.Skipf("there is no S3 server: %v", err)
	}
	s, err := Launch(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(s.Stop)
	return s
}

// Launch runs a server over a directory until Stop. Methods that test need Start
// instead.
func Launch(dir string) (*Server, error) {
	program, err := build()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		return nil, err
	}
	s := &Server{Endpoint: "http://" + ln.Addr().String(), Dir: dir, program: program}
	if err := ln.Close(); err != nil {
		return nil, err
	}
	return s, s.run()
}

// Env is what a program needs to get in.
func Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey}
}

// SetEnv gives this process what Env says, for the time of a test, which can't be
// parallel.
func SetEnv(t testing.TB) {
	for _, pair := range Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

// Bucket makes one, and gives its URL with a prefix.
func (s *Server) Bucket(name, prefix string) string {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.Dir, name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return URL(s.Endpoint, name, prefix)
}

// URL is that of a bucket behind an endpoint.
func URL(endpoint, bucket, prefix string) string {
	return fmt.Sprintf("s3://%s/%s?region=us-east-1&path_style=true&endpoint=%s", bucket, prefix, endpoint)
}

// Objects lists the files of a bucket.
func (s *Server) Objects(bucket string) []string {
	s.t.Helper()
	var names []string
	top := filepath.Join(s.Dir, bucket)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".sgwtmp" { // parts that are not yet an object
			return fs.SkipDir
		}
		if err == nil && d.Type().IsRegular() {
			rel, err := filepath.Rel(top, path)
			names = append(names, filepath.ToSlash(rel))
			return err
		}
		if errors.Is(err, fs.ErrNotExist) { // it has just gone
			return nil
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

// Run starts the server again after Stop, at the same place.
func (s *Server) Run() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) run() error {
	s.output = &bytes.Buffer{}
	args := []string{"--quiet", "--keep-alive", "--port", strings.TrimPrefix(s.Endpoint, "http://")}
	if s.Events != "" {
		args = append(args, "--event-webhook-url", s.Events)
	}
	s.cmd = exec.Command(s.program, append(args, "posix", s.Dir)...)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, err := client.Get(s.Endpoint)
		if err == nil {
			_ = res.Body.Close()
			return nil
		}
		if time.Now().After(deadline) {
			s.Stop()
			return fmt.Errorf("the S3 server does not answer: %w\n%s", err, s.output)
		}
	}
}

// Stop ends the server; it may be called again.
func (s *Server) Stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

var build = sync.OnceValues(func() (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the source is not there")
	}
	module := filepath.Join(filepath.Dir(here), "..", "..", "..", "tools", "versitygw")
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	version := sha256.Sum256(sums)
	program := filepath.Join(cache, "safelight", "versitygw-"+hex.EncodeToString(version[:6]))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	fresh := fmt.Sprintf("%s.%d", program, os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-o", fresh, "github.com/versity/versitygw/cmd/versitygw")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %.500s", err, out)
	}
	return program, os.Rename(fresh, program)
})
