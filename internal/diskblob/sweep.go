package diskblob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"safelight/internal/fault"
)

// SweepTemp implements blob.Sweeper. A node's own temporary files can only be
// held by this store, because it has the node's lock.
func (s *Store) SweepTemp(ctx context.Context, olderThan time.Duration) (removed int, err error) {
	nodes, err := os.ReadDir(filepath.Join(s.dir, tempDir))
	if err != nil {
		return 0, classify(err, "sweeping temporary files")
	}
	for _, node := range nodes {
		dir := filepath.Join(s.dir, tempDir, node.Name())
		files, readErr := os.ReadDir(dir)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		for _, f := range files {
			if ctx.Err() != nil {
				return removed, fault.Wrap(fault.Canceled, ctx.Err(), "the sweep was cancelled")
			}
			if f.Name() == lockName || !f.Type().IsRegular() || !s.sweepable(dir, f, olderThan) {
				continue
			}
			switch removeErr := os.Remove(filepath.Join(dir, f.Name())); {
			case removeErr == nil:
				removed++
			case !gone(removeErr):
				err = errors.Join(err, removeErr)
			}
		}
	}
	if err != nil {
		return removed, classify(err, "sweeping temporary files")
	}
	return removed, nil
}

func (s *Store) sweepable(dir string, f os.DirEntry, olderThan time.Duration) bool {
	if dir == s.temp {
		return !s.held(f.Name())
	}
	fi, err := f.Info()
	return err == nil && time.Since(fi.ModTime()) > olderThan
}
