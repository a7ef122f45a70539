package rediscatalog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/postgres"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/task"
)

// BenchmarkResolve compares asking PostgreSQL with asking Redis, both on
// loopback, one after the other and in parallel. cpu-µs/op is that of this
// process; the servers' is theirs.
func BenchmarkResolve(b *testing.B) {
	pg, err := pgtest.Start("fsync=off")
	if errors.Is(err, pgtest.ErrMissing) || server == nil {
		b.Skip("PostgreSQL or Redis is not installed")
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pg.Close() })
	address, err := pg.Database("")
	if err != nil {
		b.Fatal(err)
	}
	config := postgres.DefaultConfig()
	config.URL = postgres.URL(address)
	db, err := postgres.Open(context.Background(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if _, err := db.Tasks(context.Background(), task.Config{Signals: task.NewSignals()}); err != nil {
		b.Fatal(err)
	}
	const keys = 1000
	for i := range keys {
		n := catalogtest.NewImage("main", uint64(i), fmt.Sprint("key", i))
		if _, err := db.Commit(context.Background(), catalog.Change{Images: []catalog.NewImage{n}}); err != nil {
			b.Fatal(err)
		}
	}
	remembered := open(b, connect(b, server.URL(), newPrefix()), db)
	for range 2 { // until all are remembered
		for i := range keys {
			if _, err := remembered.Resolve(context.Background(), "main", fmt.Sprint("key", i)); err != nil {
				b.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, c := range []struct {
		name string
		from catalog.Catalog
	}{{"postgres", db}, {"redis", remembered}} {
		resolve := func(i int) {
			if _, err := c.from.Resolve(context.Background(), "main", fmt.Sprint("key", i%keys)); err != nil {
				b.Error(err)
			}
		}
		b.Run(c.name+"/one", func(b *testing.B) {
			before := cpu()
			for i := range b.N {
				resolve(i)
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
		b.Run(c.name+"/many", func(b *testing.B) {
			before := cpu()
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					resolve(i)
				}
			})
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
	b.Run("redis/miss", func(b *testing.B) {
		before := cpu()
		for i := range b.N {
			if i%keys == 0 {
				remembered.ForgetAll()
			}
			if _, err := remembered.Resolve(context.Background(), "main", fmt.Sprint("key", i%keys)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	})
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
