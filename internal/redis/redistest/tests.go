package redistest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
)

// For gives a test what start starts, such as StartCluster, until the test ends.
// The test is skipped where Redis is not installed.
func For[S io.Closer](t testing.TB, start func() (S, error)) S {
	t.Helper()
	s, err := start()
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Alone is Start without settings.
func Alone() (*Server, error) { return Start() }

// Main runs the tests of a package that share a server, and ends the process. The
// server is nil where Redis is not installed.
func Main(m *testing.M, server **Server) {
	code, err := run(m, server)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, server **Server) (code int, err error) {
	*server, err = Start()
	if errors.Is(err, ErrMissing) {
		*server = nil
		return m.Run(), nil
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, (*server).Close()) }()
	return m.Run(), nil
}
