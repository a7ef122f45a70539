package worker

import (
	"strings"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/plan"
	"safelight/internal/vips"
)

var savers = map[format.Format]string{
	format.JPEG: "jpegsave_target",
	format.PNG:  "pngsave_target",
	format.WebP: "webpsave_target",
	format.AVIF: "heifsave_target",
	format.GIF:  "gifsave_target",
	format.JXL:  "jxlsave_target",
}

// longestSide is what a format can hold, pixels.
var longestSide = map[format.Format]int{
	format.JPEG: 65535, format.WebP: 16383, format.AVIF: 16384, format.GIF: 65535, format.PNG: 1 << 24, format.JXL: 1 << 18,
}

// What an encoder does where the job leaves the effort to it: the last step
// that still pays for its time.
const (
	effortWebP = 4
	effortAVIF = 4
	effortPNG  = 6
	effortGIF  = 3
	effortJXL  = 4 // as fast as WebP's 2; from 5 on it takes five times as long
	leastJXL   = 3 // that libvips 8.14 knows, and the last that is fast without loss
)

// pngFilters lets the PNG encoder choose the filter for each row (all five, as
// libpng's flags), which libvips by itself does not: photographs come out at
// about half the size.
const pngFilters = 0xf8

// writable tells what comes out if the picture is encoded in a format, which
// this libvips must have and the picture must fit.
func (p *picture) writable(f format.Format) (plan.Result, error) {
	if saver, ok := savers[f]; !ok || !vips.Has(saver) {
		return plan.Result{}, fault.New(fault.Unsupported, "this installation's libvips can't write %s files", f)
	}
	size := p.size()
	if most := longestSide[f]; size.W > most || size.H > most {
		return plan.Result{}, &fault.Error{Kind: fault.Unprocessable, Code: "side-too-long",
			Message: display(f) + " can't hold a picture of this width or height"}
	}
	return plan.Result{Width: size.W, Height: size.H, Pages: len(p.frames)}, nil
}

// save encodes the picture into a file that is empty.
func (p *picture) save(s plan.Save, fd int) (plan.Result, error) {
	result, err := p.writable(s.Format)
	if err != nil {
		return result, err
	}
	roll, err := p.join()
	if err != nil {
		return plan.Result{}, err
	}
	if roll, err = p.bare(roll, s.KeepICC); err != nil {
		return plan.Result{}, err
	}
	target, err := p.scope.TargetFD(fd)
	if err != nil {
		return plan.Result{}, err
	}
	args := []vips.Arg{vips.Set("in", roll), vips.Set("target", target), vips.Set("strip", !s.KeepICC)}
	return result, p.scope.Call(savers[s.Format], append(args, settings(s)...)...)
}

func settings(s plan.Save) []vips.Arg {
	effort := func(fallback int) int {
		if s.Effort > 0 {
			return s.Effort
		}
		return fallback
	}
	switch s.Format {
	case format.JPEG:
		return []vips.Arg{vips.Set("Q", s.Quality), vips.Set("optimize_coding", true),
			vips.Set("interlace", !s.Baseline), vips.Set("subsample_mode", "auto")}
	case format.WebP:
		return []vips.Arg{vips.Set("Q", s.Quality), vips.Set("lossless", s.Lossless), vips.Set("effort", effort(effortWebP))}
	case format.AVIF:
		return []vips.Arg{vips.Set("Q", s.Quality), vips.Set("lossless", s.Lossless), vips.Set("compression", "av1"),
			vips.Set("bitdepth", 8), vips.Set("effort", effort(effortAVIF))}
	case format.JXL:
		usual := effortJXL
		if s.Lossless {
			usual = leastJXL
		}
		return []vips.Arg{vips.Set("Q", s.Quality), vips.Set("lossless", s.Lossless), vips.Set("effort", max(effort(usual), leastJXL))}
	case format.PNG:
		return []vips.Arg{vips.Set("compression", effort(effortPNG)), vips.Set("filter", pngFilters)}
	case format.GIF:
		return []vips.Arg{vips.Set("effort", effort(effortGIF))}
	}
	return nil
}

// join lays the frames below each other again, as libvips' savers want them.
func (p *picture) join() (*vips.Image, error) {
	if len(p.frames) == 1 {
		return p.frames[0], nil
	}
	if err := p.hold(); err != nil {
		return nil, err
	}
	var roll *vips.Image
	err := p.scope.Call("arrayjoin", vips.Set("in", p.frames), vips.Set("across", 1), vips.Get("out", &roll))
	if err != nil {
		return nil, err
	}
	if roll, err = p.scope.Op("copy", roll); err != nil {
		return nil, err
	}
	roll.SetInt("page-height", p.size().H)
	roll.SetInt("n-pages", len(p.frames))
	roll.SetInts("delay", p.delay)
	roll.SetInt("loop", p.loop)
	return roll, nil
}

// bare takes all metadata off but what savers of animations go by, and the
// colour profile if it is to be kept. (The savers' own "strip" leaves some of it
// in WebP files.)
func (p *picture) bare(i *vips.Image, keepICC bool) (*vips.Image, error) {
	out, err := p.scope.Op("copy", i)
	if err != nil {
		return nil, err
	}
	for _, field := range out.Fields() {
		switch {
		case field == profileField && keepICC:
		case field == "orientation", strings.HasSuffix(field, "-data"), strings.HasSuffix(field, "-comment"),
			strings.HasPrefix(field, "exif-"), strings.HasPrefix(field, "png-comment-"), strings.HasPrefix(field, "heif-"):
			out.Remove(field)
		}
	}
	return out, nil
}
