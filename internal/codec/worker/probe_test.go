package worker

import (
	"testing"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
)

// What the engine says that it reads, it reads; what it can't, it says so.
func TestProbe(t *testing.T) {
	for f, tiny := range map[format.Format][]byte{format.HEIC: tinyHEIC, format.AVIF: tinyAVIF} {
		if format.Sniff(tiny) != f {
			t.Errorf("the tiny %s is %s", f, format.Sniff(tiny))
		}
		_, result, err := execute(t, plan.Job{Load: plan.Load{Format: f}, Inspect: true}, tiny)
		if engine.cantRead[f] != (fault.Of(err) == fault.Unsupported) || !engine.cantRead[f] && result.Width != 64 {
			t.Errorf("%s: lacking is %v, but: %+v, %v", f, engine.cantRead[f], result, err)
		}
		broken := append(tiny[:len(tiny)/2:len(tiny)/2], make([]byte, len(tiny)/2)...)
		if engine.decodes(f, broken) {
			t.Errorf("a broken %s counts as decoded", f)
		}
	}
	lacking := Engine{outputBytes: 1 << 30, cantRead: map[format.Format]bool{format.HEIC: true}, cantWrite: map[format.Format]bool{format.AVIF: true}}
	for _, name := range append(lacking.Info().Reads, lacking.Info().Writes...) {
		if name == "heic" {
			t.Error("heic is listed")
		}
	}
	for _, job := range []plan.Job{
		{Load: plan.Load{Format: format.HEIC}, Inspect: true},
		{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.AVIF}},
	} {
		if _, err := lacking.Execute(job, Files{Source: memfd(t, tinyHEIC), Overlay: -1, Output: memfd(t, nil)}); fault.Of(err) != fault.Unsupported {
			t.Error(err)
		}
	}
}
