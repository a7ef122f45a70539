package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// breakOut runs inside a sealed codec process and tries what an attacker would.
// It prints, for each attempt, whether it succeeded.
func breakOut() {
	attempts := []struct {
		name string
		try  func() error
	}{
		{"read /etc/passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err }},
		{"read /etc/passwd through proc", func() error { _, err := os.ReadFile("/proc/self/root/etc/passwd"); return err }},
		{"read the environment of the parent", func() error {
			_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", os.Getppid()))
			return err
		}},
		{"write own memory through proc", func() error {
			f, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
			if err == nil {
				f.Close()
			}
			return err
		}},
		{"list the home folder", func() error { _, err := os.ReadDir("/root"); return err }},
		{"create a file", func() error { return os.WriteFile("/tmp/safelight-escaped", []byte("x"), 0o600) }},
		{"create a file where it may read", func() error { return os.WriteFile("/usr/share/safelight-escaped", []byte("x"), 0o600) }},
		{"write a device", func() error { return os.WriteFile("/dev/null", []byte("x"), 0) }},
		{"remove a file", func() error { return unix.Unlink("/tmp/safelight-victim") }},
		{"rename a file", func() error { return unix.Rename("/tmp/safelight-victim", "/tmp/safelight-moved") }},
		{"change a mode", func() error { return unix.Chmod("/tmp/safelight-victim", 0o777) }},
		{"open a TCP socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
		{"open a UDP socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); return err }},
		{"open a unix socket", func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"open a netlink socket", func() error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0); return err }},
		{"execute a program", func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) }},
		{"start a program", func() error { return exec.Command("/bin/true").Run() }},
		{"fork", func() error {
			pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
			if e != 0 {
				return e
			}
			if pid == 0 {
				syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
			}
			return nil
		}},
		{"signal the parent", func() error { return unix.Kill(os.Getppid(), 0) }},
		{"signal itself by another way", func() error { return unix.Kill(os.Getpid(), 0) }},
		{"trace the parent", func() error { return unix.PtraceAttach(os.Getppid()) }},
		{"mount", func() error { return unix.Mount("none", "/mnt", "tmpfs", 0, "") }},
		{"a user namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"raise a limit", func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) }},
		{"change a user", func() error { return unix.Setuid(65534) }},
		{"load a program for the kernel", func() error {
			_, _, e := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
			return zero(e)
		}},
		{"an io_uring", func() error { _, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 8, 0, 0); return zero(e) }},
		{"read another process", func() error {
			_, err := unix.ProcessVMReadv(os.Getppid(), nil, nil, 0)
			return err
		}},
		{"a file without a name", func() error {
			fd, err := unix.MemfdCreate("x", 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"write more than the limit", func() error { return overLimit() }},
	}
	said := map[string]string{}
	for _, a := range attempts {
		said[a.name] = "done"
		if err := a.try(); err != nil {
			said[a.name] = err.Error()
		}
	}
	for f := range savers {
		said["use of "+f.String()] = errorText(roundTrip(f, os.Getenv(stageVar) != "{}"))
	}
	said["end"] = "reached"
	b, _ := json.Marshal(said)
	fmt.Fprintf(os.Stderr, "\nATTEMPTS %s\n", b)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// roundTrip writes a picture with text on it into descriptor 4, and reads it again.
func roundTrip(f format.Format, opens bool) error {
	const output = 4
	if err := unix.Ftruncate(output, 0); err != nil {
		return err
	}
	if _, err := unix.Seek(output, 0, unix.SEEK_SET); err != nil {
		return err
	}
	p := newPicture(Files{Source: -1, Overlay: -1, Output: output})
	defer p.close()
	i, err := colourImage(p.scope, green)
	if err != nil {
		return err
	}
	p.frames = []*vips.Image{i}
	// Fonts are files, and cannot be opened without Landlock to say which.
	if err := p.text(plan.Text{String: "Ünï", Size: 9, Opacity: 1}); err != nil && (opens || fault.Of(err) != fault.Unsupported) {
		return err
	}
	if _, err := p.save(plan.Save{Format: f, Quality: 80}, output); err != nil {
		return err
	}
	e := &Engine{outputBytes: 1 << 40}
	_, err = e.Execute(plan.Job{Load: plan.Load{Format: f}, Inspect: true}, Files{Source: output, Overlay: -1, Output: -1})
	return err
}

func zero(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// overLimit writes into descriptor 4, which the test gives, past RLIMIT_FSIZE.
func overLimit() error {
	_, err := unix.Pwrite(4, []byte("x"), 1<<20)
	return err
}

func TestSandboxHolds(t *testing.T) {
	t.Run("on this kernel", func(t *testing.T) { holds(t) })
	// A stage that carries an empty status is what a kernel without Landlock leaves.
	t.Run("without Landlock", func(t *testing.T) { holds(t, stageVar+"={}") })
}

func holds(t *testing.T, env ...string) {
	victim := "/tmp/safelight-victim"
	if err := os.WriteFile(victim, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(victim)
	hello, stderr := child(t, wire.Setup{MemoryBytes: 1 << 30, OutputBytes: 1 << 20}, env...)
	t.Log("in force:", hello.Info.Sandbox)
	if !hello.Info.Sandbox.Seccomp {
		t.Skip("this kernel lets nobody filter system calls: ", hello.Info.Sandbox.Problem)
	}
	_, line, ok := strings.Cut(stderr, "ATTEMPTS ")
	if !ok {
		t.Fatal("the process did not try: ", stderr)
	}
	var said map[string]string
	if err := json.Unmarshal([]byte(strings.SplitN(line, "\n", 2)[0]), &said); err != nil {
		t.Fatal(err)
	}
	if said["end"] != "reached" {
		t.Error("the attempts did not come to their end")
	}
	delete(said, "end")
	attempts := 0
	for name, answer := range said {
		if used, ok := strings.CutPrefix(name, "use of "); ok {
			if answer != "" {
				t.Errorf("%s does not work any more: %s", used, answer)
			}
			continue
		}
		attempts++
		t.Logf("%-40s %s", name, answer)
		limited := hello.Info.Sandbox.Limits || name != "write more than the limit"
		if answer == "done" && limited {
			t.Errorf("a codec process was able to %s", name)
		}
	}
	if attempts < 25 {
		t.Errorf("only %d attempts were made", attempts)
	}
}

// child starts this test binary as a codec process and returns its first words
// and what it printed; it ends when its socket does.
func child(t *testing.T, setup wire.Setup, env ...string) (wire.Hello, string) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	output := os.NewFile(uintptr(fd), "output") // which closes it, and nobody else may
	defer output.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(env, "SAFELIGHT_CODEC_CHILD=1", "GOMAXPROCS=2")
	cmd.ExtraFiles = []*os.File{theirs, output}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	message, err := wire.Encode(setup)
	if err == nil {
		_, err = conn.Write(message)
	}
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, wire.MaxMessage)
	n, err := conn.Read(answer)
	conn.Close()
	if waited := cmd.Wait(); err != nil || waited != nil {
		t.Fatalf("no hello: %v; %v; %s", err, waited, stderr.String())
	}
	var hello wire.Hello
	if err := json.Unmarshal(answer[:n], &hello); err != nil || hello.Error != "" {
		t.Fatal(hello.Error, err)
	}
	return hello, stderr.String()
}
