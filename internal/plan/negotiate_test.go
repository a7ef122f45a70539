package plan_test

import (
	"testing"

	"safelight/internal/format"
	"safelight/internal/options"
	"safelight/internal/plan"
)

func TestParseAccept(t *testing.T) {
	t.Parallel()
	none, avif, webp, both := plan.Accept{}, plan.Accept{AVIF: true}, plan.Accept{WebP: true}, plan.Accept{AVIF: true, WebP: true}
	jxl := plan.Accept{JXL: true}
	for header, want := range map[string]plan.Accept{
		"": none, "*/*": none, "image/*": none, "image/*,*/*;q=0.8": none, "text/html": none, "image/jpeg": none,
		"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8": both, "text/html,image/avif,image/webp,*/*;q=0.5": both,
		"image/jxl": jxl, " image/JXL ; q=0.1,image/jxr": jxl, "image/jxl;q=0": none, "image/jxl,image/avif,image/webp,image/heic,*/*;q=0.8": {AVIF: true, WebP: true, JXL: true},
		"image/webp": webp, " image/webp ;q=0.1": webp, "IMAGE/AVIF": avif, "image/avif;v=b3;q=0.7": avif, "image/webp;q=0": none,
		"image/webp;q=0.0,image/avif": avif, "image/avif; Q=0": none, "image/avif;q=x": none, "image/avif;q=": none, "image/avif;q=-1": none,
		"image/avif;level=1": avif, "image/avif,image/avif;q=0": none, "image/avifs": none, "ximage/avif": none, ",,;;,": none, "image/webp;": webp,
		"image/webp; q = 0": none, "image/webp;q =0.5": webp, "image/webp;q= 0.5 ": webp, "image/avif;q=NaN": none,
	} {
		if got := plan.ParseAccept(header); got != want {
			t.Errorf("%q: %+v; want %+v", header, got, want)
		}
	}
}

func FuzzParseAccept(f *testing.F) {
	f.Add("image/avif,image/webp;q=0.5,*/*;q=0.1")
	f.Add(" image/avif ; q = 0 ;;q=1,")
	f.Fuzz(func(t *testing.T, header string) {
		a := plan.ParseAccept(header)
		if more := plan.ParseAccept(header + ",image/avif,image/webp,image/jxl"); !more.AVIF || !more.WebP || !more.JXL {
			t.Fatalf("%q with all formats after it: %+v", header, more)
		}
		if twice := plan.ParseAccept(header + "," + header); twice != a {
			t.Fatalf("%q: %+v, and twice %+v", header, a, twice)
		}
	})
}

func TestAccepting(t *testing.T) {
	t.Parallel()
	jxl, both := plan.Accepting("png", "jxl", "jxl"), plan.Accepting("avif", "webp", "no format")
	if jxl != (plan.Accept{JXL: true}) || both != (plan.Accept{AVIF: true, WebP: true}) || plan.Accepting() != (plan.Accept{}) {
		t.Errorf("%+v, %+v", jxl, both)
	}
	all := plan.Accept{AVIF: true, WebP: true, JXL: true}
	if all.And(jxl) != jxl || all.And(both) != both || jxl.And(both) != (plan.Accept{}) {
		t.Errorf("%+v, %+v, %+v", all.And(jxl), all.And(both), jxl.And(both))
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	const none, avif, webp, both = "", "image/avif", "image/webp", "image/avif,image/webp"
	photo := format.Header{Format: format.JPEG}
	flat := format.Header{Format: format.PNG}
	clear := format.Header{Format: format.PNG, Alpha: true}
	film := format.Header{Format: format.GIF, Animated: true, Pages: 9, Alpha: true}
	webpFilm := format.Header{Format: format.WebP, Animated: true, Pages: 9}
	heic := format.Header{Format: format.HEIC}
	clearTIFF := format.Header{Format: format.TIFF, Alpha: true}
	tests := []struct {
		name, query, accept string
		h                   format.Header
		want                format.Format
	}{
		{"the source's own", "w=5", both, photo, format.JPEG},
		{"the source's own PNG", "w=5", none, clear, format.PNG},
		{"the source's own GIF", "w=5", both, film, format.GIF},
		{"the source's own, whatever is accepted", "w=5", none, webpFilm, format.WebP},
		{"no encoder for HEIC", "w=5", both, heic, format.JPEG},
		{"no encoder for TIFF, with transparency", "w=5", both, clearTIFF, format.PNG},
		{"asked for", "format=avif", none, photo, format.AVIF},
		{"asked for, whatever is accepted", "format=jxl", none, film, format.JXL},
		{"auto: JPEG XL is not chosen unless it is configured", "format=auto", "image/jxl", photo, format.JPEG},
		{"asked for, without transparency", "format=jpeg", both, clear, format.JPEG},
		{"auto: best of both", "format=auto", both, photo, format.AVIF},
		{"auto: AVIF only", "format=auto", avif, photo, format.AVIF},
		{"auto: WebP only", "format=auto", webp, clear, format.WebP},
		{"auto: nothing named", "format=auto", "*/*", photo, format.JPEG},
		{"auto: nothing named, flat PNG", "format=auto", none, flat, format.JPEG},
		{"auto: nothing named, transparency", "format=auto", none, clear, format.PNG},
		{"auto: nothing named, HEIC", "format=auto", none, heic, format.JPEG},
		{"auto: refused", "format=auto", "image/avif;q=0,image/webp;q=0", photo, format.JPEG},
		{"auto: an animation is no AVIF", "format=auto", both, film, format.WebP},
		{"auto: an animation for those who know AVIF only", "format=auto", avif, film, format.GIF},
		{"auto: an animation for everybody", "format=auto", none, webpFilm, format.GIF},
		{"auto: one frame of an animation", "format=auto&anim=0", both, film, format.AVIF},
		{"auto: one frame for everybody", "format=auto&anim=0", none, film, format.PNG},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := plan.DefaultConfig().Target(normalized(t, c.query), c.h, plan.ParseAccept(c.accept))
			if got != c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
		})
	}
}

func TestTargetFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	all := plan.Accept{AVIF: true, WebP: true, JXL: true}
	auto := options.Options{Auto: true}
	photo, clear := format.Header{Format: format.JPEG}, format.Header{Format: format.PNG, Alpha: true}
	tests := []struct {
		formats []string
		h       format.Header
		want    format.Format
	}{
		{nil, photo, format.JPEG}, {nil, clear, format.PNG},
		{[]string{"jxl", "avif"}, clear, format.JXL}, {[]string{"jxl", "webp"}, format.Header{Format: format.GIF, Animated: true, Pages: 2}, format.WebP},
		{[]string{"webp", "avif"}, photo, format.WebP}, {[]string{"jpeg", "avif"}, photo, format.JPEG},
		{[]string{"jpeg"}, clear, format.PNG}, {[]string{"jpeg", "webp"}, clear, format.WebP}, {[]string{"png"}, photo, format.PNG},
	}
	for _, c := range tests {
		config := plan.DefaultConfig()
		config.AutoFormats = c.formats
		if got := config.Target(auto, c.h, all); got != c.want {
			t.Errorf("of %v: %s; want %s", c.formats, got, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := plan.DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*plan.Config){
		"no output": func(c *plan.Config) { c.MaxOutputPixels = 0 }, "no frames": func(c *plan.Config) { c.MaxFrames = 0 },
		"no animation":     func(c *plan.Config) { c.MaxAnimationPixels = -1 },
		"no encoder":       func(c *plan.Config) { c.AutoFormats = []string{"avif", "heic"} },
		"quality of what":  func(c *plan.Config) { c.Quality = map[string]int{"tiff": 80} },
		"quality too good": func(c *plan.Config) { c.Quality = map[string]int{"jpeg": 101} },
		"effort":           func(c *plan.Config) { c.Effort = map[string]int{"webp": 10} },
	} {
		c := plan.DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
	}
	a, b := plan.DefaultConfig(), plan.DefaultConfig()
	b.Quality = map[string]int{"jpeg": 81}
	if a.Revision() != plan.DefaultConfig().Revision() || a.Revision() == b.Revision() {
		t.Errorf("revisions %q and %q", a.Revision(), b.Revision())
	}
}

func normalized(t testing.TB, query string) options.Options {
	t.Helper()
	o, err := options.Parse(query)
	if err != nil {
		t.Fatal(err)
	}
	return o.Normalize()
}
