package origin

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"safelight/internal/fault"
)

func guardOf(t testing.TB, change func(*Config)) *guard {
	t.Helper()
	c := DefaultConfig()
	c.Hosts = []string{"*"}
	if change != nil {
		change(&c)
	}
	g, err := newGuard(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestClean(t *testing.T) {
	t.Parallel()
	g := guardOf(t, func(c *Config) { c.Ports = []int{8443} })
	for raw, want := range map[string]string{
		"https://example.com/a.jpg":          "https://example.com/a.jpg",
		"HTTPS://EXAMPLE.com":                "https://example.com/",
		"https://example.com:443/a":          "https://example.com/a",
		"http://example.com:80/a":            "http://example.com/a",
		"http://example.com:443/a":           "http://example.com:443/a",
		"https://example.com:8443/a?b=c#d":   "https://example.com:8443/a?b=c",
		"https://example.com:/a":             "https://example.com/a",
		"https://bücher.example/ü.jpg?ü=1":   "https://xn--bcher-kva.example/%C3%BC.jpg?%C3%BC=1",
		"https://BÜCHER.example/":            "https://xn--bcher-kva.example/",
		"https://ｅｘａｍｐｌｅ.com/":               "https://example.com/",
		"https://example。com/":               "https://example.com/",
		"https://a_b.example.com/%2f%41?x=%": "https://a_b.example.com/%2f%41?x=%",
		"http://8.8.8.8/x":                   "http://8.8.8.8/x",
		"http://[2606:4700:0::1111]/":        "http://[2606:4700::1111]/",
		"http://1e100.net/":                  "http://1e100.net/",
		"http://0x7f.example/":               "http://0x7f.example/",
	} {
		u, err := g.clean(raw)
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v; want %s", raw, u, err, want)
		}
	}
}

func TestCleanRefuses(t *testing.T) {
	t.Parallel()
	g := guardOf(t, nil)
	for _, raw := range []string{
		"", "example.com", "//example.com/a", "/a", "https:", "https://", "https:///a", "https:example.com", "https://:80/", "https://?a", "https://#a",
		"ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "data:image/png;base64,AA", "javascript:1", "unix:///run/x.sock",
		"https://user@example.com/", "https://user:pass@example.com/", "https://@example.com/", "https://:@example.com/", "https://example.com@127.0.0.1/", "https://a@b@c.example/",
		"https://example.com./", "https://.example.com/", "https://a..example.com/", "https://./", "https://example.com\\@evil.example/", "https:\\\\example.com/",
		" https://example.com/", "https://example.com/ a", "https://exa\tmple.com/", "https://example.com/\n", "https://example.com/\x00", "https://example.com/\xff", "https://exam\u00a0ple.com/",
		"http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://0x7f000001/", "http://2130706433/", "http://017700000001/", "http://127.1/", "http://127.0.1/", "http://0/", "http://127.0.0.1./",
		"http://127.0.0.01/", "http://1.2.3.4.5/", "http://999.1.1.1/", "http://1.2.3.256/", "http://example.0x1/", "http://example.1/", "http://0x/", "http://a.0x/", "http://0X7F000001/",
		"http://１２７.0.0.1/", "http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://１２７.１/", "http://0ⅹ7f.1/", "http://%31%32%37.0.0.1/", "http://%38.8.8.8/", "http://1.0.0.0%8000", "http://example%2ecom/", "http://example.com%00/", "http://127.0.0.1%2f@example.com/",
		"http://[fe80::1%25eth0]/", "http://[::1%25lo]/", "http://[2606:4700::1111%2525x]/", "http://[::ffff:8.8.8.8]/", "http://[8.8.8.8]/", "http://[example.com]/", "http://[]/", "http://[::1/", "http://::1/",
		"http://2606:4700::1111/", "http://[v1.x]/",
		"http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/", "http://example.com:+80/", "http://example.com:080x/", "http://example.com:22/", "http://example.com:6379/", "http://example.com:80:80/",
		"http://exa mple.com/", "http://exa<mple.com/", "http://exa*mple.com/", "http://a,b.example/", "http://xn--a.example/", "http://\u202eexample.com/", "http://" + strings.Repeat("a", 64) + ".example/",
		"http://" + strings.Repeat("a.", 130) + "example/", "https://example.com/" + strings.Repeat("a", 5000),
		"http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/",
	} {
		u, err := g.clean(raw)
		if k := fault.Of(err); k != fault.Invalid && k != fault.Denied {
			t.Errorf("%.200q: %v, %v", raw, u, err)
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		hosts []string
		url   string
		want  bool
	}{
		{nil, "https://example.com/", false},
		{[]string{"example.com"}, "https://example.com/", true},
		{[]string{"Example.COM"}, "https://EXAMPLE.com/", true},
		{[]string{"example.com"}, "https://a.example.com/", false},
		{[]string{"example.com"}, "https://badexample.com/", false},
		{[]string{"*.example.com"}, "https://a.example.com/", true},
		{[]string{"*.example.com"}, "https://a.b.example.com/", true},
		{[]string{"*.example.com"}, "https://example.com/", false},
		{[]string{"*.example.com"}, "https://badexample.com/", false},
		{[]string{"*.example.com"}, "https://example.com.evil.example/", false},
		{[]string{"*.bücher.example"}, "https://a.xn--bcher-kva.example/", true},
		{[]string{"a.example", "b.example"}, "https://b.example/", true},
		{[]string{"8.8.8.8"}, "https://8.8.8.8/", true},
		{[]string{"8.8.8.8"}, "https://8.8.4.4/", false},
		{[]string{"[2606:4700::1111]"}, "https://[2606:4700:0::1111]/", true},
		{[]string{"*"}, "https://example.com/", true},
		{[]string{"*"}, "https://10.0.0.1/", false},
		{[]string{"10.0.0.1"}, "https://10.0.0.1/", false},
	}
	for _, c := range tests {
		_, err := guardOf(t, func(config *Config) { config.Hosts = c.hosts }).clean(c.url)
		if (err == nil) != c.want || err != nil && fault.Of(err) != fault.Denied {
			t.Errorf("%v, %s: %v", c.hosts, c.url, err)
		}
	}
	if _, err := guardOf(t, func(c *Config) { c.Schemes = []string{"https"} }).clean("http://example.com/"); fault.Of(err) != fault.Denied {
		t.Errorf("a scheme that is not on the list: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"remote.hosts":         func(c *Config) { c.Hosts = []string{"https://example.com"} },
		"a*.example.com":       func(c *Config) { c.Hosts = []string{"a*.example.com"} },
		"*.8.8.8.8":            func(c *Config) { c.Hosts = []string{"*.8.8.8.8"} },
		"**":                   func(c *Config) { c.Hosts = []string{"**"} },
		"remote.schemes":       func(c *Config) { c.Schemes = []string{"ftp"} },
		"remote.ports":         func(c *Config) { c.Ports = []int{0} },
		"remote.allow_private": func(c *Config) { c.AllowPrivate = []string{"10.0.0.1"} },
		"::ffff:0:0/96":        func(c *Config) { c.AllowPrivate = []string{"::ffff:0:0/96"} },
		"remote.redirects":     func(c *Config) { c.Redirects = -1 },
		"remote.timeout":       func(c *Config) { c.Timeout = 0 },
		"remote.stall":         func(c *Config) { c.Stall = -1 },
		"remote.concurrency":   func(c *Config) { c.Concurrency = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzClean: what is accepted has one spelling, and no host that anything could
// read as another.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"https://example.com/a?b#c", "http://127.1", "http://[::1]:80/", "https://bücher.example/ü", "http://user@a/", "http://１２７.0.0.1/", "http://8.8.8.8:8080/%zz"} {
		f.Add(s)
	}
	g := guardOf(f, func(c *Config) { c.Ports, c.AllowPrivate = []int{8080}, []string{"10.0.0.0/8"} })
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := g.clean(raw)
		if err != nil {
			if k := fault.Of(err); k != fault.Invalid && k != fault.Denied {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		text := u.String()
		again, err := g.clean(text)
		if err != nil && fault.As(err).Limit == "" { // what is escaped may grow over the limit
			t.Fatalf("%q became %q, which is refused: %v", raw, text, err)
		}
		if err == nil && again.String() != text {
			t.Fatalf("%q became %q and then %q", raw, text, again)
		}
		parsed, err := url.Parse(text)
		if err != nil || parsed.User != nil || parsed.Fragment != "" || parsed.Host != u.Host || !slices.Contains([]string{"http", "https"}, parsed.Scheme) {
			t.Fatalf("%q became %q: %v", raw, text, err)
		}
		host := u.Hostname()
		if a, err := netip.ParseAddr(host); err == nil {
			if !g.admits(a) || a.Zone() != "" {
				t.Fatalf("%q leads to %s", raw, a)
			}
		} else if !plainName(host) {
			t.Fatalf("%q leads to %q", raw, host)
		}
	})
}
