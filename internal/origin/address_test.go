package origin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"safelight/internal/fault"
)

// forbidden are addresses that must never be connected to.
var forbidden = []string{
	"0.0.0.0", "0.1.2.3", "0.255.255.255",
	"10.0.0.0", "10.0.0.1", "10.255.255.255",
	"100.64.0.0", "100.100.100.200", "100.127.255.255",
	"127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.255",
	"169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.255.255",
	"172.16.0.0", "172.20.1.1", "172.31.255.255",
	"192.0.0.0", "192.0.0.170", "192.0.0.192", "192.0.0.255",
	"192.0.2.1", "198.51.100.7", "203.0.113.9",
	"192.88.99.1", "192.168.0.1", "192.168.255.255",
	"198.18.0.1", "198.19.255.255",
	"224.0.0.1", "232.1.1.1", "239.255.255.255",
	"240.0.0.1", "250.1.2.3", "255.255.255.254", "255.255.255.255",
	"168.63.129.16",
	"::", "::1", "::2", "::127.0.0.1", "::169.254.169.254", "::8.8.8.8",
	"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:192.168.1.1",
	"::ffff:0:127.0.0.1",
	"64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1:ffff::10.0.0.1",
	"100::", "100::1", "100:0:0:1::1",
	"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:1::1", "2001:2::1", "2001:10::1", "2001:1f:ffff::1", "2001:20::1", "2001:2f::1", "2001:30::1", "2001:1ff:ffff::1",
	"2001:db8::1", "2001:db8:ffff::1",
	"2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1",
	"3ffe::1", "3fff::1", "3fff:fff::1",
	"4000::1", "5f00::1", "8000::1", "fbff::1",
	"fc00::1", "fd00::1", "fd00:ec2::254", "fdff:ffff::1",
	"fe80::1", "fe80::a9fe:a9fe", "febf::1", "fec0::1", "feff::1",
	"ff00::1", "ff02::1", "ff05::2", "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
}

func TestPublic(t *testing.T) {
	t.Parallel()
	if len(forbidden) < 60 {
		t.Errorf("only %d addresses", len(forbidden))
	}
	for _, text := range forbidden {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s counts as public", text)
		}
	}
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.1.1", "172.15.255.255", "172.32.0.0",
		"192.0.1.0", "192.167.1.1", "192.169.0.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15",
		"2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00:1450:4001::1", "3ffd::1", "::ffff:8.8.8.8",
	} {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("%s does not count as public", text)
		}
	}
	if public(netip.Addr{}) || public(netip.MustParseAddr("2a00::1%eth0")) {
		t.Error("no address, or one with a zone, counts as public")
	}
}

func literal(text string) string {
	if strings.Contains(text, ":") {
		return "[" + text + "]"
	}
	return text
}

// TestForbidden tries each address in every way that a stranger has: not one
// connection may be attempted to it.
func TestForbidden(t *testing.T) {
	t.Parallel()
	var target string
	b := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusFound)
	}, nil)
	check := func(t *testing.T, address, what, u string, dials int) {
		t.Helper()
		_, err := b.get(u)
		if k := fault.Of(err); k != fault.Denied && k != fault.Invalid {
			t.Errorf("%s %s: %v", address, what, err)
		}
		if e := fault.As(err); e != nil && !strings.HasPrefix(what, "literal") && strings.Contains(e.Message, address) {
			t.Errorf("%s %s: the message tells the address: %s", address, what, e.Message)
		}
		if got := b.strangers(); got != dials {
			t.Errorf("%s %s: %d dials to the origin; want %d", address, what, got, dials)
		}
	}
	for _, address := range forbidden {
		u := "http://" + literal(address) + ":" + b.port + "/"
		check(t, address, "literal", u, 0)
		check(t, address, "literal with the scheme's port", "http://"+literal(address)+"/", 0)

		b.resolve("evil.example", []string{address})
		check(t, address, "by name", "http://evil.example:"+b.port+"/", 0)
		b.resolve("evil.example", []string{"8.8.8.8", address})
		check(t, address, "among others", "http://evil.example/", 0)

		target = u
		check(t, address, "by redirect", b.url, 1)
		b.resolve("evil.example", []string{address})
		target = "http://evil.example:" + b.port + "/"
		check(t, address, "by redirect to a name", b.url, 1)

		b.resolve("evil.example", []string{home}, []string{address})
		check(t, address, "by rebinding between requests", "http://evil.example:"+b.port+"/", 1)
	}
}

// TestRebinding: between the check and the connection there is no second look.
func TestRebinding(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("picture")) }, nil)
	for _, address := range forbidden {
		b.resolve("evil.example", []string{home}, []string{address})
		got, err := b.get("http://evil.example:" + b.port + "/")
		if err != nil || string(got) != "picture" {
			t.Errorf("%s: %q, %v", address, got, err)
		}
		if n := b.strangers(); n != 1 || b.names.asked["evil.example"] != 1 {
			t.Errorf("%s: %d dials, %d lookups", address, n, b.names.asked["evil.example"])
		}
	}
}

// TestSystemResolver asks the names that the system itself knows.
func TestSystemResolver(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) }
	shut, open := newBed(t, handler, nil), newBed(t, handler, func(c *Config) { c.AllowPrivate = []string{"127.0.0.0/8", "::1/128"} })
	for _, b := range []*bed{shut, open} {
		b.dialer.names = &net.Resolver{PreferGo: true}
	}
	if _, err := shut.get("http://localhost:" + shut.port + "/"); fault.Of(err) != fault.Denied || shut.strangers() != 0 {
		t.Errorf("localhost: %v", err)
	}
	if _, err := open.get("http://localhost:" + open.port + "/"); fault.Of(err) != fault.Upstream || len(open.dialled) == 0 { // nobody listens there, but it was tried
		t.Errorf("localhost, in an open range: %v, dialled %v", err, open.dialled)
	}
}

// TestControl is the last gate, should what comes before ever let something by.
func TestControl(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(http.ResponseWriter, *http.Request) {}, nil)
	for _, address := range forbidden {
		to := netip.AddrPortFrom(netip.MustParseAddr(address), 9).String()
		conn, err := b.dialer.net.DialContext(t.Context(), "tcp", to)
		if err == nil {
			conn.Close()
		}
		if fault.Of(err) != fault.Denied {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestUnknownNameLooksRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(http.ResponseWriter, *http.Request) {}, nil)
	b.resolve("inside.example", []string{"10.0.0.1"})
	_, unknown := b.get("http://unknown.example/")
	_, inside := b.get("http://inside.example/")
	if fault.Of(unknown) != fault.Denied || fault.As(unknown).Message != fault.As(inside).Message || fault.As(unknown).Code != fault.As(inside).Code {
		t.Errorf("a name that is not known: %v; one inside: %v", unknown, inside)
	}
}
