package sandbox

import (
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// What these do is proved where a process can be given up to them: in package worker.

func TestRightsFollowTheKernel(t *testing.T) {
	const truncate, device = unix.LANDLOCK_ACCESS_FS_TRUNCATE, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	for abi, want := range map[int]struct {
		fs   uint64
		net  bool
		size uintptr
	}{
		1: {1<<13 - 1, false, 8}, 2: {1<<14 - 1, false, 8}, 3: {1<<14 - 1 | truncate, false, 8},
		4: {1<<14 - 1 | truncate, true, 16}, 5: {1<<14 - 1 | truncate | device, true, 16},
		7: {1<<14 - 1 | truncate | device, true, 24}, 99: {1<<14 - 1 | truncate | device, true, 24},
	} {
		got := handled(abi)
		if got.Handled_access_fs != want.fs || (got.Handled_access_net != 0) != want.net || attrSize(abi) != want.size {
			t.Errorf("version %d: %x, %x, %d bytes", abi, got.Handled_access_fs, got.Handled_access_net, attrSize(abi))
		}
	}
}

// The lists name system calls that exist: a misspelt one would silently be refused.
func TestEverySystemCallExists(t *testing.T) {
	known := func(name string) bool {
		_, x86 := arch.X86_64.SyscallNames[name]
		_, arm := arch.AARCH64.SyscallNames[name]
		return x86 || arm
	}
	names := append(append([]string{"open", "openat", "clone3"}, harmless...), lookups...)
	for _, g := range guarded() {
		names = append(names, g.Name)
	}
	seen := map[string]bool{}
	for _, name := range append(harmless[:len(harmless):len(harmless)], lookups...) {
		if seen[name] {
			t.Errorf("%s is listed twice", name)
		}
		seen[name] = true
	}
	for _, name := range names {
		if !known(name) {
			t.Errorf("there is no system call %s", name)
		}
	}
	for _, name := range []string{"socket", "connect", "execve", "execveat", "fork", "vfork", "ptrace", "mount", "kill",
		"process_vm_readv", "bpf", "io_uring_setup", "memfd_create", "unlink", "unlinkat", "rename", "mknod", "setns"} {
		if seen[name] {
			t.Errorf("%s is allowed", name)
		}
	}
}

func TestStatusInOneLine(t *testing.T) {
	if s := (Status{}).String(); s != "nothing" {
		t.Error(s)
	}
	s := Status{NoNewPrivs: true, Limits: true, Landlock: 3, Seccomp: true, Problem: "x"}.String()
	if s != "limits, no_new_privs, landlock 3, seccomp, (x)" {
		t.Error(s)
	}
}
