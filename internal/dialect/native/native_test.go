package native_test

import (
	"bufio"
	"os"
	"reflect"
	"strings"
	"testing"

	"safelight/internal/dialect/native"
	"safelight/internal/fault"
)

var presets = native.Presets{
	"small":  "w=100&h=100&fit=cover&q=60",
	"hero":   "w=1920&h=1080&fit=cover&gravity=smart&format=webp",
	"marked": "watermark=logo%2Fa.png&wm_opacity=0.5",
	"broken": "w=wide",
	"a b&c":  "gray=1",
}

// TestFixtures reads testdata/*.txt: a query, a tab, and the canonical options
// or, after "error: ", a part of the message. Lines that begin with # say why.
func TestFixtures(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"testdata/options.txt", "testdata/presets.txt", "testdata/escaping.txt"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines, n := bufio.NewScanner(f), 0
		for lines.Scan() {
			n++
			if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
				query, want, ok := strings.Cut(line, "\t")
				if !ok {
					t.Fatalf("%s:%d: no tab", name, n)
				}
				t.Logf("%s:%d", name, n)
				checkFixture(t, query, strings.TrimLeft(want, "\t"))
			}
		}
		if err := lines.Err(); err != nil || n == 0 {
			t.Fatalf("%s: %d lines, %v", name, n, err)
		}
	}
}

func checkFixture(t *testing.T, query, want string) {
	t.Helper()
	req, err := native.Parse(query, presets)
	if part, bad := strings.CutPrefix(want, "error: "); bad {
		if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v; want Invalid with %q", query, err, part)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return
	}
	if want == "original" {
		want = ""
	}
	if got := req.Options.Canonical(); got != want || req.Original() != (want == "") {
		t.Errorf("%s is %q, original %t; want %q", query, got, req.Original(), want)
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query, name string
		attach      bool
	}{
		{"", "", false}, {"w=1", "", false}, {"dl", "", true}, {"dl=", "", true}, {"dl=a+b.jpg&w=1", "a b.jpg", true}, {"dl=..%2F%00", "../\x00", true},
	}
	for _, c := range tests {
		req, err := native.Parse(c.query, nil)
		if err != nil || req.Download != c.name || req.Attach != c.attach {
			t.Errorf("%q: %q, %t, %v; want %q, %t", c.query, req.Download, req.Attach, err, c.name, c.attach)
		}
	}
}

func TestLongQuery(t *testing.T) {
	t.Parallel()
	fits := "v=" + strings.Repeat("x", 4094)
	if _, err := native.Parse(fits, nil); err != nil {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
	_, err := native.Parse(fits+"x", nil)
	if e := fault.As(err); fault.Of(err) != fault.Invalid || e.Max != 4096 || e.Got != 4097 {
		t.Errorf("one byte more: %v", err)
	}
}

func TestNoPresets(t *testing.T) {
	t.Parallel()
	if _, err := native.Parse("preset=small", nil); fault.Of(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"w=500&fit=cover", "preset=small&q=80", "dl=%2e%2e&v=1&utm_x", "w=%zz", "preset=a+b%26c", "w=1;h=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		req, err := native.Parse(query, presets)
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		back, err := native.Parse(req.Options.Canonical(), nil)
		if err != nil && fault.As(err).Limit == "" { // what is escaped may grow over the limit
			t.Fatalf("%q came to %q: %v", query, req.Options.Canonical(), err)
		}
		if err == nil && !reflect.DeepEqual(back.Options, req.Options) {
			t.Fatalf("%q came to %q, and then to %q", query, req.Options.Canonical(), back.Options.Canonical())
		}
	})
}
