package guetzli

import (
	"fmt"
	"time"
)

// Qualities that the program accepts and makes sense of.
const (
	MinQuality = 84
	MaxQuality = 110
)

// Config sets an encoder up. DefaultConfig gives values that Validate accepts.
type Config struct {
	Path        string        `koanf:"path"`         // of the program; a name without a slash is looked for in PATH
	MaxPixels   int64         `koanf:"max_pixels"`   // of a picture
	MemoryBytes int64         `koanf:"memory_bytes"` // address space of one process; it takes 300 to 350 for each pixel
	Deadline    time.Duration `koanf:"deadline"`     // of wall time for one picture, and of processor time
	Quality     int           `koanf:"quality"`      // 84 to 110; 0 is the rendition's own, raised to 84
}

// DefaultConfig suits pictures of up to two megapixels.
func DefaultConfig() Config {
	return Config{Path: "guetzli", MaxPixels: 2_000_000, MemoryBytes: 1 << 30, Deadline: 5 * time.Minute}
}

// Validate tells the first setting that makes no sense.
func (c Config) Validate() error {
	for _, s := range []struct {
		name string
		bad  bool
		want string
	}{
		{"path", c.Path == "", "a program"},
		{"max_pixels", c.MaxPixels < 1, "at least 1"},
		{"memory_bytes", c.MemoryBytes < 100<<20, "at least 100 MiB, which is the program's own minimum"},
		{"deadline", c.Deadline <= 0, "more than 0"},
		{"quality", c.Quality != 0 && (c.Quality < MinQuality || c.Quality > MaxQuality), "0, or 84 to 110"},
	} {
		if s.bad {
			return fmt.Errorf("guetzli.%s: expected %s", s.name, s.want)
		}
	}
	return nil
}

// quality is the one to ask the program for.
func (c Config) quality(own int) int {
	if c.Quality != 0 {
		return c.Quality
	}
	return min(max(own, MinQuality), MaxQuality)
}
