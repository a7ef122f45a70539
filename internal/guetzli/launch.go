package guetzli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LaunchArgument is this program's first argument where it is to call Launch.
// It looks like a flag so that a test binary which does not know it ends with
// an error, rather than running its tests.
const LaunchArgument = "-launch-guetzli"

// launchFailed is the exit status when the program could not be executed, as
// shells have it.
const launchFailed = 126

// niceness of the processes: they take what interactive work leaves.
const niceness = 10

// limits bound what a process may take.
type limits struct {
	memory int64         // address space, bytes
	cpu    time.Duration // processor time, to the second
	file   int64         // any file it writes, bytes
}

// Launch confines this process and turns it into another program: args are the
// limits on address space (bytes), processor time (seconds) and files (bytes),
// the program's absolute path, and its arguments. It answers an exit status if
// that fails, and does not return otherwise.
//
// Limits that the server sets on a running child come late by whatever the
// scheduler likes; set here, before execve, the program has them from its first
// instruction. The other ways are worse: limits of the server's own, to be
// inherited, would hold for the server too; stopping the child with ptrace is
// forbidden in many containers; prlimit(1) is one more program to depend on,
// and can't set no_new_privs.
func Launch(args []string) int {
	runtime.LockOSThread() // niceness and no_new_privs are a thread's, and execve keeps the calling one's
	if err := launch(args); err != nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
	}
	return launchFailed
}

func launch(args []string) error {
	if len(args) < 4 {
		return errors.New("expected limits and a program")
	}
	var bounds [3]uint64
	for i := range bounds {
		var err error
		if bounds[i], err = strconv.ParseUint(args[i], 10, 63); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	// Not being nice costs others' time, not safety: a container may forbid it.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
	for _, l := range []struct {
		resource  int
		soft, max uint64
		name      string
	}{
		{unix.RLIMIT_CORE, 0, 0, "core dumps"},
		{unix.RLIMIT_FSIZE, bounds[2], bounds[2], "file size"},
		{unix.RLIMIT_CPU, bounds[1], bounds[1] + 1, "processor time"}, // SIGXCPU tells it from other kills
		{unix.RLIMIT_AS, bounds[0], bounds[0], "address space"},       // last, since it is too little for this program
	} {
		if err := limit(l.resource, l.soft, l.max); err != nil {
			return fmt.Errorf("limit on %s: %w", l.name, err)
		}
	}
	return fmt.Errorf("%s: %w", args[3], syscall.Exec(args[3], args[3:], nil))
}

// limit sets a limit; a harder one that is already there stays.
func limit(resource int, soft, hard uint64) error {
	var old unix.Rlimit
	if err := unix.Prlimit(0, resource, nil, &old); err != nil {
		return err
	}
	hard = min(hard, old.Max)
	return unix.Prlimit(0, resource, &unix.Rlimit{Cur: min(soft, hard), Max: hard}, nil)
}

// arguments are those of the process that calls Launch.
func (l limits) arguments(program string, args []string) []string {
	seconds := int64(math.Ceil(l.cpu.Seconds()))
	return append([]string{LaunchArgument, strconv.FormatInt(l.memory, 10), strconv.FormatInt(seconds, 10),
		strconv.FormatInt(l.file, 10), program}, args...)
}
