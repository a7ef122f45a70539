package publish

import (
	"io/fs"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
)

var mint = asset.NewMint([]byte("0123456789abcdef"))

func sample() asset.Image {
	at := time.Date(2026, 3, 4, 23, 5, 6, 0, time.FixedZone("x", -2*3600)) // the 5th in UTC
	return asset.Image{
		ID: asset.ID{1, 2, 3}, Owner: "main", Name: "Ärger 1.JPG", Category: "cats/small", Created: at,
		Source: asset.Source{Digest: asset.Digest{0xab, 0xcd, 0xef, 1}},
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	img := sample()
	long := img
	long.Name, long.Category, long.Owner = strings.Repeat("é", 127)+".jpg", strings.Repeat("c", 2000), strings.Repeat("o", 300)
	bare := asset.Image{Name: "..", Source: img.Source}
	odd := img
	odd.Category, odd.Owner, odd.Name = "../a//./b\x00\\\u202e/", "a/../b", "x.a long sentence, no ending"
	id := img.ID.String()
	for _, c := range []struct {
		text   string
		img    asset.Image
		preset string
		want   string
	}{
		{DefaultName, img, "thumb", "2026/03/05/" + id + "/thumb.webp"},
		{DefaultName, img, "", "2026/03/05/" + id + "/original.webp"},
		{"{category}/{name}-{sha8}.{ext}", img, "thumb", "cats/small/Ärger 1-abcdef01.webp"},
		{"{owner}/{sha256}", img, "", "main/" + img.Source.Digest.String()},
		{"{category}/{name}.{ext}", bare, "", "image.webp"},
		{"x{category}/{id}", bare, "", "x/" + bare.ID.String()},
		{"{category}./{id}", bare, "", "_/" + bare.ID.String()},
		{"{id}/{category}", bare, "", bare.ID.String()},
		{"{category}/{owner}/{name}", odd, "", "__/a/_/b/a-..-b/x.a long sentence, no ending"},
		{"{preset}/{id}", img, "a/b", "a-b/" + id},
		{"{preset}/{id}", img, "tmp", "tmp_/" + id},
		{"a/{preset}/{id}", img, "tmp", "a/tmp/" + id},
		{"{name}-{id}.{ext}", long, "", strings.Repeat("é", 111) + "-" + id + ".webp"}, // 255 or one less
		{"{owner}{name}/{id}", long, "", strings.Repeat("o", 255) + "/" + id},
	} {
		tpl, err := parseTemplate(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := tpl.name(c.img, c.preset, format.WebP); got != c.want {
			t.Errorf("%s became\n%q, expected\n%q", c.text, got, c.want)
		}
	}
	tpl, err := parseTemplate("{category}/{owner}/{name}/{id}.{ext}")
	if err != nil {
		t.Fatal(err)
	}
	long.Category = strings.Repeat(strings.Repeat("c", 200)+"/", 10)
	got := tpl.name(long, "", format.JPEG)
	checkObject(t, got)
	if !strings.HasSuffix(got, "/"+id+".jpg") || len(got) < 1000 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestBadTemplates(t *testing.T) {
	t.Parallel()
	for text, part := range map[string]string{
		"":                                "segment",
		"/{id}":                           "segment",
		"{id}/":                           "segment",
		"a//{id}":                         "segment",
		"../{id}":                         "segment",
		"./{id}":                          "segment",
		"{id":                             "without a }",
		"id}":                             "without a {",
		"{id}}":                           "without a {",
		"{hash}/{id}":                     "{category} {dd} {ext} {id} {mm} {name} {owner} {preset} {sha256} {sha8} {yyyy}",
		"{}{id}":                          "no placeholder",
		"{ID}":                            "no placeholder",
		"{{id}}":                          "no placeholder",
		"{yyyy}/{preset}.{ext}":           "same name",
		"a\\{id}":                         "backslashes",
		"\x00{id}":                        "control",
		"\xff{id}":                        "UTF-8",
		strings.Repeat("a", 175) + "{id}": "too long",
		strings.Repeat(strings.Repeat("a", 99)+"/", 8) + "{id}": "too long",
	} {
		_, err := parseTemplate(text)
		if fault.Of(err) != fault.Invalid || err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%.40q: %v; want Invalid with %q", text, err, part)
		}
	}
}

// checkObject holds a name against what every destination takes.
func checkObject(t interface{ Fatalf(string, ...any) }, name string) {
	ok := fs.ValidPath(name) && name != "." && len(name) <= 1024 && utf8.ValidString(name)
	for segment := range strings.SplitSeq(name, "/") {
		ok = ok && len(segment) <= 255
	}
	if !ok || strings.HasPrefix(name, "tmp/") || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
		t.Fatalf("%q (%d bytes) is no safe name", name, len(name))
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(DefaultName, "a.jpg", "cats", "thumb", "main")
	f.Add("{category}{category}{name}/{owner}{preset}{sha256}", "..", "../..", "/", "tmp")
	f.Add("tmp/{id}", "\xff", "\u202e", ".", "..")
	f.Add("{category}.{category}/{name}", ".", "", "{id}", "}")
	f.Fuzz(func(t *testing.T, text, name, category, preset, owner string) {
		tpl, err := parseTemplate(text)
		if err != nil {
			if fault.Of(err) != fault.Invalid || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		img := sample()
		img.Name, img.Category, img.Owner = name, category, owner
		checkObject(t, tpl.name(img, preset, format.PNG))
	})
}

func TestTemplateProperties(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.StringN(0, 600, -1), rapid.StringMatching(`[é./ ]{0,700}`))
	segment := rapid.StringMatching(`(\{(category|name|owner|preset|yyyy|mm|dd|sha8|ext)\}|[a-zé._-]){1,8}`)
	rapid.Check(t, func(t *rapid.T) {
		layout := strings.Join(rapid.SliceOfN(segment, 0, 5).Draw(t, "segments"), "/") + "/{id}-{preset}.{ext}"
		tpl, err := parseTemplate(strings.TrimPrefix(layout, "/"))
		if err != nil {
			t.Skip(err)
		}
		img := sample()
		img.Name, img.Category, img.Owner = text.Draw(t, "name"), text.Draw(t, "category"), text.Draw(t, "owner")
		first := tpl.name(img, "a", format.JPEG)
		checkObject(t, first)
		other := img
		other.ID = mint.New(time.Now())
		for _, second := range []string{tpl.name(other, "a", format.JPEG), tpl.name(img, "b", format.JPEG), tpl.name(img, "", format.JPEG)} {
			if checkObject(t, second); first == second {
				t.Fatalf("two objects have the name %q", first)
			}
		}
		if again := tpl.name(img, "a", format.JPEG); again != first {
			t.Fatalf("%q became %q", first, again)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	no := false
	good := Destination{URL: "file:///srv/x"}
	for _, c := range []struct {
		name    string
		d       Destination
		presets []string
		want    string
	}{
		{"archive-2", good, []string{"thumb"}, ""},
		{"archive", Destination{URL: "s3://bucket/prefix?region=x", Name: "{id}"}, nil, ""},
		{"archive", Destination{URL: "s3://bucket"}, nil, ""},
		{"archive", Destination{URL: "s3:///prefix"}, nil, "bucket"},
		{"archive", Destination{URL: "s3://key:password@bucket"}, nil, "environment"},
		{"archive", Destination{URL: "ftp://bucket/prefix"}, nil, "there are file://, s3://"},
		{"archive", Destination{URL: good.URL, Name: "{id}"}, []string{"thumb"}, "needs {preset}"},
		{"archive", Destination{URL: good.URL, Name: "{preset}"}, nil, "same name"},
		{"archive", good, []string{"original"}, "rename it"},
		{"archive", Destination{URL: good.URL, Sources: &no}, []string{"original"}, ""},
		{"Archive", good, nil, "lower-case"},
		{"", good, nil, "1 to 64"},
		{"archive", Destination{}, nil, "url"},
		{"archive", Destination{URL: "/srv/x"}, nil, "url"},
		{"archive", Destination{URL: "file://srv/x"}, nil, "three slashes"},
		{"archive", Destination{URL: "file:///"}, nil, "three slashes"},
		{"archive", Destination{URL: "s3://me:pass\x00word@x"}, nil, "url"},
	} {
		err := Config{Destinations: map[string]Destination{c.name: c.d}}.Validate(c.presets...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "word")) {
			t.Errorf("%s %+v: %v; want %q", c.name, c.d, err, c.want)
		}
	}
	if err := DefaultConfig().Validate("thumb"); err != nil {
		t.Error(err)
	}
}

func TestCheckPlaces(t *testing.T) {
	t.Parallel()
	at := func(dirs ...string) Config {
		c := DefaultConfig()
		for i, dir := range dirs {
			if !strings.Contains(dir, "://") {
				dir = "file://" + dir
			}
			c.Destinations[string(rune('a'+i))] = Destination{URL: dir}
		}
		return c
	}
	for _, c := range []struct {
		dirs []string
		bad  bool
	}{
		{nil, false},
		{[]string{"/srv/published", "/srv/other", "/data2"}, false},
		{[]string{"/data"}, true},
		{[]string{"/data/cache"}, true},
		{[]string{"/data/../data/x/"}, true},
		{[]string{"/"}, true},
		{[]string{"/srv/a", "/srv/a/b"}, true},
		{[]string{"/srv/a/b", "/srv/a"}, true},
		{[]string{"/srv/a", "/srv/a"}, true},
		{[]string{"/srv/a", "/srv/ab"}, false},
		{[]string{"/bucket/a", "s3://bucket/a", "s3://bucket/b", "s3://bucket2", "gs://bucket"}, false},
		{[]string{"s3://bucket/a", "s3://bucket/a"}, true},
		{[]string{"s3://bucket/a/", "s3://bucket/a/b?region=x"}, true},
		{[]string{"s3://bucket/a/b", "s3://bucket"}, true},
		{[]string{"s3://bucket/a", "s3://bucket/ab"}, false},
		{[]string{"s3://bucket/a?endpoint=http://one:9000", "s3://bucket/a?endpoint=http://two:9000"}, false},
		{[]string{"s3://bucket/a?endpoint=http://one:9000", "s3://bucket/a?endpoint=http://ONE:9000/"}, true},
		{[]string{"s3://bucket/a?endpoint=https://s3.eu-west-1.amazonaws.com", "s3://bucket/a?region=eu-west-1"}, true},
		{[]string{"azblob://c/a?account=one", "azblob://c/a?account=two"}, false},
	} {
		if err := at(c.dirs...).CheckPlaces(Place{"the data directory", "/data"}); (err != nil) != c.bad {
			t.Errorf("%v: %v", c.dirs, err)
		}
	}
}
