package codec

import (
	"time"

	"golang.org/x/sys/unix"

	"safelight/internal/plan"
)

// allowance is the processor and wall time that a job gets. A transcoding does
// not say how large its picture is, so it goes by the source's size: a mebibyte,
// some four megapixels, counts like one megapixel of output, which leaves room
// for the highest effort and for hard pictures.
func (c Config) allowance(class Class, job *plan.Job, source int) (cpu, wall time.Duration) {
	if class != Background || job.Transcode == nil {
		return c.deadlines(class, job)
	}
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		st.Size = 0 // the job will tell
	}
	cpu = c.CPUBackground + time.Duration(float64(st.Size)/(1<<20)*float64(c.CPUBackgroundPerMegapixel))
	return cpu, time.Duration(float64(cpu) * c.WallFactor)
}
