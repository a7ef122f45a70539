package app

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// locks are the files below a data directory that servers hold locks on: for what
// is being written, and for what is kept of stores elsewhere.
var locks = []string{"tmp/*/lock", "blobs/lock", "blobs-*/lock"}

// Running tells whether a server on this machine has a data directory open. Nothing
// is made or written there; a directory that can't be read counts as one without.
func Running(dir string) bool {
	for _, pattern := range locks {
		names, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			continue
		}
		for _, name := range names {
			if locked(dir + "/" + name) {
				return true
			}
		}
	}
	return false
}

// locked tells whether another has a lock on a file. A shared one is taken for the
// moment, so that two who ask do not see one another.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close() // which lets go of the lock
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
