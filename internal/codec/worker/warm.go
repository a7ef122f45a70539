package worker

import (
	"golang.org/x/sys/unix"

	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// warm runs what a first job would otherwise pay for. With everything, it uses
// each codec and the font library once, so that nothing needs to open a file
// after the sandbox is closed; where files stay readable, the commonest codec
// is enough. What fails here fails again in a job, and is told there.
func (e *Engine) warm(everything bool) {
	for f := range savers {
		if everything || f == format.JPEG {
			e.warmCodec(f, everything)
		}
	}
}

func (e *Engine) warmCodec(f format.Format, text bool) {
	fd, err := unix.MemfdCreate("warm", unix.MFD_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	p := newPicture(Files{Source: -1, Overlay: -1, Output: fd})
	defer p.close()
	i, err := p.plain()
	if err != nil {
		return
	}
	p.frames = []*vips.Image{i}
	if text {
		_ = p.text(plan.Text{String: "Aä", Size: 8, Opacity: 1})
	}
	if _, err = p.save(plan.Save{Format: f, Quality: 75}, fd); err != nil {
		return
	}
	_, _ = e.Execute(plan.Job{Load: plan.Load{Format: f}, Inspect: true}, Files{Source: fd, Overlay: -1, Output: -1})
}
