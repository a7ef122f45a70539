package codec

import (
	"context"
	"os"
	"sort"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/codec/wire"
	"safelight/internal/codec/worker"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
)

func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func poolCPU(b *testing.B, p *Pool) time.Duration {
	total := ownCPU(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.kinds[0].idle {
		total += one.clock()
	}
	return total
}

func median(d []time.Duration) time.Duration {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return d[len(d)/2]
}

// BenchmarkIsolation compares the processor time of a job through the pool,
// parent and child together, with that of the identical job in a bare loop in
// one process: a JPEG of 3 megapixels to one of 512 pixels. It alternates
// between the two, so that whatever else the machine does falls on both, and
// reports the medians and their ratio.
func BenchmarkIsolation(b *testing.B) {
	// As a codec process has it, in this process too: see environment.
	cfg := testConfig()
	cfg.Processes, cfg.Spares, cfg.RecycleJobs = 1, 0, 0
	pool := openPool(b, cfg)
	engine, err := worker.Open(wire.Setup{})
	if err != nil {
		b.Skip(err)
	}
	source := file(b, photo(b, 2000, 1500))
	job := plan.Job{
		Load:  plan.Load{Format: format.JPEG, Shrink: 2},
		Steps: []plan.Step{{Resize: &plan.Resize{To: geom.Size{W: 512, H: 384}, Exact: true}}, {SRGB: true}},
		Save:  &plan.Save{Format: format.JPEG, Quality: 80},
	}
	const block = 20
	bare := func() {
		fd, err := unix.MemfdCreate("bare", unix.MFD_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
		if _, err := engine.Execute(job, worker.Files{Source: int(source.Fd()), Overlay: -1, Output: fd}); err != nil {
			b.Fatal(err)
		}
	}
	isolated := func() {
		in, err := os.Open(source.Name())
		if err != nil {
			b.Fatal(err)
		}
		defer in.Close()
		out, err := pool.Run(context.Background(), Interactive, job, in)
		if err != nil {
			b.Fatal(err)
		}
		out.Close()
	}
	for range block { // both warm
		bare()
		isolated()
	}
	var alone, through []time.Duration
	for b.Loop() {
		t0 := poolCPU(b, pool)
		for range block {
			bare()
		}
		t1 := poolCPU(b, pool)
		for range block {
			isolated()
		}
		alone = append(alone, (t1-t0)/block)
		through = append(through, (poolCPU(b, pool)-t1)/block)
	}
	a, t := median(alone), median(through)
	b.ReportMetric(float64(a.Microseconds()), "bare-cpu-µs/job")
	b.ReportMetric(float64(t.Microseconds()), "pool-cpu-µs/job")
	b.ReportMetric(float64(t)/float64(a), "ratio")
}

// BenchmarkStart is how long a codec process takes from fork to ready.
func BenchmarkStart(b *testing.B) {
	cfg := testConfig()
	cfg.Processes, cfg.Spares = 1, 0
	pool := openPool(b, cfg)
	var held int64
	for b.Loop() {
		one, err := start(context.Background(), pool.kinds[0], pool.log, pool.onFork)
		if err != nil {
			b.Fatal(err)
		}
		held = one.memory()
		one.end(canceled)
	}
	b.ReportMetric(float64(held)/(1<<20), "private-MiB")
}
