package guetzli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// doomedVar tells the test binary to be a server with a program under way, at
// the path that is its value.
const doomedVar = "SAFELIGHT_TEST_DOOMED"

func doomed() int {
	cfg := DefaultConfig()
	cfg.Path = os.Getenv(doomedVar)
	e, err := New(cfg, slog.Default())
	if err == nil {
		_, err = e.Encode(context.Background(), os.Stdin, 1, 84)
	}
	fmt.Fprintln(os.Stderr, "the encoding ended first:", err)
	return 1
}

func fifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A server that is killed outright leaves no process behind.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	fifo := fifo(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	// What replaces the script has the same number, and would sleep on.
	cmd.Env = append(os.Environ(), doomedVar+"="+wrapped(t, "echo $$ >"+fifo+"; exec sleep 600"))
	cmd.Stdin = opened(t, []byte("x"))
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}, 10_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("process %d survives its server: %v", pid, err)
			_ = unix.PidfdSendSignal(child, unix.SIGKILL, nil, 0)
		}
		return
	}
}
