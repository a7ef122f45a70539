package telemetry

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestDurations has durations as text in both formats.
func TestDurations(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"text": "at_most=20s group.after=1.5ms n=3", "json": `"at_most":"20s","group":{"after":"1.5ms"},"n":3`} {
		var b strings.Builder
		Logger(&b, LogConfig{Level: "info", Format: format}).Info("x", "at_most", 20*time.Second, slog.Group("group", "after", 1500*time.Microsecond), "n", 3)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s lacks %s", format, b.String(), want)
		}
	}
}
