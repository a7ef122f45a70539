package plan_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/geom"
	"safelight/internal/plan"
)

// show writes a plan on one line, for tables: load, steps, save, and the size.
func show(t testing.TB, p plan.Plan) string {
	t.Helper()
	load := p.Job.Load.Format.String()
	if l := p.Job.Load; l.Shrink > 0 {
		load += fmt.Sprintf("/%d", l.Shrink)
	} else if l.Scale > 0 {
		load += fmt.Sprintf("*%g", l.Scale)
	}
	if l := p.Job.Load; l.Page != 0 || l.Pages != 1 {
		load += fmt.Sprintf("[%d+%d]", l.Page, l.Pages)
	}
	if p.Job.Load.Random {
		load += " random"
	}
	parts := []string{load}
	for _, s := range p.Job.Steps {
		parts = append(parts, showStep(t, s))
	}
	save := fmt.Sprintf("%s q%d", p.Job.Save.Format, p.Job.Save.Quality)
	if p.Job.Save.Search != nil {
		save = fmt.Sprintf("%s %s %s", p.Job.Save.Format, p.Job.Save.Search.Tier, p.Job.Save.Search.Targets)
	}
	if p.Job.Save.KeepICC {
		save += " icc"
	}
	return strings.Join(append(parts, save, size(p.Out)), " | ")
}

func size(s geom.Size) string { return fmt.Sprintf("%dx%d", s.W, s.H) }
func rect(r geom.Rect) string { return fmt.Sprintf("%d,%d,%d,%d", r.X, r.Y, r.W, r.H) }
func color(c plan.RGB) string { return fmt.Sprintf("%02x%02x%02x%02x", c.R, c.G, c.B, c.A) }
func point(g geom.Gravity) string {
	if g.Smart {
		return "smart"
	}
	return fmt.Sprintf("%g,%g", g.X, g.Y)
}

func showStep(t testing.TB, s plan.Step) string {
	t.Helper()
	switch {
	case s.Trim != nil:
		return fmt.Sprintf("trim %g", s.Trim.Threshold)
	case s.Crop != nil:
		return fmt.Sprintf("crop %s of %s", rect(s.Crop.Rect), size(s.Crop.Of))
	case s.Resize != nil && s.Resize.Exact:
		return "resize " + size(s.Resize.To)
	case s.Resize != nil:
		return fmt.Sprintf("resize %s %s", s.Resize.Fit, size(s.Resize.To))
	case s.Orient != 0:
		return fmt.Sprintf("orient %d", s.Orient)
	case s.SRGB:
		return "srgb"
	case s.Window != nil:
		return fmt.Sprintf("window %s at %s", size(s.Window.Size), point(s.Window.Gravity))
	case s.Rotate != nil:
		return fmt.Sprintf("rotate %g on %s", s.Rotate.Degrees, color(s.Rotate.Background))
	case s.Canvas != nil && s.Canvas.Size != geom.Size{}:
		return fmt.Sprintf("canvas %s at %s on %s", size(s.Canvas.Size), point(s.Canvas.Gravity), color(s.Canvas.Background))
	case s.Canvas != nil:
		return fmt.Sprintf("pad %d,%d,%d,%d on %s", s.Canvas.Top, s.Canvas.Right, s.Canvas.Bottom, s.Canvas.Left, color(s.Canvas.Background))
	case s.Flatten != nil:
		return "flatten " + color(*s.Flatten)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	jpeg  = format.Header{Format: format.JPEG, Width: 4000, Height: 3000, Pages: 1, Orientation: 1, Bands: 3, BitDepth: 8}
	png   = format.Header{Format: format.PNG, Width: 400, Height: 300, Pages: 1, Orientation: 1, Alpha: true, Bands: 4, BitDepth: 8}
	webp  = format.Header{Format: format.WebP, Width: 4000, Height: 3000, Pages: 1, Orientation: 1, Bands: 3, BitDepth: 8}
	film  = format.Header{Format: format.GIF, Width: 100, Height: 50, Pages: 10, Orientation: 1, Animated: true, Alpha: true, Bands: 4, BitDepth: 8}
	turnd = format.Header{Format: format.JPEG, Width: 4000, Height: 3000, Pages: 1, Orientation: 6, Bands: 3, BitDepth: 8}
)

func render(t testing.TB, query string, h format.Header) (plan.Plan, error) {
	t.Helper()
	config := plan.DefaultConfig()
	o := normalized(t, query)
	o.Format, o.Auto = config.Target(o, h, plan.Accept{}), false
	return config.Render(o, h, nil)
}

func TestRender(t *testing.T) {
	t.Parallel()
	const flat, end = "flatten ffffffff", "jpeg fast 80"
	tests := []struct {
		name, query string
		h           format.Header
		want        string
	}{
		{"re-encoded", "q=70", jpeg, "jpeg | srgb | flatten ffffffff | jpeg q70 | 4000x3000"},
		{"other format", "format=webp", jpeg, "jpeg | srgb | webp fast 80 | 4000x3000"},
		{"profile kept", "strip=0", jpeg, "jpeg | flatten ffffffff | jpeg fast 80 icc | 4000x3000"},
		{"never enlarged", "w=5000", jpeg, "jpeg | srgb | flatten ffffffff | jpeg fast 80 | 4000x3000"},
		{"an eighth", "w=500", jpeg, "jpeg/8 | resize 500x375 | srgb | " + flat + " | " + end + " | 500x375"},
		{"just more than an eighth", "w=501", jpeg, "jpeg/4 | resize 501x376 | srgb | " + flat + " | " + end + " | 501x376"},
		{"a quarter", "w=1000", jpeg, "jpeg/4 | resize 1000x750 | srgb | " + flat + " | " + end + " | 1000x750"},
		{"a half", "w=1001", jpeg, "jpeg/2 | resize 1001x751 | srgb | " + flat + " | " + end + " | 1001x751"},
		{"more than a half", "w=2001", jpeg, "jpeg | resize 2001x1501 | srgb | " + flat + " | " + end + " | 2001x1501"},
		{"one side decides", "w=500&h=3000&fit=fill", jpeg, "jpeg | resize 500x3000 | srgb | " + flat + " | " + end + " | 500x3000"},
		{"WebP scales on load", "w=500", webp, "webp*0.125 | resize 500x375 | srgb | webp fast 80 | 500x375"},
		{"PNG doesn't", "w=40", png, "png | resize 40x30 | srgb | png q0 | 40x30"},
		{"orientation after scaling", "w=375", turnd, "jpeg/8 | resize 500x375 | srgb | orient 6 | " + flat + " | " + end + " | 375x500"},
		{"orientation alone", "q=80", turnd, "jpeg | srgb | orient 6 | " + flat + " | " + "jpeg q80" + " | 3000x4000"},
		{"crop as stored", "crop=100,200,300,400", jpeg, "jpeg | crop 100,200,300,400 of 4000x3000 | srgb | " + flat + " | " + end + " | 300x400"},
		{"crop of a turned one", "crop=100,200,300,400", turnd, "jpeg | crop 200,2600,400,300 of 4000x3000 | srgb | orient 6 | " + flat + " | " + end + " | 300x400"},
		{"crop over the edge", "crop=3900,2900,300,400", jpeg, "jpeg | crop 3900,2900,100,100 of 4000x3000 | srgb | " + flat + " | " + end + " | 100x100"},
		{"crop of everything", "crop=0,0,65535,65535", jpeg, "jpeg | srgb | " + flat + " | " + end + " | 4000x3000"},
		{"crop and shrink", "crop=0,0,2000,1500&w=500", jpeg, "jpeg/4 | crop 0,0,2000,1500 of 4000x3000 | resize 500x375 | srgb | " + flat + " | " + end + " | 500x375"},
		{"cover", "w=300&h=300&fit=cover&gravity=north", jpeg, "jpeg/8 | resize 400x300 | srgb | window 300x300 at 0.5,0 | " + flat + " | " + end + " | 300x300"},
		{"cover of the same shape", "w=400&h=300&fit=cover", jpeg, "jpeg/8 | resize 400x300 | srgb | " + flat + " | " + end + " | 400x300"},
		{"smart cover of a turned one", "w=300&h=300&fit=cover&gravity=smart", turnd, "jpeg/8 | resize 400x300 | srgb | orient 6 | window 300x300 at smart | " + flat + " | " + end + " | 300x300"},
		{"contain", "w=300&h=300&fit=contain&bg=f00", jpeg, "jpeg/8 | resize 300x225 | srgb | canvas 300x300 at 0.5,0.5 on ff0000ff | flatten ff0000ff | " + end + " | 300x300"},
		{"contain, transparent", "w=300&h=300&fit=contain&gravity=north", png, "png | resize 300x225 | srgb | canvas 300x300 at 0.5,0 on 00000000 | png q0 | 300x300"},
		{"fill", "w=300&h=20&fit=fill", png, "png | resize 300x20 | srgb | png q0 | 300x20"},
		{"outside", "w=300&h=300&fit=outside", jpeg, "jpeg/8 | resize 400x300 | srgb | " + flat + " | " + end + " | 400x300"},
		{"inside enlarges", "w=800&fit=inside", png, "png | resize 800x600 | srgb | png q0 | 800x600"},
		{"a quarter turn", "w=400&rot=90", jpeg, "jpeg/8 | resize 400x300 | srgb | rotate 90 on ffffffff | " + flat + " | " + end + " | 300x400"},
		{"any turn", "rot=45", png, "png | srgb | rotate 45 on 00000000 | png q0 | 495x495"},
		{"mirrored", "flip=h", png, `png | srgb | {"flip":{"Horizontal":true,"Vertical":false}} | png q0 | 400x300`},
		{"pad", "pad=1,2,3,4&bg=0f08", png, "png | srgb | pad 1,2,3,4 on 00ff0088 | png q0 | 406x304"},
		{"solid background", "bg=fff", png, "png | srgb | flatten ffffffff | png q0 | 400x300"},
		{"tone in order", "sharp=1&blur=2&gray=1&bright=0.5", png, `png | srgb | {"adjust":{"brightness":0.5,"contrast":1,"saturation":1}} | {"gray":true} | {"blur":2} | {"sharpen":1} | png q0 | 400x300`},
		{"trim", "trim=20&w=100&h=100&fit=cover", png, "png random | trim 20 | resize cover 100x100 | srgb | window 100x100 at 0.5,0.5 | png q0 | 100x100"},
		{"trim alone", "trim", turnd, "jpeg random | orient 6 | trim 10 | srgb | " + flat + " | " + end + " | 3000x4000"},
		{"trim by width has a height to stay in", "trim&w=8000&fit=inside", png, "png random | trim 10 | resize inside 8000x6250 | srgb | png q0 | 8000x6000"},
		{"trim by height has a width to stay in", "trim&h=100", png, "png random | trim 10 | resize scale-down 16384x100 | srgb | png q0 | 133x100"},
		{"trim outside has a box to stay in", "trim&w=100&h=5000&fit=outside", png, "png random | trim 10 | resize outside 100x5000 | resize scale-down 10000x16384 | srgb | png q0 | 6667x5000"},
		{"trim after crop", "trim&crop=10,10,20,20", png, "png random | crop 10,10,20,20 of 400x300 | trim 10 | srgb | png q0 | 20x20"},
		{"animation", "w=50", film, "gif[0+10] | resize 50x25 | srgb | gif q0 | 50x25"},
		{"animation from a frame on", "page=4", film, "gif[4+6] | srgb | gif q0 | 100x50"},
		{"one frame", "anim=0&page=4", film, "gif[4+1] | srgb | gif q0 | 100x50"},
		{"a format without frames", "format=png", film, "gif | srgb | png q0 | 100x50"},
		{"text", "text=hi&text_color=f00&text_gravity=north", png, `png | srgb | {"text":{"string":"hi","size":32,"color":{"R":255,"G":0,"B":0,"A":255},"gravity":{"X":0.5,"Y":0,"Smart":false},"margin":0,"opacity":1}} | png q0 | 400x300`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := render(t, c.query, c.h)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(t, p); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.query, got, c.want)
			}
		})
	}
}

func TestRenderOrientations(t *testing.T) {
	t.Parallel()
	for orientation := range 9 {
		h := jpeg
		h.Orientation = orientation
		p, err := render(t, "w=200&h=200&fit=fill&crop=0,0,1000,500", h)
		if err != nil || p.Out != (geom.Size{W: 200, H: 200}) {
			t.Fatalf("orientation %d: %v, %v", orientation, p.Out, err)
		}
		want := geom.Size{W: 1000, H: 500}
		if orientation >= 5 {
			want = geom.Size{W: 500, H: 1000}
		}
		if c := p.Job.Steps[0].Crop; c == nil || c.Rect.W != want.W || c.Rect.H != want.H || c.Of != (geom.Size{W: 4000, H: 3000}) {
			t.Errorf("orientation %d: crop %+v; want %v", orientation, c, want)
		}
		if last := p.Job.Steps[3].Orient; last != orientation && orientation > 1 {
			t.Errorf("orientation %d: undone is %d", orientation, last)
		}
	}
}

func TestRenderWatermark(t *testing.T) {
	t.Parallel()
	config := plan.DefaultConfig()
	o := normalized(t, "watermark=a&wm_margin=7&wm_opacity=0.5&wm_tile=1&format=png")
	p, err := config.Render(o, png, &plan.Overlay{Format: format.WebP})
	if err != nil {
		t.Fatal(err)
	}
	want := plan.Watermark{Format: format.WebP, Gravity: geom.Gravity{X: 1, Y: 1}, Margin: 7, Scale: 0.25, Opacity: 0.5, Tile: true}
	if got := p.Job.Steps[len(p.Job.Steps)-1].Watermark; got == nil || *got != want {
		t.Errorf("%+v; want %+v", got, want)
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	long, huge := film, film
	long.Pages = 501
	huge.Width, huge.Height, huge.Pages = 5000, 4000, 6
	tests := []struct {
		name, query string
		h           format.Header
		kind        fault.Kind
		limit, part string
		max, got    int64
	}{
		{"no such page", "page=1", jpeg, fault.Invalid, "", "the source has 1 pages", 0, 0},
		{"no such frame", "page=10", film, fault.Invalid, "", "the source has 10 pages", 0, 0},
		{"crop outside", "crop=4000,0,1,1", jpeg, fault.Invalid, "", "which is 4000×3000 px", 0, 0},
		{"crop outside a turned one", "crop=3000,0,1,1", turnd, fault.Invalid, "", "which is 3000×4000 px", 0, 0},
		{"frames", "w=10", long, fault.Unprocessable, "render.max_frames", "anim=0", 500, 501},
		{"pixels of all frames", "w=10", huge, fault.Unprocessable, "render.max_animation_pixels", "anim=0", 100_000_000, 120_000_000},
		{"pixels", "w=10000&fit=inside", jpeg, fault.Invalid, "render.max_output_pixels", "75000000", 50_000_000, 75_000_000},
		{"side", "w=16384&fit=inside&pad=1", png, fault.Invalid, "side of a rendition", "16386×12290", 16384, 16386},
		{"side of what follows", "w=16384&h=16384&fit=outside", png, fault.Invalid, "side of a rendition", "", 16384, 21845},
		{"side of a line that covers", "crop=0,0,4000,1&w=2501&h=2501&fit=cover", jpeg, fault.Invalid, "side before the crop", "", 10_000_000, 10_004_000},
		{"side after a turn", "w=14000&h=3000&fit=fill&rot=45", png, fault.Invalid, "render.max_output_pixels", "", 50_000_000, 0},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, c.query, c.h)
			e := fault.As(err)
			if e == nil || e.Kind != c.kind || e.Limit != c.limit || e.Max != c.max || c.got != 0 && e.Got != c.got || !strings.Contains(e.Message, c.part) {
				t.Errorf("%+v", e)
			}
		})
	}
	for _, h := range []format.Header{long, huge} {
		if _, err := render(t, "w=10&anim=0", h); err != nil {
			t.Errorf("one frame: %v", err)
		}
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	deep := png
	deep.BitDepth = 16
	for _, c := range []struct {
		query string
		h     format.Header
		want  int64
	}{
		{"q=80", jpeg, 4000*3000*3 + 4000*3000*4},
		{"w=500", jpeg, 500*375*3 + 500*375*4},
		{"w=40", png, 400*300*4 + 40*30*4},
		{"w=40", deep, 400*300*4*2 + 40*30*4},
		{"w=50", film, 100*50*10*4 + 50*25*10*4},
	} {
		if p, err := render(t, c.query, c.h); err != nil || p.Cost != c.want {
			t.Errorf("%s of %s: %d, %v; want %d", c.query, c.h.Format, p.Cost, err, c.want)
		}
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	small := jpeg
	small.Height = 799
	pages := format.Header{Format: format.TIFF, Width: 10, Height: 10, Pages: 3, Orientation: 3}
	for _, c := range []struct {
		h             format.Header
		shrink, pages int
		steps         int
	}{{jpeg, 8, 1, 0}, {small, 0, 1, 0}, {webp, 0, 1, 0}, {film, 0, -1, 0}, {pages, 0, -1, 1}, {turnd, 8, 1, 1}} {
		job := plan.Inspect(c.h)
		if !job.Inspect || !job.Load.Strict || job.Save != nil || job.Load.Shrink != c.shrink || job.Load.Pages != c.pages || len(job.Steps) != c.steps {
			t.Errorf("%+v: %+v", c.h, job)
		}
	}
}
