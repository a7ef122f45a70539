package worker

import (
	_ "embed"

	"golang.org/x/sys/unix"

	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// Pictures of 64 × 64 px, made by Safelight. libvips has one loader and one
// saver for all that libheif may know, and lists them whichever decoders and
// encoders that libheif was built with or finds: only trying tells.
var (
	//go:embed probe/tiny.heic
	tinyHEIC []byte
	//go:embed probe/tiny.avif
	tinyAVIF []byte
)

// probe finds out which formats this libvips only claims to know.
func (e *Engine) probe() {
	e.cantRead, e.cantWrite = map[format.Format]bool{}, map[format.Format]bool{}
	for f, tiny := range map[format.Format][]byte{format.HEIC: tinyHEIC, format.AVIF: tinyAVIF} {
		e.cantRead[f] = !e.decodes(f, tiny)
	}
	e.cantWrite[format.AVIF] = !e.encodes(plan.Save{Format: format.AVIF, Quality: 50, Effort: 1})
	// Without loss: the lossy encoder would leave a megabyte behind that many
	// processes never need.
	e.cantWrite[format.JXL] = !e.encodes(plan.Save{Format: format.JXL, Lossless: true, Quality: 90, Effort: 1})
}

func (e *Engine) decodes(f format.Format, file []byte) bool {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if _, err := output(fd).Write(file); err != nil {
		return false
	}
	p := newPicture(Files{Source: fd, Overlay: -1, Output: -1})
	defer p.close()
	if err := p.load(plan.Load{Format: f}); err != nil {
		return false
	}
	_, err = p.drain(p.frames[0])
	return err == nil
}

func (e *Engine) encodes(s plan.Save) bool {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	p := newPicture(Files{Source: -1, Overlay: -1, Output: fd})
	defer p.close()
	i, err := p.plain()
	if err != nil {
		return false
	}
	p.frames = []*vips.Image{i}
	_, err = p.save(s, fd)
	return err == nil
}

// plain is a small black picture.
func (p *picture) plain() (*vips.Image, error) {
	const side = 16
	i, err := p.scope.FromMemory(make([]byte, side*side*3), side, side, 3)
	if err != nil {
		return nil, err
	}
	return p.scope.Op("copy", i, vips.Set("interpretation", "srgb"))
}
