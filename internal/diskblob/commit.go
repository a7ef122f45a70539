package diskblob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"safelight/internal/fault"
)

// A commit has two parts. Each caller fsyncs its own file, a bounded number at
// the same time (the file system's journal already lets those share a flush).
// Then the names: the first caller to come leads, takes every rename that is
// waiting, carries them out and fsyncs each directory once; whoever comes
// meanwhile waits and goes together in the next round, led by one of them. So
// rounds grow with the load, nobody waits for a timer, and no goroutine lives
// in the background.

// dirSyncs is how many directories a round fsyncs at the same time.
const dirSyncs = 16

// job is one rename from a temporary file (already durable) to a blob.
type job struct {
	temp, target, name string
	err                error
	renamed            bool // target is the new file
	swapped            bool // and temp is the one that it replaced
	wake               chan bool
}

type committer struct {
	store *Store
	mu    sync.Mutex
	queue []*job
	busy  bool // somebody leads

	// known holds directories whose own entry is durable. Only the leader
	// touches it.
	known map[string]struct{}
}

// rename carries out a job, alone or with others, and returns when it is
// durable or undone.
func (c *committer) rename(j *job) error {
	j.wake = make(chan bool, 1)
	c.mu.Lock()
	c.queue = append(c.queue, j)
	lead := !c.busy
	c.busy = true
	c.mu.Unlock()
	if !lead && !<-j.wake {
		return j.err
	}
	c.mu.Lock()
	round := c.queue
	c.queue = nil
	c.mu.Unlock()

	c.run(round)

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, done := range round {
		if done != j {
			done.wake <- false
		}
	}
	if len(c.queue) > 0 {
		c.queue[0].wake <- true
	} else {
		c.busy = false
	}
	return j.err
}

// run carries out a round's renames. A job whose directory can't be made
// durable is undone; the others are not touched by that.
func (c *committer) run(round []*job) {
	dirs := map[string]error{} // to fsync, and what came of it
	for _, j := range round {
		if j.err = c.makeDir(filepath.Dir(j.target), dirs); j.err == nil {
			j.err = c.store.swapIn(j)
		}
		if gone(j.err) { // somebody removed a directory that we knew
			clear(c.known)
			if j.err = c.makeDir(filepath.Dir(j.target), dirs); j.err == nil {
				j.err = c.store.swapIn(j)
			}
		}
		if j.err == nil {
			dirs[filepath.Dir(j.target)] = nil
		}
	}
	syncDirs(dirs)
	for d, err := range dirs {
		if err == nil && c.failed(d, dirs) == nil {
			c.known[d] = struct{}{}
		}
	}
	for i := len(round) - 1; i >= 0; i-- { // backwards: jobs of one name undo in turn
		j := round[i]
		if j.err == nil {
			j.err = c.failed(filepath.Dir(j.target), dirs)
			if j.err != nil {
				c.store.swapOut(j)
			}
		}
		if j.swapped && j.err == nil {
			_ = os.Remove(j.temp)
		}
		if gone(j.err) { // not the caller's missing blob
			j.err = fault.Wrap(fault.Internal, j.err, "the blob store can't make a directory")
		} else if j.err != nil {
			j.err = classify(j.err, "giving a blob its name")
		}
	}
}

// makeDir makes a directory and those above it, and notes in dirs which ones
// must be synced for it to last. A directory that already exists counts as new
// until this process has synced its parent: who made it may have died before.
func (c *committer) makeDir(dir string, dirs map[string]error) error {
	if dir == c.store.dir {
		return nil
	}
	if _, ok := c.known[dir]; ok {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := c.makeDir(parent, dirs); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dirs[parent], dirs[dir] = nil, nil
	return nil
}

// failed finds what went wrong with a directory or one above it.
func (c *committer) failed(dir string, dirs map[string]error) error {
	for ; len(dir) >= len(c.store.dir); dir = filepath.Dir(dir) {
		if err := dirs[dir]; err != nil {
			return err
		}
	}
	return nil
}

// swapIn gives the temporary file its name. The file that had the name, if
// any, becomes the temporary one, so that it can come back.
func (s *Store) swapIn(j *job) error {
	lock := s.nameLock(j.name)
	lock.Lock()
	defer lock.Unlock()
	now, err := unix.TimeToTimespec(time.Now())
	if err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, j.temp, []unix.Timespec{now, now}, 0); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, j.temp, unix.AT_FDCWD, j.target, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		if fi, statErr := os.Lstat(j.target); statErr == nil && fi.IsDir() {
			return &fs.PathError{Op: "rename", Path: j.target, Err: unix.EISDIR}
		}
		err = unix.Renameat2(unix.AT_FDCWD, j.temp, unix.AT_FDCWD, j.target, unix.RENAME_EXCHANGE)
		j.swapped = err == nil
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that can only rename
		err = os.Rename(j.temp, j.target)
	}
	j.renamed = err == nil
	return err
}

// swapOut undoes swapIn as well as it can.
func (s *Store) swapOut(j *job) {
	lock := s.nameLock(j.name)
	lock.Lock()
	defer lock.Unlock()
	if j.swapped {
		_ = unix.Renameat2(unix.AT_FDCWD, j.temp, unix.AT_FDCWD, j.target, unix.RENAME_EXCHANGE)
	} else if j.renamed {
		_ = os.Rename(j.target, j.temp)
	}
}

// syncDirs fsyncs the directories that are dirs' keys and puts the outcome in
// their values.
func syncDirs(dirs map[string]error) {
	if len(dirs) == 1 {
		for d := range dirs {
			dirs[d] = syncDir(d)
		}
		return
	}
	var (
		group errgroup.Group
		mu    sync.Mutex
		bad   = map[string]error{}
	)
	group.SetLimit(dirSyncs)
	for d := range dirs {
		group.Go(func() error {
			if err := syncDir(d); err != nil {
				mu.Lock()
				defer mu.Unlock()
				bad[d] = err
			}
			return nil
		})
	}
	_ = group.Wait()
	for d, err := range bad {
		dirs[d] = err
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
