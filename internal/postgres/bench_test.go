package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/task"
)

// The benchmarks are honest with SAFELIGHT_PG_FSYNC=1: the server waits for its
// disk then.

// BenchmarkCommit stores images one a change from so many writers at once.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			q := openQueue(b, config(fresh(b)), tasksConfig())
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						n := catalogtest.NewImage("main", uint64(i), fmt.Sprintf("photos/%d.jpg", i))
						n.Tasks = []task.New{{Function: "render"}}
						if _, err := q.db.Commit(context.Background(), catalog.Change{Images: []catalog.NewImage{n}}); err != nil {
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

// BenchmarkBatch stores 10,000 images with three tasks each in changes of so
// many.
func BenchmarkBatch(b *testing.B) {
	const images = 10_000
	for _, each := range []int{100, images} {
		b.Run(fmt.Sprintf("change=%d", each), func(b *testing.B) {
			q := openQueue(b, config(fresh(b)), tasksConfig())
			for round := 0; b.Loop(); round++ {
				for i := 0; i < images; i += each {
					var change catalog.Change
					for k := range each {
						n := catalogtest.NewImage("main", uint64(round*images+i+k), "")
						n.Keys = []string{"photo.jpg", n.Image.ID.String()}
						n.Tasks = []task.New{{Function: "render"}, {Function: "render"}, {Function: "publish"}}
						change.Images = append(change.Images, n)
					}
					if _, err := q.db.Commit(context.Background(), change); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N*images)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// BenchmarkTasks submits, claims and reports tasks from so many at once, with
// finished ones in the table.
func BenchmarkTasks(b *testing.B) {
	for _, c := range []struct{ workers, batch, finished int }{{16, 1, 0}, {16, 1, 200_000}, {4, 100, 0}, {4, 100, 200_000}} {
		b.Run(fmt.Sprintf("workers=%d,batch=%d,finished=%d", c.workers, c.batch, c.finished), func(b *testing.B) {
			q := openQueue(b, config(fresh(b)), tasksConfig())
			if c.finished > 0 {
				fill(b, q, c.finished)
			}
			total := max(b.N, c.batch)
			b.ResetTimer()
			accepted := everybody(b, c.workers, total, func() int {
				tasks := make([]task.New, c.batch)
				for i := range tasks {
					tasks[i] = task.New{Owner: "main", Function: "work"}
				}
				if _, err := q.Submit(context.Background(), tasks); err != nil {
					b.Error(err)
				}
				return len(tasks)
			})
			done := everybody(b, c.workers, total, func() int {
				got, err := q.Claim(context.Background(), task.Claim{Functions: []string{"work"}, Max: c.batch, Lease: time.Minute})
				if err != nil {
					b.Error(err)
				}
				reports := make([]task.Report, len(got))
				for i, k := range got {
					reports[i] = task.Report{ID: k.ID, Lease: k.Lease, Kind: task.Succeeded}
				}
				if _, err := q.Report(context.Background(), reports); err != nil {
					b.Error(err)
				}
				return len(got)
			})
			b.ReportMetric(float64(total)/accepted.Seconds(), "accepted/s")
			b.ReportMetric(float64(total)/done.Seconds(), "done/s")
		})
	}
}

// BenchmarkClaim claims tasks and reports them done with so many finished ones in
// the table: what a claim costs must not depend on those. Filling the table
// takes minutes.
func BenchmarkClaim(b *testing.B) {
	for _, finished := range []int{0, 100_000, 1_000_000, 10_000_000} {
		q := openQueue(b, config(fresh(b)), tasksConfig())
		fill(b, q, finished)
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("finished=%d,batch=%d", finished, batch), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					if _, err := q.Submit(context.Background(), slices.Repeat([]task.New{{Owner: "main", Function: "work"}}, batch)); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					got, err := q.Claim(context.Background(), task.Claim{Functions: []string{"work"}, Max: batch, Lease: time.Minute})
					if err != nil || len(got) != batch {
						b.Fatal(len(got), err)
					}
					b.StopTimer()
					reports := make([]task.Report, len(got))
					for i, k := range got {
						reports[i] = task.Report{ID: k.ID, Lease: k.Lease, Kind: task.Succeeded}
					}
					if _, err := q.Report(context.Background(), reports); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
	}
}

// everybody has workers go on until so much is done in all, and tells how long
// that took.
func everybody(b *testing.B, workers, total int, step func() int) time.Duration {
	start := time.Now()
	var done atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done.Load() < int64(total) && !b.Failed() {
				done.Add(int64(step()))
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}
