package sandbox

import (
	"os"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// harmless are the calls that computing needs: memory, threads, time, and
// reading and writing descriptors that are already open. A name that an
// architecture or the filter's table lacks is left out.
var harmless = []string{
	// memory; PROT_EXEC stays possible, since libvips compiles its inner loops with orc
	"brk", "madvise", "mincore", "mmap", "mprotect", "mremap", "munmap", "membarrier",
	// threads of this process
	"exit", "exit_group", "futex", "get_robust_list", "getcpu", "gettid", "getpid", "getppid", "rseq",
	"sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield", "set_robust_list", "set_tid_address",
	"arch_prctl", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "restart_syscall",
	// time
	"clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "setitimer",
	"time", "timer_create", "timer_delete", "timer_settime", "times",
	// open descriptors
	"close", "dup", "fstat", "fstatfs", "ftruncate", "lseek", "pread64", "preadv", "pwrite64", "pwritev",
	"read", "readv", "write", "writev", "recvmsg", "sendmsg", "fadvise64", "fsync", "fdatasync",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2", "poll", "ppoll", "pselect6", "select",
	// questions about itself
	"getegid", "geteuid", "getgid", "getrandom", "getrlimit", "getrusage", "getuid", "sysinfo", "uname",
}

// lookups are the calls by which a library finds and reads a file; they belong
// to the filter only where Landlock decides which file.
var lookups = []string{
	"access", "faccessat", "faccessat2", "getcwd", "getdents64", "lstat", "newfstatat", "readlink", "readlinkat",
	"stat", "statfs", "statx",
}

// filter installs the list on all threads. What isn't on it fails with EPERM
// rather than killing the process: a C library that probes for a call which
// some kernel gained would otherwise cost a picture, and an attacker is refused
// the same either way.
func filter(opens bool) error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	known := func(names []string) (out []string) {
		for _, n := range names {
			if _, ok := info.SyscallNames[n]; ok {
				out = append(out, n)
			}
		}
		return out
	}
	allowed := known(harmless)
	conditional := guarded()
	if opens {
		allowed = append(allowed, known(lookups)...)
		conditional = append(conditional, readOnly("open", 1), readOnly("openat", 2))
	}
	kept := conditional[:0]
	for _, c := range conditional {
		if _, ok := info.SyscallNames[c.Name]; ok {
			kept = append(kept, c)
		}
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionAllow, Names: allowed, NamesWithCondtions: kept},
		},
	}
	// glibc falls back from clone3, whose flags a filter can't see, to clone.
	if _, ok := info.SyscallNames["clone3"]; ok {
		nosys := seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
		policy.Syscalls = append(policy.Syscalls, seccomp.SyscallGroup{Action: nosys, Names: []string{"clone3"}})
	}
	return seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: policy})
}

// guarded are calls that are harmless with some arguments only.
func guarded() []seccomp.NameWithConditions {
	self := uint64(os.Getpid())
	only := func(name string, argument uint32, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{
			{Argument: argument, Operation: seccomp.Equal, Value: value},
		}}
	}
	return []seccomp.NameWithConditions{
		// A new thread, never a new process.
		{Name: "clone", Conditions: seccomp.ArgumentConditions{
			{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD},
		}},
		// Signals to its own threads (the Go runtime's preemption, abort).
		only("tgkill", 0, self),
		// Reading limits, not setting them.
		only("prlimit64", 2, 0),
		only("prctl", 0, unix.PR_SET_NAME),
		only("prctl", 0, unix.PR_SET_VMA),
		only("fcntl", 1, unix.F_GETFL),
		only("fcntl", 1, unix.F_GETFD),
		only("fcntl", 1, unix.F_SETFD),
		only("fcntl", 1, unix.F_SETFL),
		only("fcntl", 1, unix.F_DUPFD_CLOEXEC),
	}
}

func readOnly(name string, flags uint32) seccomp.NameWithConditions {
	const writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND
	return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{
		{Argument: flags, Operation: seccomp.BitsNotSet, Value: writing},
	}}
}
