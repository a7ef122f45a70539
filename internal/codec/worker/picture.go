package worker

import (
	"errors"

	"golang.org/x/sys/unix"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

// picture is what the steps of a job work on: one image, or the frames of an
// animation, all of one size. Each step is laid on every frame by itself, so
// that nothing bleeds from one frame into the next.
type picture struct {
	scope  *vips.Scope
	files  Files
	frames []*vips.Image

	full  geom.Size // of one stored page, without shrink-on-load
	pages int       // in the file
	delay []int     // milliseconds, one for each frame; animations only
	loop  int       // repetitions; 0 is for ever

	overlay *vips.Image // input 1, once it is loaded
}

func newPicture(files Files) *picture { return &picture{scope: vips.NewScope(), files: files} }

func (p *picture) close() { p.scope.Close() }

func (p *picture) size() geom.Size { return sizeOf(p.frames[0]) }

func sizeOf(i *vips.Image) geom.Size { return geom.Size{W: i.Width(), H: i.Height()} }

type loader struct {
	operation string
	class     string // of libvips, to unblock it
	animates  bool   // pages are frames of one size, loaded in one picture
}

var loaders = map[format.Format]loader{
	format.JPEG: {"jpegload_source", "VipsForeignLoadJpegSource", false},
	format.PNG:  {"pngload_source", "VipsForeignLoadPngSource", false},
	format.WebP: {"webpload_source", "VipsForeignLoadWebpSource", true},
	format.GIF:  {"gifload_source", "VipsForeignLoadNsgifSource", true},
	format.AVIF: {"heifload_source", "VipsForeignLoadHeifSource", false},
	format.HEIC: {"heifload_source", "VipsForeignLoadHeifSource", false},
	format.TIFF: {"tiffload_source", "VipsForeignLoadTiffSource", false},
	format.JXL:  {"jxlload_source", "VipsForeignLoadJxlSource", false}, // of results only
}

// load opens the source. Pixels are not read yet, and will be read once from
// top to bottom, frame after frame; what needs another order calls hold first.
func (p *picture) load(l plan.Load) error {
	how, ok := loaders[l.Format]
	if !ok {
		return fault.New(fault.Unsupported, "%s files are not accepted", l.Format)
	}
	if !vips.Has(how.operation) {
		return fault.New(fault.Unsupported, "this installation's libvips can't read %s files", l.Format)
	}
	if l.Shrink > 1 || (l.Scale > 0 && l.Scale < 1) {
		whole := plan.Load{Format: l.Format, Page: l.Page}
		first, err := p.open(whole, p.files.Source, 1)
		if err != nil {
			return err
		}
		p.full = sizeOf(first)
	}
	pages := max(l.Pages, 1)
	if l.Pages < 0 && how.animates {
		pages = -1
	}
	roll, err := p.open(l, p.files.Source, pages)
	if err != nil {
		return err
	}
	p.pages = max(roll.Pages(), 1)
	if p.full.W == 0 {
		p.full = geom.Size{W: roll.Width(), H: min(roll.PageHeight(), roll.Height())}
	}
	if err := p.split(roll, l.Page); err != nil {
		return err
	}
	if l.Random {
		return p.hold()
	}
	return nil
}

// open makes one picture of the wanted pages of an input.
func (p *picture) open(l plan.Load, fd, pages int) (*vips.Image, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "a file for the codec can't be read from its start")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Size == 0 {
		return nil, errors.New("the file is empty") // which libvips 8.14 aborts on
	}
	source, err := p.scope.SourceFD(fd)
	if err != nil {
		return nil, err
	}
	return p.read(l, source, pages)
}

// read makes one picture of the wanted pages of a source.
func (p *picture) read(l plan.Load, source vips.Source, pages int) (*vips.Image, error) {
	var out *vips.Image
	args := []vips.Arg{vips.Set("source", source), vips.Get("out", &out), vips.Set("access", "sequential")}
	if l.Strict {
		args = append(args, vips.Set("fail_on", "error"))
	}
	switch l.Format {
	case format.JPEG:
		if l.Shrink > 1 {
			args = append(args, vips.Set("shrink", l.Shrink))
		}
	case format.WebP, format.GIF, format.TIFF, format.HEIC, format.AVIF:
		args = append(args, vips.Set("n", pages))
		if l.Page > 0 {
			args = append(args, vips.Set("page", l.Page))
		}
	}
	if l.Format == format.WebP && l.Scale > 0 && l.Scale < 1 {
		args = append(args, vips.Set("scale", l.Scale))
	}
	if err := p.scope.Call(loaders[l.Format].operation, args...); err != nil {
		return nil, err
	}
	return out, nil
}

// split cuts the loaded roll into its frames.
func (p *picture) split(roll *vips.Image, first int) error {
	height := roll.PageHeight()
	n := roll.Height() / max(height, 1)
	if n <= 1 || height*n != roll.Height() {
		one, err := p.single(roll)
		p.frames = []*vips.Image{one}
		return err
	}
	p.frames = make([]*vips.Image, n)
	for i := range p.frames {
		frame, err := p.area(roll, geom.Rect{Y: i * height, W: roll.Width(), H: height})
		if err != nil {
			return err
		}
		p.frames[i] = frame
	}
	p.delay = delays(roll.Ints("delay"), first, n)
	p.loop, _ = roll.Int("loop")
	return nil
}

// single takes the marks of an animation off a lone frame: a saver would cut an
// enlarged picture at the old page height.
func (p *picture) single(i *vips.Image) (*vips.Image, error) {
	if !i.Has("page-height") {
		return i, nil
	}
	out, err := p.scope.Op("copy", i)
	if err == nil {
		out.Remove("page-height")
	}
	return out, err
}

// area is a rectangle of an image, which must lie inside it.
func (p *picture) area(i *vips.Image, r geom.Rect) (*vips.Image, error) {
	var out *vips.Image
	err := p.scope.Call("extract_area", vips.Set("input", i), vips.Get("out", &out), vips.Set("left", r.X), vips.Set("top", r.Y),
		vips.Set("width", r.W), vips.Set("height", r.H))
	return out, err
}

// delays picks those of n frames from the first; a file without any plays ten a second.
func delays(all []int, first, n int) []int {
	if len(all) >= first+n {
		all = all[first:]
	}
	out := make([]int, n)
	for i := range out {
		out[i] = 100
		if i < len(all) {
			out[i] = all[i]
		}
	}
	return out
}

// hold computes the frames in order and keeps them in memory, for access in any
// order. What led to them is freed, and every other image of the picture with it:
// a step calls it first. It costs nothing for frames that are there already.
func (p *picture) hold() error {
	next := vips.NewScope()
	for i, f := range p.frames {
		copied, err := next.CopyMemory(f)
		if err != nil {
			next.Close()
			return err
		}
		p.frames[i] = copied
	}
	p.scope.Close()
	p.scope, p.overlay = next, nil
	return nil
}

// each lays an operation on every frame.
func (p *picture) each(step func(*vips.Image) (*vips.Image, error)) error {
	for i, f := range p.frames {
		out, err := step(f)
		if err != nil {
			return err
		}
		p.frames[i] = out
	}
	return nil
}

// op lays one of libvips' operations on every frame.
func (p *picture) op(name string, args ...vips.Arg) error {
	return p.each(func(i *vips.Image) (*vips.Image, error) { return p.scope.Op(name, i, args...) })
}

// anyOrder is op for an operation that reads its input out of order.
func (p *picture) anyOrder(name string, args ...vips.Arg) error {
	if err := p.hold(); err != nil {
		return err
	}
	return p.op(name, args...)
}
