package sqlite_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
)

// BenchmarkCommit stores images one a change from so many writers at once.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db := open(b, b.TempDir())
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if err := add(db, uint64(i), fmt.Sprintf("photos/%d.jpg", i)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// BenchmarkBatch stores 10,000 images in one change.
func BenchmarkBatch(b *testing.B) {
	const images = 10_000
	db := open(b, b.TempDir())
	for b.Loop() {
		b.StopTimer()
		var change catalog.Change
		for i := range images {
			n := catalogtest.NewImage("main", uint64(b.N*images+i), "")
			n.Keys = []string{"photo.jpg", n.Image.ID.String()}
			change.Images = append(change.Images, n)
		}
		b.StartTimer()
		if _, err := db.Commit(context.Background(), change); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*images)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkResolve reads by key, with 100,000 images stored.
func BenchmarkResolve(b *testing.B) {
	const images = 100_000
	db := open(b, b.TempDir())
	var change catalog.Change
	for i := range images {
		change.Images = append(change.Images, catalogtest.NewImage("main", uint64(i), fmt.Sprintf("photos/%d.jpg", i)))
	}
	if _, err := db.Commit(context.Background(), change); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := db.Resolve(context.Background(), "main", fmt.Sprintf("photos/%d.jpg", i*7919%images)); err != nil {
				b.Error(err)
			}
		}
	})
}
