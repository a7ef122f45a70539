package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
)

// TestAutoFormats has a preset with format=auto optimised, and asks for it as
// clients that accept different formats do.
func TestAutoFormats(t *testing.T) {
	s := start(t, t.TempDir(), "SAFELIGHT_PRESETS={auto: w=200&blur=3&format=auto, named: w=200&format=jpeg&q=90}")
	_, stored := s.upload(file{name: "scene.png", bytes: pngOf(t, scene(400, 300, 5))})
	id := stored[0].ID
	eventually(t, func() bool { return s.settled(id) }, func() string { return fmt.Sprintf("%+v", s.describe(id).Tasks) })
	presets := s.describe(id).Presets
	if len(presets) != 2 || presets[0].Preset != "auto" {
		t.Fatalf("%+v", presets)
	}
	auto, named := presets[0], presets[1]
	score := auto.Optimized["scores"].(map[string]any)["ssimulacra2"].(float64)
	if auto.Format != "jpeg" || auto.State != "optimized" || score < 80 || auto.Optimized["target"] != "80" || auto.Optimized["settings"] == nil || auto.Optimized["cpu_seconds"].(float64) <= 0 {
		t.Errorf("%+v", auto)
	}
	if named.State != "optimized" || named.Optimized["target"] == "80" {
		t.Errorf("a named quality: %+v", named)
	}
	if len(auto.Alternatives) == 0 || len(named.Alternatives) != 0 {
		t.Fatalf("alternatives: %+v to %+v, %+v", auto.Alternatives, auto, named.Alternatives)
	}
	smallest := auto.Alternatives[0]
	for _, a := range auto.Alternatives {
		if a.Bytes >= auto.Bytes {
			t.Errorf("an alternative of %d bytes to %d", a.Bytes, auto.Bytes)
		}
		if a.Bytes < smallest.Bytes {
			smallest = a
		}
		only := s.get(auto.URL, "Accept", "image/"+a.Format)
		if only.status != http.StatusOK || digestOf(only.body) != a.SHA256 || only.header.Get("Content-Type") != "image/"+a.Format || only.header.Get("Vary") == "" {
			t.Errorf("%s: %d, %s, %d bytes of %d", a.Format, only.status, only.header.Get("Content-Type"), len(only.body), a.Bytes)
		}
	}
	for range 2 { // made, then prepared
		if a := s.get(auto.URL, "Accept", "image/avif,image/webp,*/*"); digestOf(a.body) != smallest.SHA256 {
			t.Errorf("the smallest is %s of %d bytes; served %s of %d", smallest.Format, smallest.Bytes, a.header.Get("Content-Type"), len(a.body))
		}
		if a := s.get(auto.URL); digestOf(a.body) != auto.SHA256 {
			t.Errorf("without Accept: %s", a.header.Get("Content-Type"))
		}
	}
	saved := regexp.MustCompile(`(?m)^safelight_optimize_saved_bytes_total (\S+)$|^optimize_saved_bytes_total (\S+)$`).FindSubmatch(s.get("/metrics").body)
	if saved == nil {
		t.Fatal("no metric of saved bytes")
	}
	if n, err := strconv.ParseFloat(string(saved[1])+string(saved[2]), 64); err != nil || int64(n) != auto.Saved+named.Saved {
		t.Errorf("%s bytes saved; want %d", saved[0], auto.Saved+named.Saved)
	}
	if a := s.do(http.MethodDelete, "/v1/images/"+id, nil); a.status != http.StatusNoContent {
		t.Fatal(a.status)
	}
	if a := s.get(auto.URL, "Accept", "image/"+smallest.Format); a.status != http.StatusNotFound {
		t.Errorf("after the deletion: %d", a.status)
	}
}
