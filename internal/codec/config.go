// Package codec runs picture jobs in processes of their own, so that a file
// which crashes, hangs or subverts a decoder costs one request and never the
// server. It decodes nothing itself and never loads libvips: it starts the
// processes (package worker), hands each one job at a time with the files as
// descriptors, watches its processor time, its wall time and its memory, kills
// what runs over, and replaces what is gone.
package codec

import (
	"fmt"
	"math"
	"runtime"
	"time"

	"safelight/internal/plan"
	"safelight/internal/quality"
)

// Class says how urgent a job is and how long it may take.
type Class uint8

// Interactive jobs have somebody waiting for a picture; they go first. Verify
// jobs have somebody waiting for an upload: they may use every process, but go
// behind interactive ones (if both wait, one in verifyShare is theirs, so that
// a flood of renders can't stop uploads). Both must be done within seconds.
// Background jobs may take as long as their output is large.
const (
	Interactive Class = iota
	Verify
	Background
	classes
)

const verifyShare = 4

// Config sets a pool up. DefaultConfig gives values that Validate accepts.
type Config struct {
	Processes    int      `koanf:"processes"`     // jobs at once; 0 is one for each core
	Background   int      `koanf:"background"`    // of these, how many may do background jobs; 0 is all but one, at least one
	Spares       int      `koanf:"spares"`        // warm processes beside those, to take a killed one's place
	Command      []string `koanf:"command"`       // of a codec process; empty is this program with the argument "codec"
	Env          []string `koanf:"env"`           // added to a codec process' environment
	VipsLibrary  string   `koanf:"vips_library"`  // libvips to load; empty is the system's
	VipsFallback string   `koanf:"vips_fallback"` // libvips of further processes, for formats that the first lacks; "system" is the system's, empty is none
	Readable     []string `koanf:"readable"`      // folders that a codec process may read beside the system's libraries and fonts

	MemoryBytes int64 `koanf:"memory_bytes"` // for one process, beside what it holds at rest
	SearchBytes int64 `koanf:"search_bytes"` // more for a job that measures its result, by its megapixels, at most
	OutputBytes int64 `koanf:"output_bytes"` // largest result

	CPUInteractive            time.Duration `koanf:"cpu_interactive"` // processor time of one job
	WallInteractive           time.Duration `koanf:"wall_interactive"`
	CPUBackground             time.Duration `koanf:"cpu_background"`               // of any background job …
	CPUBackgroundPerMegapixel time.Duration `koanf:"cpu_background_per_megapixel"` // … and more for each megapixel of output
	WallFactor                float64       `koanf:"wall_factor"`                  // a background job's wall time, in its processor time

	RecycleJobs     int           `koanf:"recycle_jobs"`      // a process is replaced after so many jobs; 0 is never
	RecycleRSSBytes int64         `koanf:"recycle_rss_bytes"` // … or when it holds more than this between jobs; 0 is never
	StartTimeout    time.Duration `koanf:"start_timeout"`     // for a process to be ready
	WatchAfter      time.Duration `koanf:"watch_after"`       // into a job before it is looked at, and between looks
}

// DefaultConfig is a pool of one process for each core and one spare.
func DefaultConfig() Config {
	return Config{
		Spares:                    1,
		MemoryBytes:               1 << 30,
		SearchBytes:               3 << 30,
		OutputBytes:               256 << 20,
		CPUInteractive:            5 * time.Second,
		WallInteractive:           10 * time.Second,
		CPUBackground:             30 * time.Second,
		CPUBackgroundPerMegapixel: 15 * time.Second,
		WallFactor:                4,
		RecycleJobs:               5000,
		RecycleRSSBytes:           256 << 20,
		StartTimeout:              15 * time.Second,
		WatchAfter:                75 * time.Millisecond,
	}
}

// Validate tells the first setting that makes no sense.
func (c Config) Validate() error {
	for _, s := range []struct {
		name string
		bad  bool
		want string
	}{
		{"processes", c.Processes < 0 || c.Processes > 4096, "0 to 4096"},
		{"background", c.Background < 0, "0 or more"},
		{"spares", c.Spares < 0 || c.Spares > 64, "0 to 64"},
		{"vips_fallback", c.VipsFallback != "" && (c.VipsFallback == c.VipsLibrary || c.VipsFallback == system && c.VipsLibrary == ""), "another libvips than codec.vips_library"},
		{"memory_bytes", c.MemoryBytes < 64<<20, "at least 64 MiB"},
		{"search_bytes", c.SearchBytes < 0, "0 or more"},
		{"output_bytes", c.OutputBytes < 64<<10, "at least 64 KiB"},
		{"cpu_interactive", c.CPUInteractive <= 0, "more than 0"},
		{"wall_interactive", c.WallInteractive <= 0, "more than 0"},
		{"cpu_background", c.CPUBackground <= 0, "more than 0"},
		{"cpu_background_per_megapixel", c.CPUBackgroundPerMegapixel < 0, "0 or more"},
		{"wall_factor", !(c.WallFactor >= 1), "at least 1"},
		{"recycle_jobs", c.RecycleJobs < 0, "0 or more"},
		{"recycle_rss_bytes", c.RecycleRSSBytes < 0, "0 or more"},
		{"start_timeout", c.StartTimeout <= 0, "more than 0"},
		{"watch_after", c.WatchAfter < time.Millisecond, "at least 1 ms"},
	} {
		if s.bad {
			return fmt.Errorf("codec.%s: expected %s", s.name, s.want)
		}
	}
	return nil
}

// resolved fills in what depends on the machine.
func (c Config) resolved() Config {
	if c.Processes == 0 {
		c.Processes = runtime.NumCPU()
	}
	if c.Background == 0 {
		c.Background = c.Processes - 1
	}
	c.Background = min(max(c.Background, 1), c.Processes)
	if len(c.Command) == 0 {
		c.Command = []string{"/proc/self/exe", "codec"}
	}
	return c
}

// deadlines are the processor and wall time that a job of a class gets.
func (c Config) deadlines(class Class, job *plan.Job) (cpu, wall time.Duration) {
	if class != Background {
		return c.CPUInteractive, c.WallInteractive
	}
	cpu = c.CPUBackground + time.Duration(megapixels(job)*float64(c.CPUBackgroundPerMegapixel))
	if searches(job) && job.Save.Search.Tier == quality.Max {
		cpu *= maxFactor
	}
	return cpu, time.Duration(float64(cpu) * c.WallFactor)
}

// maxFactor is how much more time the tier max may take.
const maxFactor = 4

// searches tells a job that measures what it makes.
func searches(job *plan.Job) bool {
	return job.Save != nil && job.Save.Search != nil && job.Save.Search.Tier != quality.Fast
}

// What measuring takes for a megapixel, bytes: pixels as floating point numbers
// on several scales, coefficients, and the encoder's own.
const (
	searchPerMegapixel = 224 << 20
	maxPerMegapixel    = 288 << 20
)

// searchMemory is the memory that a job may hold beside MemoryBytes.
func (c Config) searchMemory(job *plan.Job) int64 {
	switch {
	case job.Transcode != nil:
		return c.SearchBytes // it says nothing of its pixels, and takes some 50 bytes of each
	case !searches(job):
		return 0
	}
	per := searchPerMegapixel
	if job.Save.Search.Tier == quality.Max {
		per = maxPerMegapixel
	}
	return min(int64(megapixels(job)*float64(per)), c.SearchBytes)
}

// megapixels is the size of a job's output, or an estimate from its steps. Where
// they leave the size to the source, or there may be many frames, it is a large
// guess.
func megapixels(job *plan.Job) float64 {
	if job.Pixels > 0 {
		return float64(job.Pixels) / 1e6
	}
	const unknown = 24
	mp := float64(unknown)
	for _, s := range job.Steps {
		switch {
		case s.Resize != nil && s.Resize.To.W > 0 && s.Resize.To.H > 0:
			mp = float64(s.Resize.To.W) * float64(s.Resize.To.H) / 1e6
		case s.Canvas != nil && s.Canvas.Size.W > 0:
			mp = float64(s.Canvas.Size.W) * float64(s.Canvas.Size.H) / 1e6
		}
	}
	switch {
	case job.Load.Pages < 0:
		mp = math.Max(mp*100, unknown)
	case job.Load.Pages > 1:
		mp *= float64(job.Load.Pages)
	}
	return math.Min(mp, 1000)
}
