package plan

import (
	"errors"
	"fmt"

	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/quality"
)

// Config bounds renditions and sets how they are encoded by default.
type Config struct {
	MaxOutputPixels    int64          `koanf:"max_output_pixels"`    // of one frame
	MaxAVIFPixels      int64          `koanf:"max_avif_pixels"`      // of an AVIF rendition: its encoder needs many times the memory and time
	MaxJXLPixels       int64          `koanf:"max_jxl_pixels"`       // of a JPEG XL rendition: its encoder holds up to 70 bytes for each
	MaxAnimationPixels int64          `koanf:"max_animation_pixels"` // of all frames, decoded
	MaxFrames          int            `koanf:"max_frames"`
	AutoFormats        []string       `koanf:"auto_formats"` // what format=auto may choose, best first
	AutoScore          float64        `koanf:"target"`       // SSIMULACRA2 score that q=auto aims at
	Quality            map[string]int `koanf:"quality"`      // by format: a fixed quality for q=auto in the target's place
	Effort             map[string]int `koanf:"effort"`       // by format: WebP 0 to 6, AVIF 0 to 9, PNG 1 to 9, JPEG XL 3 to 9
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{
		MaxOutputPixels:    50_000_000,
		MaxAVIFPixels:      8_000_000,
		MaxJXLPixels:       12_000_000,
		MaxAnimationPixels: 100_000_000,
		MaxFrames:          500,
		AutoFormats:        []string{"avif", "webp"},
		AutoScore:          quality.Web.SSIMULACRA2,
		Quality:            map[string]int{},
		Effort:             map[string]int{"webp": 2, "avif": 2, "png": 6},
	}
}

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if c.MaxOutputPixels < 1 || c.MaxAVIFPixels < 1 || c.MaxJXLPixels < 1 || c.MaxAnimationPixels < 1 || c.MaxFrames < 1 {
		errs = append(errs, errors.New("render: pixel and frame limits must be at least 1"))
	}
	if err := c.target().Validate(); err != nil {
		errs = append(errs, fmt.Errorf("render: %w", err))
	}
	for _, name := range c.AutoFormats {
		if f := format.Parse(name); !f.Encodable() {
			errs = append(errs, fmt.Errorf("render.auto_formats: %q can't be encoded", name))
		}
	}
	for name, q := range c.Quality {
		if !format.Parse(name).Encodable() || q < 1 || q > 100 {
			errs = append(errs, fmt.Errorf("render.quality: %s: %d is not a quality from 1 to 100 of a format that can be encoded", name, q))
		}
	}
	for name, e := range c.Effort {
		if !format.Parse(name).Encodable() || e < 0 || e > 9 {
			errs = append(errs, fmt.Errorf("render.effort: %s: %d is not an effort from 0 to 9 of a format that can be encoded", name, e))
		}
	}
	return errors.Join(errs...)
}

// autoJPEG is the quality that encoders outside are told where it is left open:
// what a typical photograph needs for quality.Web.
const autoJPEG = 85

// JPEGQuality is the quality, 1 to 100, that encoders which know nothing of
// targets are to give a JPEG with these options.
func (c Config) JPEGQuality(o options.Options) int {
	if o.Quality != 0 {
		return o.Quality
	}
	if q := c.Quality[format.JPEG.String()]; q != 0 {
		return q
	}
	return autoJPEG
}

func (c Config) target() quality.Targets { return quality.Targets{SSIMULACRA2: c.AutoScore} }

// revision changes when the same options come to give other bytes: raise it
// with any change to planning or encoding that users should see at once.
const revision = 2

// Revision identifies the settings that shape renditions beside the options
// themselves; it belongs into the identity of a cached variant.
func (c Config) Revision() string { return fmt.Sprint(revision, c.AutoScore, c.Quality, c.Effort) }
