package vips

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	t0 := time.Now()
	if err := Open("", "vips-heif"); err != nil {
		fmt.Fprintln(os.Stderr, "skipped:", err)
		return
	}
	fmt.Println("open", time.Since(t0))
	os.Exit(m.Run())
}

func TestX(t *testing.T) {
	t.Log(Version(), Codecs())
	b, _ := os.ReadFile("/proc/self/status")
	t.Log(string(b))
	b, _ = os.ReadFile("/proc/self/maps")
	os.WriteFile("/tmp/maps", b, 0o644)
	t.Log(Has("heifload_source"), Has("magickload"), Has("jxlload"))
}
