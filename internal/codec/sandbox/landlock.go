package sandbox

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readFile = unix.LANDLOCK_ACCESS_FS_READ_FILE
	readDir  = unix.LANDLOCK_ACCESS_FS_READ_DIR
	execute  = unix.LANDLOCK_ACCESS_FS_EXECUTE
)

// system is what a program with libvips reads beside its own file: libraries,
// fonts, and how many processors there are. Missing ones are skipped. Nothing
// with secrets in it, nothing of /home, /var/lib, /proc or the rest of /etc.
var system = []string{
	"/usr", "/lib", "/lib64",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload",
	"/etc/fonts", "/var/cache/fontconfig",
	"/sys/devices/system/cpu",
	"/dev/null",
}

// handled lists the rights that a version of Landlock can take away: the
// kernel's own numbering, each version knowing what is below its bit.
func handled(abi int) unix.LandlockRulesetAttr {
	known := map[int]uint64{1: 13, 2: 14, 3: 15, 4: 15}
	bits, ok := known[abi]
	if !ok {
		bits = 16 // from version 5: IOCTL_DEV
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: 1<<bits - 1}
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr
}

// attrSize is how much of the attributes a version of the kernel knows.
func attrSize(abi int) uintptr {
	switch {
	case abi >= 6:
		return 24
	case abi >= 4:
		return 16
	}
	return 8
}

func landlock(s *Status, readable []string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("no landlock: %w", errno)
	}
	attr := handled(int(abi))
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), attrSize(int(abi)), 0)
	if errno != 0 {
		return fmt.Errorf("landlock ruleset: %w", errno)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)
	if err := permit(ruleset, "/proc/self/exe", readFile|execute); err != nil {
		return err
	}
	for _, path := range interpreters() {
		if err := permit(ruleset, path, readFile|execute); err != nil {
			return err
		}
	}
	for _, path := range append(append([]string(nil), system...), readable...) {
		if err := permit(ruleset, path, readFile|readDir); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	s.Landlock = int(abi)
	s.Network = attr.Handled_access_net == 0
	return nil
}

// permit allows rights on a file, or on a folder and all below it. What isn't there needs no permission.
func permit(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("landlock: %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &^= readDir
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %s: %w", path, errno)
	}
	return nil
}
