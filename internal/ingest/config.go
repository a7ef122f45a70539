package ingest

import (
	"errors"
	"fmt"
)

// Config bounds what is taken in. Sizes are bytes and pixels.
type Config struct {
	MaxFileBytes   int64  `koanf:"max_file_bytes"`
	MaxPagePixels  int64  `koanf:"max_page_pixels"`  // of one page or frame
	MaxTotalPixels int64  `koanf:"max_total_pixels"` // of all pages, decoded
	MaxSide        int    `koanf:"max_side"`
	MaxPages       int    `koanf:"max_pages"`
	MaxScans       int    `koanf:"max_scans"`     // of a progressive JPEG: each costs a pass over the picture
	MaxFiles       int    `koanf:"max_files"`     // in one request
	ReserveBytes   int64  `koanf:"reserve_bytes"` // room that uploads leave on the disk, so that deletes still work
	Strict         bool   `koanf:"strict"`        // refuse a name or Content-Type that contradicts the bytes
	Verify         string `koanf:"verify"`        // "decode" or "header"
	Keys           string `koanf:"keys"`          // "name" or "id"
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{
		MaxFileBytes:   100_000_000,
		MaxPagePixels:  100_000_000,
		MaxTotalPixels: 250_000_000,
		MaxSide:        32767,
		MaxPages:       1000,
		MaxScans:       100,
		MaxFiles:       20000,
		ReserveBytes:   64 << 20,
		Verify:         VerifyDecode,
		Keys:           "name",
	}
}

// How much of a file is read before it is accepted.
const (
	VerifyDecode = "decode" // every pixel is decoded once, in a codec process
	VerifyHeader = "header" // only the header is read
)

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	for name, v := range map[string]int64{
		"max_file_bytes": c.MaxFileBytes, "max_page_pixels": c.MaxPagePixels, "max_total_pixels": c.MaxTotalPixels,
		"max_side": int64(c.MaxSide), "max_pages": int64(c.MaxPages), "max_scans": int64(c.MaxScans), "max_files": int64(c.MaxFiles),
	} {
		if v < 1 {
			errs = append(errs, fmt.Errorf("ingest.%s: %d is not at least 1", name, v))
		}
	}
	if c.ReserveBytes < 0 {
		errs = append(errs, fmt.Errorf("ingest.reserve_bytes: %d is negative", c.ReserveBytes))
	}
	if c.Verify != VerifyDecode && c.Verify != VerifyHeader {
		errs = append(errs, fmt.Errorf("ingest.verify: expected decode or header but received %q", c.Verify))
	}
	if c.Keys != "name" && c.Keys != "id" {
		errs = append(errs, fmt.Errorf("ingest.keys: expected name or id but received %q", c.Keys))
	}
	return errors.Join(errs...)
}
