package jxl

import (
	"os"
	"path/filepath"
	"testing"

	"safelight/internal/fault"
)

// Every JPEG of the public corpus comes back bit for bit, or is refused.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("../../../../shared/corpus/*.jpg")
	if err != nil || len(files) == 0 {
		t.Skip("no corpus: ", err)
	}
	var before, after float64
	kept := 0
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(source) > 4<<20 {
			continue // takes long
		}
		ratio, err := restore(source, 5)
		switch {
		case err == nil:
			kept++
			before, after = before+float64(len(source)), after+ratio*float64(len(source))
		case fault.Of(err) != fault.Unprocessable:
			t.Errorf("%s: %v", filepath.Base(name), err)
		default:
			t.Logf("%s: %v", filepath.Base(name), err)
		}
	}
	t.Logf("%d of %d come back, at %.3f of their bytes", kept, len(files), after/before)
	if kept < len(files)/3 {
		t.Error("too few come back")
	}
}
