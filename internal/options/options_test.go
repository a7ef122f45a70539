package options_test

import (
	"reflect"
	"strings"
	"testing"

	"safelight/internal/fault"
	"safelight/internal/options"
)

func parse(t testing.TB, query string) options.Options {
	t.Helper()
	o, err := options.Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return o
}

func TestFieldsAreDescribed(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range options.Fields() {
		if seen[f.Name] || !options.Known(f.Name) {
			t.Errorf("%s: repeated or unknown", f.Name)
		}
		seen[f.Name] = true
		if f.Doc == "" || !strings.HasSuffix(f.Doc, ".") || f.Range == "" {
			t.Errorf("%s: doc %q, range %q", f.Name, f.Doc, f.Range)
		}
		switch f.Type {
		case "integer", "number":
			if f.Max <= f.Min {
				t.Errorf("%s: from %v to %v", f.Name, f.Min, f.Max)
			}
		case "boolean", "string":
		default:
			t.Errorf("%s: type %q", f.Name, f.Type)
		}
		for _, word := range f.Enum {
			var o options.Options
			if err := o.Set(f.Name, word); err != nil || !strings.Contains(f.Range, word) {
				t.Errorf("%s: the word %q: %v (range %q)", f.Name, word, err, f.Range)
			}
		}
	}
	if options.Known("width") || options.Known("") {
		t.Error("unknown names are known")
	}
}

// defaultless are fields whose default is that nothing is done.
var defaultless = map[string]bool{
	"w": true, "h": true, "crop": true, "flip": true, "pad": true, "blur": true, "sharp": true, "watermark": true, "text": true,
}

func TestDefaultsMeanNothing(t *testing.T) {
	t.Parallel()
	needs := map[string]string{"wm_": "watermark=a&", "text_": "text=a&"}
	worded := map[string]bool{"bg": true, "format": true} // described, not written
	for _, f := range options.Fields() {
		if (f.Default == "") != defaultless[f.Name] {
			t.Errorf("%s: default %q", f.Name, f.Default)
		}
		if f.Default == "" || worded[f.Name] {
			continue
		}
		base := ""
		for start, with := range needs {
			if strings.HasPrefix(f.Name, start) {
				base = with
			}
		}
		want := parse(t, base).Normalize().Canonical()
		if got := parse(t, base+f.Name+"="+f.Default).Normalize().Canonical(); got != want {
			t.Errorf("%s=%s is the default, but comes to %q", f.Name, f.Default, got)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", options.MaxTextBytes/2)
	gravities := []string{"center", "north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest", "0,0", "1,1", "0.25,0.75"}
	notGravity := []string{"", "middle", "North", "1.1,0", "0", "0,", "0,0,0", "-0.1,0", "NaN,0", "0x1p-1,0"}
	colors := []string{"fff", "FFF", "#fff", "fff8", "aabbcc", "#AABBCC", "aabbccdd", "white", "transparent"}
	notColor := []string{"", "#", "ff", "fffff", "ggg", "+fffff", "White", "rgb(0,0,0)", "aabbccddee", "é1", "0x1234", "ff_ff_"}
	factor := []string{"0", "1", "0.5", "1e0", "0.00001", "+1"}
	notFactor := []string{"", "-0.1", "4.1", "NaN", "Inf", "0x1p0", "1_0", "1,5", " 1"}
	flag := []string{"", "1", "0", "true", "false", "yes", "no", "on", "off"}
	notFlag := []string{"2", "TRUE", " ", "10"}
	tests := map[string]struct{ good, bad []string }{
		"w":            {[]string{"0", "1", "16384", "007"}, []string{"", "-1", "16385", "1.5", "1px", "0x10", "99999999999999999999", "١"}},
		"h":            {[]string{"0", "16384"}, []string{"-1", "16385", "auto"}},
		"dpr":          {[]string{"0.1", "1", "1.5", "8"}, []string{"0", "8.1", "-1", "NaN", "Inf", "2x"}},
		"fit":          {[]string{"cover"}, []string{"", "Cover", "crop"}},
		"gravity":      {append(gravities, "smart"), notGravity},
		"crop":         {[]string{"0,0,1,1", "65535,65535,65535,65535"}, []string{"", "0,0,1", "0,0,0,1", "0,0,1,0", "-1,0,1,1", "0,0,1,65536", "0,0,1,1,1", "a,b,c,d"}},
		"rot":          {[]string{"0", "-359", "359", "+90"}, []string{"", "360", "-360", "1.5"}},
		"flip":         {[]string{"h", "v", "hv", "vh"}, []string{"", "x", "hh", "H"}},
		"trim":         {[]string{"", "0", "255"}, []string{"-1", "256", "1.5"}},
		"pad":          {[]string{"0", "4096", "1,2", "1,2,3,4"}, []string{"", "-1", "4097", "1,2,3", "1,2,3,4,5", "1,"}},
		"bg":           {colors, notColor},
		"blur":         {[]string{"0.3", "100", "5e1"}, []string{"", "0", "0.29", "100.1", "NaN"}},
		"sharp":        {[]string{"0.3", "10"}, []string{"0.29", "10.1"}},
		"bright":       {append(factor, "4"), notFactor},
		"contrast":     {append(factor, "4"), notFactor},
		"sat":          {append(factor, "4"), notFactor},
		"gray":         {flag, notFlag},
		"watermark":    {[]string{"logo.png", "a/b c.png", "…"}, []string{"", "/a", "../a", "a\x00", `a\b`}},
		"wm_gravity":   {gravities, append(notGravity, "smart")},
		"wm_margin":    {[]string{"0", "4096"}, []string{"-1", "4097"}},
		"wm_scale":     {[]string{"0.01", "1"}, []string{"0", "1.1"}},
		"wm_opacity":   {factor, append(notFactor, "1.1")},
		"wm_tile":      {flag, notFlag},
		"text":         {[]string{"", "a b", "<b>&amp;", "\u200fעברית", long}, []string{"a\nb", "a\x00", "a\x7f", "a\u0085b", "a\u2028b", "a\u2029b", "\xff", long + "x"}},
		"text_size":    {[]string{"4", "512"}, []string{"0", "3", "513"}},
		"text_color":   {colors, notColor},
		"text_gravity": {gravities, append(notGravity, "smart")},
		"text_margin":  {[]string{"0", "4096"}, []string{"4097"}},
		"text_opacity": {factor, append(notFactor, "1.1")},
		"format":       {[]string{"auto", "jpeg", "jpg", "webp", "avif", "png", "gif", "jxl"}, []string{"", "heic", "tiff", "svg", "JPEG", "unknown"}},
		"q":            {[]string{"auto", "1", "100"}, []string{"", "0", "101", "80%"}},
		"lossless":     {flag, notFlag},
		"page":         {[]string{"0", "100000"}, []string{"-1", "100001"}},
		"anim":         {flag, notFlag},
		"strip":        {flag, notFlag},
	}
	for _, f := range options.Fields() {
		c, ok := tests[f.Name]
		if !ok {
			t.Errorf("%s is not tested", f.Name)
		}
		for _, v := range c.good {
			var o options.Options
			if err := o.Set(f.Name, v); err != nil {
				t.Errorf("%s=%q: %v", f.Name, v, err)
			}
		}
		for _, v := range c.bad {
			var o options.Options
			err := o.Set(f.Name, v)
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%s=%q: %v; want Invalid", f.Name, v, err)
			} else if f.Name != "watermark" && (!strings.HasPrefix(err.Error(), f.Name+": expected ") || len(err.Error()) > 400) {
				t.Errorf("%s=%q: the message is %q", f.Name, v, err)
			}
		}
	}
}

func TestSetUnknown(t *testing.T) {
	t.Parallel()
	var o options.Options
	err := o.Set(strings.Repeat("é", 2000), "1")
	if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "unknown parameter") || !strings.Contains(err.Error(), "watermark") || len(err.Error()) > 600 {
		t.Errorf("%v", err)
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	// Queries of one line mean the same; the first is the canonical form.
	tests := [][]string{
		{"", "w=0", "h=0&w=0", "fit=cover", "fit=fill&gravity=north", "dpr=3", "rot=0", "q=auto", "anim=1", "strip=1", "gray=0", "lossless=0", "bright=1", "contrast=1.00001", "sat=1", "trim=0", "pad=0", "pad=0,0,0,0", "page=0", "wm_gravity=north&wm_tile=1", "text_size=50&text_color=red", "text=", "&&"},
		{"w=500", "w=500&h=0", "h=0&w=500", "w=0500", "w=250&dpr=2", "w=500&gravity=smart", "w=500&dpr=1", "dpr=2&w=250", "w=500&fit=scale-down"},
		{"w=500&fit=inside", "w=500&fit=cover", "w=500&fit=contain", "w=500&fit=fill", "w=500&fit=outside", "w=500&fit=cover&gravity=north"},
		{"w=500&h=300&fit=cover", "fit=cover&h=300&w=500", "w=500&h=300&fit=cover&gravity=center", "w=500&h=300&fit=cover&gravity=0.5,0.50", "w=250&h=150&dpr=2&fit=cover"},
		{"w=500&h=300&fit=cover&gravity=north", "w=500&h=300&fit=cover&gravity=0.5,0"},
		{"w=5&h=3&fit=cover&gravity=0%2C0.3333", "w=5&h=3&fit=cover&gravity=-0,0.33333", "w=5&h=3&fit=cover&gravity=0,.33331"},
		{"w=5&h=3&fit=contain", "w=5&h=3&fit=contain&gravity=smart", "w=5&h=3&fit=contain&gravity=center"},
		{"w=16384&h=8192&fit=fill", "w=16384&h=8192&fit=fill&dpr=2", "w=8192&h=4096&fit=fill&dpr=8"},
		{"w=1", "w=1&dpr=0.1", "w=4&dpr=0.3"},
		{"crop=1%2C2%2C3%2C4", "crop=1,2,3,4", "crop=01,2,3,4"},
		{"rot=270", "rot=-90", "rot=270"},
		{"flip=hv", "flip=vh"},
		{"trim=10", "trim=", "trim"},
		{"pad=4096", "pad=4096&dpr=8", "pad=512&dpr=8"},
		{"pad=1", "pad=1,1", "pad=1,1,1,1"},
		{"pad=1%2C2", "pad=1,2", "pad=1,2,1,2"},
		{"bg=ffffff", "bg=fff", "bg=%23FFF", "bg=white", "bg=ffff", "bg=FFFFFFFF"},
		{"bg=00000000", "bg=transparent", "bg=0000"},
		{"blur=1.5", "blur=1.50000001", "blur=15e-1"},
		{"bright=0", "bright=-0", "bright=0.0", "bright=0.00001"},
		{"gray=1", "gray", "gray=true", "gray=1&sat=2", "gray=on"},
		{"watermark=a%2Fb.png", "watermark=a/b.png", "watermark=a/b.png&wm_gravity=southeast&wm_scale=0.25&wm_opacity=1&wm_margin=0&wm_tile=0", "watermark=a/b.png&wm_gravity=1,1"},
		{"watermark=a&wm_margin=20", "watermark=a&wm_margin=10&dpr=2"},
		{"text=a+b", "text=a%20b&text_size=32&text_color=fff&text_gravity=southeast&text_opacity=1"},
		{"text=a&text_size=64", "text=a&dpr=2", "text=a&text_size=32&dpr=2"},
		{"text=a&text_size=4", "text=a&text_size=4&dpr=0.1", "text=a&dpr=0.1"},
		{"format=jpeg", "format=jpg", "format=jpeg&q=auto"},
		{"format=auto", "format=webp&format=auto"},
		{"format=webp&lossless=1", "format=webp&lossless=1&q=50", "lossless&format=webp"},
		{"anim=0", "anim=no"},
		{"strip=0", "strip=off"},
	}
	seen := make(map[string]bool)
	for _, same := range tests {
		if seen[same[0]] {
			t.Errorf("two lines for %q", same[0])
		}
		seen[same[0]] = true
		for _, query := range same {
			o := parse(t, query).Normalize()
			if got := o.Canonical(); got != same[0] {
				t.Errorf("%q is %q; want %q", query, got, same[0])
			}
			if o.Identity() != (same[0] == "") {
				t.Errorf("%q: identity is %t", query, o.Identity())
			}
		}
	}
}

func TestOptionsThatDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, query := range []string{
		"w=500", "h=500", "w=500&fit=inside", "w=500&h=500", "w=500&h=500&fit=cover", "w=500&h=500&fit=contain", "w=500&h=500&fit=fill",
		"w=500&h=500&fit=cover&gravity=smart", "w=500&h=500&fit=cover&gravity=west", "crop=0,0,500,500", "rot=90", "rot=180", "flip=h", "flip=v", "flip=hv",
		"pad=1", "pad=1,0", "bg=fff", "bg=fffe", "blur=1", "sharp=1", "bright=2", "contrast=2", "sat=2", "gray=1", "sat=0",
		"watermark=a", "text=a", "watermark=a&wm_opacity=0", "format=jpeg", "format=auto", "q=80", "format=webp&q=80", "page=1", "anim=0", "strip=0",
	} {
		canonical := parse(t, query).Normalize().Canonical()
		if other, taken := seen[canonical]; taken {
			t.Errorf("%q and %q are both %q", other, query, canonical)
		}
		seen[canonical] = query
	}
}

func TestWatermarkDigestStandsForTheKey(t *testing.T) {
	t.Parallel()
	o := parse(t, "watermark=logo.png").Normalize()
	o.Watermark.Key, o.Watermark.Digest = "", "00ff"
	if got := o.Normalize().Canonical(); got != "watermark=00ff" {
		t.Errorf("%q", got)
	}
}

func TestNormalizeLeavesItsReceiver(t *testing.T) {
	t.Parallel()
	o, again := parse(t, "w=10&dpr=2&bright=1&gravity=center&text=a"), parse(t, "w=10&dpr=2&bright=1&gravity=center&text=a")
	o.Normalize()
	if !reflect.DeepEqual(o, again) {
		t.Errorf("%+v was changed", o)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for query, part := range map[string]string{
		"w=%zz": "w: the value is not properly escaped", "x=1": `unknown parameter "x"`, "w=1&h=-1": "h: expected a whole number from 0 to 16384",
		"W=1": `unknown parameter "W"`, "=1": `unknown parameter ""`, "w": "w: expected", "w=1;h=2": "w: expected",
	} {
		if _, err := options.Parse(query); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v; want Invalid with %q", query, err, part)
		}
	}
}
