package diskblob_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/blob/blobtest"
)

// BenchmarkCommit stores 1 MB blobs from 16 writers, and reports the rate
// beside that of a bare loop of write, fsync and rename into one directory
// (which makes nothing durable but the bytes), measured in turns. A young
// store makes directories all the time, one with 100,000 blobs hardly any.
func BenchmarkCommit(b *testing.B) {
	b.Run("young", func(b *testing.B) {
		benchmarkCommit(b, func(id uint64) string { return fmt.Sprintf("sources/%02x/%02x/%d", id*7%256, id*13%256, id) })
	})
	b.Run("old", func(b *testing.B) {
		benchmarkCommit(b, func(id uint64) string { return fmt.Sprintf("sources/ab/%02x/%d", id%16, id) })
	})
}

func benchmarkCommit(b *testing.B, name func(id uint64) string) {
	const writers, size = 16, 1 << 20
	s := open(b, b.TempDir(), "n1")
	bare := b.TempDir()
	data, _ := blobtest.Bytes(1, size)
	var next atomic.Uint64
	ours := func() error {
		return store(s, name(next.Add(1)), data)
	}
	loop := func() error {
		name := filepath.Join(bare, fmt.Sprint(next.Add(1)))
		f, err := os.Create(name + "~")
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return os.Rename(name+"~", name)
	}
	measure := func(do func() error) time.Duration {
		var wg sync.WaitGroup
		start := time.Now()
		for range writers {
			wg.Go(func() {
				for range 40 {
					if err := do(); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	var inOurs, inLoop time.Duration
	b.SetBytes(writers * 40 * size)
	for b.Loop() {
		inOurs += measure(ours)
		b.StopTimer()
		inLoop += measure(loop)
		b.StartTimer()
	}
	total := float64(b.N * writers * 40)
	b.ReportMetric(total/inOurs.Seconds(), "MB/s-ours")
	b.ReportMetric(total/inLoop.Seconds(), "MB/s-bare")
	b.ReportMetric(inLoop.Seconds()/inOurs.Seconds(), "ratio")
}
