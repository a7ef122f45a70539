package asset_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/format"
)

func TestCheckKey(t *testing.T) {
	t.Parallel()
	good := []string{
		"a", "a.jpg", "a/b/c.jpg", "…", "ä.png", "日本/語.webp", "-x", ".hidden", "~a", "CON", "con.txt", "a b", " a", "a.", "a ",
		"..a", "a..", "...", "a/.../b", "a:b", "a?b#c%2f", "$(x)", "'\"<>|*&;", "😀.gif", strings.Repeat("k", asset.MaxKeyBytes),
	}
	for _, key := range good {
		if err := asset.CheckKey(key); err != nil {
			t.Errorf("%.40q: %v", key, err)
		}
	}
	bad := map[string]string{
		"": "empty", "/": "segment", "/a": "segment", "a/": "segment", "a//b": "segment", ".": "segment", "..": "segment",
		"a/../b": "segment", "../a": "segment", "a/.": "segment", "a\x00b": "U+0000", "a\r\nb": "U+000D", "a\tb": "U+0009",
		"a\x7f": "U+007F", "a\u0085b": "U+0085", `a\b`: "U+005C", "a\u202egpj.exe": "U+202E", "a\u200bb": "U+200B", "\ufeffa": "U+FEFF",
		"a\u2028b": "U+2028", "a\u2029b": "U+2029", "a\ufffdb": "U+FFFD", "a\xffb": "UTF-8", "\xed\xa0\x80": "UTF-8", "e\u0301.jpg": "normal form C",
		"\u212b": "normal form C", strings.Repeat("k", asset.MaxKeyBytes+1): "limit is 1024", strings.Repeat("../", 2000): "limit is 1024",
	}
	for key, part := range bad {
		err := asset.CheckKey(key)
		if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), part) {
			t.Errorf("%.40q: %v; want Invalid with %q", key, err, part)
		}
	}
}

func TestCleanName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 4096)
	tests := []struct{ in, want string }{
		{"", ""}, {".", ""}, {"..", ""}, {"/", ""}, {"///", ""}, {"...", ""}, {" . - ~ ", ""}, {"\x00", ""}, {"\xff\xfe", ""},
		{"a.jpg", "a.jpg"}, {"A B.JPG", "A B.JPG"}, {"dir/a.jpg", "a.jpg"}, {"/etc/passwd", "passwd"}, {"../../a.jpg", "a.jpg"},
		{`C:\Users\me\a.jpg`, "a.jpg"}, {`..\..\a.jpg`, "a.jpg"}, {"a/", "a"}, {`a\`, "a"}, {"a/..", ""},
		{"-rf.jpg", "rf.jpg"}, {".htaccess", "htaccess"}, {"~root", "root"}, {"--- ...a", "a"}, {". . a", "a"}, {"\u00a0.\u00a0a", "a"},
		{"a\x00.jpg", "a.jpg"}, {"a\r\nb.jpg", "ab.jpg"}, {"gpj\u202egnp.exe", "gpjgnp.exe"}, {"a\u200d.jpg", "a.jpg"},
		{"e\u0301.jpg", "\u00e9.jpg"}, {"e\u200d\u0301.jpg", "\u00e9.jpg"}, {"\u212b", "\u00c5"},
		{"CON", "CON"}, {"nul.jpg", "nul.jpg"}, {"a.", "a"}, {"a. . .", "a"}, {"a \u3000", "a"}, {"a.jpg ", "a.jpg"}, {"a\ufffdb", "ab"},
		{"日本語.png", "日本語.png"}, {"a.tar.gz", "a.tar.gz"},
		{long + ".jpg", long[:251] + ".jpg"}, {long, long[:255]}, {"a." + long, ("a." + long)[:255]},
		{strings.Repeat("é", 300) + ".jpeg", strings.Repeat("é", 125) + ".jpeg"},
		{long[:253] + ".jpg", long[:251] + ".jpg"}, {long[:255] + " . " + long, long[:255]}, {long[:253] + " . " + long, long[:253]}, {long[:250] + "     " + long, long[:250]},
	}
	for _, c := range tests {
		got := asset.CleanName(c.in)
		if got != c.want {
			t.Errorf("%.60q became %.60q (%d bytes); want %.60q (%d)", c.in, got, len(got), c.want, len(c.want))
		}
		checkClean(t, c.in)
	}
}

func checkClean(t testing.TB, in string) {
	t.Helper()
	got := asset.CleanName(in)
	if got == "" {
		return
	}
	switch {
	case asset.CheckKey(got) != nil:
		t.Fatalf("%q became %q, which is no key: %v", in, got, asset.CheckKey(got))
	case strings.ContainsAny(got, `/\`), len(got) > asset.MaxNameBytes, strings.ContainsRune(".-~ ", rune(got[0])), strings.HasSuffix(got, "."), got != strings.TrimSpace(got):
		t.Fatalf("%q became %q", in, got)
	case asset.CleanName(got) != got:
		t.Fatalf("%q became %q, and then %q", in, got, asset.CleanName(got))
	}
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a.jpg", `..\a/..b `, "e\u200d\u0301.\u202e", "\u00a0.\u3000-", strings.Repeat("é", 130) + ". x", "=\u200b\u0338"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, s) })
}

func FuzzCheckKey(f *testing.F) {
	for _, s := range []string{"a/b.jpg", "a/../b", "\u202e", "e\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if err := asset.CheckKey(key); err != nil {
			if fault.Of(err) != fault.Invalid || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q: %v", key, err)
			}
			return
		}
		if key == "" || len(key) > asset.MaxKeyBytes || !utf8.ValidString(key) || strings.ContainsAny(key, "\\\x00\r\n") || strings.HasPrefix(key, "/") {
			t.Fatalf("%q is taken", key)
		}
		for segment := range strings.SplitSeq(key, "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Fatalf("%q is taken", key)
			}
		}
	})
}

func TestKeyCandidates(t *testing.T) {
	t.Parallel()
	id := mint.New(time.Now())
	src := asset.Source{Digest: asset.Digest{0xab, 0xcd, 0xef, 0x01}, Header: format.Header{Format: format.WebP}}
	tests := []struct{ prefix, name, first, second string }{
		{"", "a.jpg", "a.jpg", "a~abcdef01.jpg"},
		{"x/y/", "a.jpg", "x/y/a.jpg", "x/y/a~abcdef01.jpg"},
		{"", "a", "a.webp", "a~abcdef01.webp"},
		{"", "", "image.webp", "image~abcdef01.webp"},
		{"", "a.tar.gz", "a.tar.gz", "a.tar~abcdef01.gz"},
		{"", "holiday.a long sentence, no ending", "holiday.a long sentence, no ending.webp", "holiday.a long sentence, no ending~abcdef01.webp"},
	}
	for _, c := range tests {
		got := asset.KeyCandidates(c.prefix, c.name, src, id)
		if len(got) != 3 || got[0] != c.first || got[1] != c.second || !strings.Contains(got[2], id.String()) {
			t.Errorf("%q, %q: %q", c.prefix, c.name, got)
		}
	}
}

func TestKeyCandidatesAreKeys(t *testing.T) {
	t.Parallel()
	id := mint.New(time.Now())
	rapid.Check(t, func(t *rapid.T) {
		prefix := ""
		if n := rapid.IntRange(0, asset.MaxPrefixBytes).Draw(t, "prefix"); n > 1 {
			prefix = strings.Repeat("p", n-1) + "/"
		}
		name := asset.CleanName(rapid.OneOf(rapid.String(), rapid.StringN(200, 5000, -1), rapid.StringMatching(`[é.a ]{0,300}\.[a-z]{0,40}`)).Draw(t, "name"))
		src := asset.Source{Header: format.Header{Format: rapid.SampledFrom(format.All()).Draw(t, "format")}}
		seen := make(map[string]bool)
		for _, key := range asset.KeyCandidates(prefix, name, src, id) {
			if err := asset.CheckKey(key); err != nil {
				t.Fatalf("%q: %v", key, err)
			}
			if rest, ok := strings.CutPrefix(key, prefix); !ok || seen[key] || strings.Contains(rest, "/") {
				t.Fatalf("%q after %d bytes of prefix", key, len(prefix))
			}
			seen[key] = true
		}
	})
}
