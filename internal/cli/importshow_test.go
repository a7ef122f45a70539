package cli

import (
	"testing"
	"time"

	"safelight/internal/adopt"
)

// TestImportLine says how far an import is, how fast, and how long it takes.
func TestImportLine(t *testing.T) {
	t.Parallel()
	s := &importShow{files: 4, bytes: 4_000_000}
	for _, c := range []struct {
		done     int
		bytes    int64
		after    time.Duration
		expected string
	}{
		{0, 0, time.Hour, "0 of 4 files, 0 B of 4.0 MB"},
		{1, 1_000_000, 100 * time.Millisecond, "1 of 4 files, 1.0 MB of 4.0 MB"},
		{1, 1_000_000, 20 * time.Second, "1 of 4 files, 1.0 MB of 4.0 MB, 50.0 kB/s, 1m left"},
		{4, 5_000_000, 20 * time.Second, "4 of 4 files, 5.0 MB of 4.0 MB, 250 kB/s, 0s left"}, // it has grown since
	} {
		s.done, s.sum = c.done, adopt.Summary{Bytes: c.bytes}
		if got := s.line(c.after); got != c.expected {
			t.Errorf("%q, expected %q", got, c.expected)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []importCommand{
		{Parallel: 0, Source: "x"}, {Parallel: 1000, Source: "x"}, {Parallel: 1, Source: "s3://x", Watch: true}, {Parallel: 1, Source: "x", Delete: true},
	} {
		if _, err := c.config(); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	c := importCommand{Parallel: 1, Source: "x", State: "none"}
	if o, err := c.config(); err != nil || o.Memory != "" {
		t.Errorf("%+v, %v", o, err)
	}
	here, there := defaultState("x", false), defaultState("file:///x", false)
	if here == there || here == "" {
		t.Errorf("two places share %s", here)
	}
}
