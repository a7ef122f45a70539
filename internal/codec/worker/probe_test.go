package worker

import (
	"slices"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/vips"
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
	if lacking := !vips.Has("jxlsave_target"); engine.cantWrite[format.JXL] != lacking || slices.Contains(engine.Info().Writes, "jxl") == lacking {
		t.Errorf("jxl: lacking is %v, but %+v", lacking, engine.Info())
	}
	lacking := Engine{outputBytes: 1 << 30, cantRead: map[format.Format]bool{format.HEIC: true}, cantWrite: map[format.Format]bool{format.AVIF: true, format.JXL: true}}
	for _, name := range append(lacking.Info().Reads, lacking.Info().Writes...) {
		if name == "heic" || name == "jxl" {
			t.Errorf("%s is listed", name)
		}
	}
	for _, job := range []plan.Job{
		{Load: plan.Load{Format: format.HEIC}, Inspect: true},
		{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.AVIF}},
		{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.JXL}},
	} {
		if _, err := lacking.Execute(job, Files{Source: memfd(t, tinyHEIC), Overlay: -1, Output: memfd(t, nil)}); fault.Of(err) != fault.Unsupported {
			t.Error(err)
		}
	}
}

// What is no source is read back, and never made into another file.
func TestResultsAreNoSources(t *testing.T) {
	if len(writes(t, format.JXL)) == 0 {
		t.Skip("this libvips can't write jxl")
	}
	file, _, err := execute(t, plan.Job{Load: plan.Load{Format: format.PNG}, Save: &plan.Save{Format: format.JXL, Quality: 80}}, writePNG(t, flat(40, 30, red)))
	if err != nil {
		t.Fatal(err)
	}
	if _, seen, err := execute(t, plan.Job{Load: plan.Load{Format: format.JXL}, Inspect: true}, file); err != nil || seen.Width != 40 || seen.Height != 30 {
		t.Errorf("%+v, %v", seen, err)
	}
	_, _, err = execute(t, plan.Job{Load: plan.Load{Format: format.JXL}, Save: &plan.Save{Format: format.PNG}}, file)
	if fault.Of(err) != fault.Unsupported {
		t.Error(err)
	}
	mark := plan.Step{Watermark: &plan.Watermark{Format: format.JXL, Scale: 0.5, Opacity: 1}}
	_, _, err = execute(t, plan.Job{Load: plan.Load{Format: format.PNG}, Steps: []plan.Step{mark}, Save: &plan.Save{Format: format.PNG}}, writePNG(t, flat(40, 30, red)), file)
	if fault.Of(err) != fault.Unsupported {
		t.Error(err)
	}
}
