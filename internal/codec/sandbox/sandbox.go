// Package sandbox takes away from a codec process everything that decoding
// pictures does not need, so that a picture which takes the process over gains
// nothing but the right to compute.
//
// It closes in two stages. Confine runs first, on a locked thread, and what it
// sets survives the execve that must follow: resource limits, no_new_privs and
// a Landlock domain, which every thread of the new program then has from its
// start (Landlock binds threads, and a Go program has several before main).
// Seal runs in the new program once its libraries are loaded: a seccomp filter
// on all threads. Each layer stands by itself where a kernel lacks the other.
package sandbox

import (
	"fmt"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Status says what is in force in a process.
type Status struct {
	NoNewPrivs bool   `json:"no_new_privs"`
	Limits     bool   `json:"limits"`            // memory, file size, open files, no core dumps
	Landlock   int    `json:"landlock"`          // version of the kernel's interface; 0 is not in force
	Network    bool   `json:"network"`           // whether Landlock leaves TCP open
	Seccomp    bool   `json:"seccomp"`           // system calls are filtered
	Opens      bool   `json:"opens"`             // files that Landlock permits can be opened for reading
	Problem    string `json:"problem,omitempty"` // why a part is missing
}

// String is one line for a log.
func (s Status) String() string {
	var parts []string
	if s.Limits {
		parts = append(parts, "limits")
	}
	if s.NoNewPrivs {
		parts = append(parts, "no_new_privs")
	}
	if s.Landlock > 0 {
		parts = append(parts, fmt.Sprintf("landlock %d", s.Landlock))
	}
	if s.Seccomp {
		parts = append(parts, "seccomp")
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing")
	}
	if s.Problem != "" {
		parts = append(parts, "("+s.Problem+")")
	}
	return strings.Join(parts, ", ")
}

// Limits bounds what the process may take. 0 leaves one as it is.
type Limits struct {
	DataBytes int64 // writable private memory, touched or not (RLIMIT_DATA)
	DataMore  int64 // by how much the parent may raise that
	FileBytes int64 // any file it writes; more fails with EFBIG
	Files     int   // open descriptors
}

// Confine sets the limits and the Landlock domain for the calling thread, and
// for the program it executes next. The goroutine must be locked to its thread
// and must call execve afterwards, or exit. It fails when a limit can't be set;
// a kernel without Landlock is told in the status.
func Confine(l Limits, readable []string) (Status, error) {
	var s Status
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return s, fmt.Errorf("sandbox: no_new_privs: %w", err)
	}
	s.NoNewPrivs = true
	for _, r := range []struct {
		resource int
		max      int64
		more     int64 // of the hard limit
		name     string
	}{
		{unix.RLIMIT_DATA, l.DataBytes, l.DataMore, "data"},
		{unix.RLIMIT_FSIZE, l.FileBytes, 0, "file size"},
		{unix.RLIMIT_NOFILE, int64(l.Files), 0, "open files"},
	} {
		if r.max <= 0 {
			continue
		}
		if err := limit(r.resource, uint64(r.max), uint64(r.more)); err != nil {
			return s, fmt.Errorf("sandbox: limit on %s: %w", r.name, err)
		}
	}
	if err := limit(unix.RLIMIT_CORE, 0, 0); err != nil {
		return s, fmt.Errorf("sandbox: core dumps: %w", err)
	}
	s.Limits = true
	if err := landlock(&s, readable); err != nil {
		s.Problem = err.Error()
	}
	return s, nil
}

// limit goes past package syscall's Setrlimit, which remembers RLIMIT_NOFILE
// and would put the old value back at execve. A harder limit that is already
// there stays.
func limit(resource int, max, more uint64) error {
	var old unix.Rlimit
	if err := unix.Prlimit(0, resource, nil, &old); err != nil {
		return err
	}
	return unix.Prlimit(0, resource, &unix.Rlimit{Cur: min(max, old.Max), Max: min(max+more, old.Max)}, nil)
}

// Seal closes the second stage for all threads of the process, for good: it
// can't be debugged or dumped by others of its user, its own writes over the
// limit fail rather than kill, and system calls are filtered. s is what Confine
// gave before the execve; the result is what is in force now.
func Seal(s Status) Status {
	signal.Ignore(syscall.SIGXFSZ)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		s.Problem = strings.TrimPrefix(s.Problem+"; dumpable: "+err.Error(), "; ")
	}
	s.Opens = s.Landlock > 0
	if err := filter(s.Opens); err != nil {
		s.Problem = strings.TrimPrefix(s.Problem+"; seccomp: "+err.Error(), "; ")
		return s
	}
	s.Seccomp = true
	return s
}

// interpreters are the dynamic loaders that the kernel must be able to execute
// for the second stage's program.
func interpreters() []string {
	if runtime.GOARCH == "arm64" {
		return []string{"/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"}
	}
	return []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"}
}
