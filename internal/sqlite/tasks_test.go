package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/task"
)

func openTasks(t testing.TB, cfg task.Config) *Tasks {
	t.Helper()
	db, err := Open(context.Background(), Config{Path: filepath.Join(t.TempDir(), "catalog.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if cfg.Mint == nil {
		cfg.Mint = asset.NewMint([]byte("a secret for tests"))
	}
	if cfg.Signals == nil {
		cfg.Signals = task.NewSignals()
	}
	if cfg.Policies.Default == (task.Policy{}) {
		cfg.Policies.Default = task.DefaultPolicy()
	}
	q, err := db.Tasks(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// BenchmarkTasks measures a task's way at the port: submissions from 16
// clients, each in a call of its own or in batches, then claims and reports in
// batches from 16 workers.
func BenchmarkTasks(b *testing.B) {
	ctx := context.Background()
	for _, batch := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("submit=%d", batch), func(b *testing.B) {
			q := openTasks(b, task.Config{})
			b.ResetTimer()
			each(b, batch, func(n int) {
				tasks := make([]task.New, n)
				for i := range tasks {
					tasks[i] = task.New{Owner: "main", Function: "optimize", Args: []byte(`{"image":"0123456789abcdef","preset":"thumb"}`)}
				}
				if _, err := q.Submit(ctx, tasks); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
	for _, batch := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("done=%d", batch), func(b *testing.B) {
			q := openTasks(b, task.Config{})
			for left := b.N; left > 0; left -= task.MaxBatch {
				tasks := make([]task.New, min(left, task.MaxBatch))
				for i := range tasks {
					tasks[i] = task.New{Owner: "main", Function: "optimize", Args: []byte(`{"image":"0123456789abcdef","preset":"thumb"}`)}
				}
				if _, err := q.Submit(ctx, tasks); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			each(b, batch, func(n int) {
				got, err := q.Claim(ctx, task.Claim{Functions: []string{"optimize"}, Max: n, Lease: time.Minute, Worker: "w"})
				if err != nil || len(got) != n {
					b.Error(len(got), err)
				}
				reports := make([]task.Report, len(got))
				for i := range got {
					reports[i] = task.Report{ID: got[i].ID, Lease: got[i].Lease, Kind: task.Succeeded, Result: []byte(`{"bytes":1}`)}
				}
				if _, err := q.Report(ctx, reports); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// each shares b.N among 16 goroutines that call work with at most batch.
func each(b *testing.B, batch int, work func(n int)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	left := b.N
	next := func() int {
		mu.Lock()
		defer mu.Unlock()
		n := min(left, batch)
		left -= n
		return n
	}
	for range 16 {
		wg.Go(func() {
			for n := next(); n > 0; n = next() {
				work(n)
			}
		})
	}
	wg.Wait()
}
