package codec

import (
	"slices"
	"time"

	"safelight/internal/codec/wire"
	"safelight/internal/format"
	"safelight/internal/plan"
)

// kind is the processes that have one libvips. A pool has one, or two: the
// first does every job that it can, the second (codec.vips_fallback) the others.
// Once the pool is open, what changes is guarded by Pool.mu.
type kind struct {
	name       string    // for logs
	cfg        Config    // of a process: with this kind's VipsLibrary
	want       int       // processes to keep, spares included
	background int       // of these, how many may do background jobs
	info       wire.Info // of the first process

	idle  []*process // the last is the one used last
	live  int        // idle, busy and starting
	slow  int        // at background jobs
	jobs  uint64     // handed out
	retry *time.Timer

	failures int // starts that failed in a row
	lastErr  error
}

// system is the name of the system's libvips in codec.vips_fallback.
const system = "system"

// newKinds lists the kinds that a resolved configuration asks for. The fallback
// has half as many processes as do jobs at once, and two where that is possible:
// formats that a newer libvips lacks are few, and each idle process holds memory.
func newKinds(c Config) []*kind {
	first := &kind{name: "first", cfg: c, want: c.Processes + c.Spares, background: c.Background}
	if c.VipsFallback == "" {
		return []*kind{first}
	}
	second := &kind{name: "fallback", cfg: c, want: min(c.Processes, max(2, c.Processes/2))}
	second.background = min(c.Background, max(1, second.want-1))
	if second.cfg.VipsLibrary = c.VipsFallback; c.VipsFallback == system {
		second.cfg.VipsLibrary = ""
	}
	return []*kind{first, second}
}

// kindFor is the first kind that can do the job; where none can, the first, whose
// process says what it lacks.
func (p *Pool) kindFor(job *plan.Job) *kind {
	for _, k := range p.kinds {
		if k.can(job) {
			return k
		}
	}
	return p.kinds[0]
}

// can tells whether the processes read and write what the job has to.
func (k *kind) can(job *plan.Job) bool {
	if job.Transcode != nil {
		return true // by a library that is the same in all
	}
	if !k.reads(job.Load.Format) {
		return false
	}
	for _, s := range job.Steps {
		if s.Watermark != nil && !k.reads(s.Watermark.Format) {
			return false
		}
	}
	return job.Save == nil || slices.Contains(k.info.Writes, job.Save.Format.String())
}

// reads tells whether the processes load a format. One that is no source is only
// read back, by what writes it.
func (k *kind) reads(f format.Format) bool {
	list := k.info.Reads
	if !f.Source() {
		list = k.info.Writes
	}
	return slices.Contains(list, f.String())
}

// spare tells whether a process is free for a job of the class.
func (k *kind) spare(class Class) bool {
	return len(k.idle) > 0 && (class != Background || k.slow < k.background)
}
