package butteraugli

import (
	"testing"

	"safelight/internal/metric"
)

// distance is that from a reference prepared for it alone.
func distance(t testing.TB, ref, dist metric.Image) Distance {
	t.Helper()
	r, err := Prepare(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Distance(dist)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
