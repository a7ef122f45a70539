package diskblob_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"safelight/internal/blob"
	"safelight/internal/blob/blobtest"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
)

// TestLateConformance runs the suite on a store that is opened when it is first
// used.
func TestLateConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		dir := t.TempDir()
		return blob.NewLate(func() (blob.Store, error) {
			s, err := diskblob.Open(diskblob.Config{Dir: dir})
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { _ = s.Close() })
			return s, nil
		})
	})
}

// TestLate opens a store once what stood in its way is gone.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		late := blob.NewLate(func() (blob.Store, error) {
			s, err := diskblob.Open(diskblob.Config{Dir: dir})
			if err != nil {
				return nil, fault.Wrap(fault.Unavailable, err, "the destination is away")
			}
			t.Cleanup(func() { _ = s.Close() })
			return s, nil
		})
		if _, err := late.Stat(t.Context(), "a"); fault.Of(err) != fault.Unavailable {
			t.Errorf("%v", err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := late.Stat(t.Context(), "a"); fault.Of(err) != fault.Unavailable {
			t.Errorf("tried again at once: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := late.Stat(t.Context(), "a"); fault.Of(err) != fault.NotFound {
			t.Errorf("%v", err)
		}
	})
}
