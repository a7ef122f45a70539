package fastlane

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// crlf writes a header the readable way: lines, then an empty one.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     Request
	}{
		{"least", crlf("GET / HTTP/1.1", "Host: h"), Request{URI: "/", Host: "h"}},
		{"head", crlf("HEAD /a?b HTTP/1.1", "Host: h"), Request{Head: true, URI: "/a?b", Host: "h"}},
		{"accept", crlf("GET / HTTP/1.1", "aCCept: image/avif,*/*;q=0.8", "HOST:h:80"), Request{URI: "/", Host: "h:80", Accept: "image/avif,*/*;q=0.8"}},
		{"blanks", crlf("GET / HTTP/1.1", "Host: \t h \t", "Accept:"), Request{URI: "/", Host: "h"}},
		{"keep-alive", crlf("GET / HTTP/1.1", "Connection: Keep-Alive", "Host: h"), Request{URI: "/", Host: "h"}},
		{"address", crlf("GET / HTTP/1.1", "Host: [::1]:8080"), Request{URI: "/", Host: "[::1]:8080"}},
		{"forwarded", crlf("GET / HTTP/1.1", "Host: h", "X-Forwarded-For: 10.0.0.1"), Request{URI: "/", Host: "h", Forwarded: true}},
		{"browser", crlf("GET /i HTTP/1.1", "Host: h", "User-Agent: a (b; c) d/1", "Cookie: a=b", "Sec-CH-UA-Platform: \"x\"", "Referer: http://é/"), Request{URI: "/i", Host: "h"}},
		{"escapes", crlf("GET /%2F%c3%A9?%20 HTTP/1.1", "Host: h"), Request{URI: "/%2F%c3%A9?%20", Host: "h"}},
		{"two slashes", crlf("GET //x/y HTTP/1.1", "Host: h"), Request{URI: "//x/y", Host: "h"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, more := range []string{"", "G", crlf("POST / HTTP/1.1", "Content-Length: 5")} {
				got, size, ok := parse([]byte(test.in + more))
				if !ok || size != len(test.in) || got != test.want {
					t.Errorf("followed by %q: got %+v, %d, %t; want %+v, %d", more, got, size, ok, test.want, len(test.in))
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const get, h = "GET / HTTP/1.1", "Host: h"
	for name, in := range map[string]string{
		"nothing":            "",
		"a header in pieces": "GET / HTTP/1.1\r\nHost: h\r\n",
		"no header":          crlf(get),
		"another method":     crlf("POST / HTTP/1.1", h),
		"method in lower":    crlf("get / HTTP/1.1", h),
		"HTTP/1.0":           crlf("GET / HTTP/1.0", h),
		"HTTP/0.9":           crlf("GET /", h),
		"absolute form":      crlf("GET http://h/ HTTP/1.1", h),
		"asterisk":           crlf("GET * HTTP/1.1", h),
		"two blanks":         crlf("GET  / HTTP/1.1", h),
		"blank in target":    crlf("GET /a b HTTP/1.1", h),
		"tab in target":      crlf("GET /a\tb HTTP/1.1", h),
		"fragment":           crlf("GET /#a HTTP/1.1", h),
		"raw UTF-8":          crlf("GET /é HTTP/1.1", h),
		"bad escape":         crlf("GET /%zz HTTP/1.1", h),
		"cut escape":         crlf("GET /%a HTTP/1.1", h),
		"long target":        crlf("GET /"+strings.Repeat("a", maxURI)+" HTTP/1.1", h),
		"many fields":        crlf(get, strings.Repeat("DNT: 1\r\n", maxFields)+h),
		"no Host":            crlf(get, "Accept: */*"),
		"empty Host":         crlf(get, "Host:"),
		"two Hosts":          crlf(get, h, h),
		"odd Host":           crlf(get, "Host: h/p"),
		"two Accepts":        crlf(get, h, "Accept: a", "Accept: b"),
		"length":             crlf(get, h, "Content-Length: 0"),
		"chunked":            crlf(get, h, "Transfer-Encoding: chunked"),
		"expect":             crlf(get, h, "Expect: 100-continue"),
		"close":              crlf(get, h, "Connection: close"),
		"close and more":     crlf(get, h, "Connection: keep-alive, close"),
		"upgrade":            crlf(get, h, "Connection: Upgrade", "Upgrade: h2c"),
		"credentials":        crlf(get, h, "Authorization: Bearer x"),
		"a condition":        crlf(get, h, "If-None-Match: x"),
		"a range":            crlf(get, h, "Range: bytes=0-1"),
		"an origin":          crlf(get, h, "Origin: http://x"),
		"unknown field":      crlf(get, h, "X-A: b"),
		"unknown, long":      crlf(get, h, strings.Repeat("a", 100)+": b"),
		"folded":             crlf(get, h, "Accept: a", " b"),
		"folded first":       crlf(get, " "+h),
		"blank before colon": crlf(get, "Host : h"),
		"no colon":           crlf(get, h, "Accept"),
		"no name":            crlf(get, h, ": a"),
		"bare LF":            crlf(get, h+"\nAccept: a"),
		"bare LF after line": "GET / HTTP/1.1\nHost: h\r\n\r\n",
		"bare LF at the end": "GET / HTTP/1.1\r\nHost: h\r\n\n",
		"bare CR":            crlf(get, h, "Accept: a\rb"),
		"two CRs":            crlf(get+"\r", h),
		"NUL":                crlf(get, h, "Accept: a\x00"),
		"leading CRLF":       "\r\n" + crlf(get, h),
	} {
		t.Run(name, func(t *testing.T) {
			if got, size, ok := parse([]byte(in)); ok {
				t.Errorf("accepted as %+v of %d bytes", got, size)
			}
		})
	}
}

func TestSingle(t *testing.T) {
	const get, h = "GET / HTTP/1.1", "Host: h"
	for _, test := range []struct {
		name, in string
		want     bool
	}{
		{"plain", crlf(get, h), true},
		{"head", crlf("HEAD / HTTP/1.1", h), true},
		{"unknown fields", crlf(get, h, "X-A: b", "Range: bytes=0-1"), true},
		{"folded", crlf(get, h, "X-A: b", "\tc"), true},
		{"folded length", crlf(get, h, "X-A: b", " Content-Length: 5"), true}, // net/http takes it for a part of X-A
		{"HTTP/1.0", crlf("GET / HTTP/1.0", h), true},
		{"nothing", "", false},
		{"three bytes", "GET", false},
		{"four bytes", "GET ", false},
		{"in pieces", "GET / HTTP/1.1\r\nHost: h\r\n", false},
		{"two", crlf(get, h) + crlf(get, h), false},
		{"one and a bit", crlf(get, h) + "G", false},
		{"other method", crlf("DELETE / HTTP/1.1", h), false},
		{"length", crlf(get, h, "cOntent-Length: 5"), false},
		{"length first", crlf(get, "Content-Length:5", h), false},
		{"chunked", crlf(get, h, "Transfer-encoding: chunked"), false},
		{"expect", crlf(get, h, "Expect: 100-continue"), false},
		{"upgrade", crlf(get, h, "Upgrade: websocket"), false},
		{"bare LF", crlf(get, h+"\nX-A: b"), false},
		{"hidden end", "GET / HTTP/1.1\r\nHost: h\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"hidden end, CR first", "GET / HTTP/1.1\r\nHost: h\n\r\nX: y\r\n\r\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := single([]byte(test.in)); got != test.want {
				t.Errorf("single(%q) = %t", test.in, got)
			}
		})
	}
}

// seeds are requests on both sides of the line.
var seeds = []string{
	crlf("GET /hot?1 HTTP/1.1", "Host: h", "Accept: */*"),
	crlf("HEAD /hot?%20 HTTP/1.1", "Host: [::1]:80", "Connection: keep-alive", "Via: x"),
	crlf("GET /hot?1 HTTP/1.1", "Host: h", "Accept: a", " b") + "x",
	crlf("GET /slow HTTP/1.1", "Host: h", "Content-Length: 5") + "GET /",
	crlf("GET /slow HTTP/1.1", "Host: h", "Transfer-Encoding: chunked") + "0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: h\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
	crlf("GET //x HTTP/1.1", "Host: h", "Cookie: \xff", "Cache-Control: no-cache", "Pragma: no-cache"),
}

// read is net/http's view of the first request: what it says, and how many
// bytes it is.
func read(t *testing.T, b []byte) (r *http.Request, size int, err error) {
	t.Helper()
	in := bytes.NewReader(b)
	buffered := bufio.NewReader(in)
	if r, err = http.ReadRequest(buffered); err != nil {
		return nil, 0, err
	}
	size = len(b) - in.Len() - buffered.Buffered()
	if body, err := io.ReadAll(r.Body); r.Body != http.NoBody || len(body) > 0 || err != nil {
		t.Errorf("net/http sees a body of %q, %v", body, err)
	}
	return r, size, nil
}

// agree checks what parse and single say against net/http: what parse accepts
// net/http reads the same way, and what is single it reads to the last byte, or
// refuses.
func agree(t *testing.T, b []byte) (parsed bool) {
	t.Helper()
	if single(b) {
		if _, n, err := read(t, b); err == nil && n != len(b) {
			t.Errorf("%q is single; net/http reads %d bytes of %d", b, n, len(b))
		}
	}
	got, size, ok := parse(b)
	if !ok {
		return false
	}
	r, n, err := read(t, b)
	if err != nil {
		t.Fatalf("%q: net/http refuses it: %v", b, err)
	}
	want := Request{Head: r.Method == http.MethodHead, URI: r.RequestURI, Host: r.Host, Accept: r.Header.Get("Accept")}
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Proto", "Via"} {
		want.Forwarded = want.Forwarded || r.Header[name] != nil
	}
	if got != want || n != size {
		t.Errorf("%q: got %+v of %d bytes; net/http sees %+v of %d", b, got, size, want, n)
	}
	if !want.Head && r.Method != http.MethodGet || r.Proto != "HTTP/1.1" || r.Close || len(r.TransferEncoding) > 0 || len(r.Header["Accept"]) > 1 {
		t.Errorf("%q: net/http sees %s %s, close %t, coding %q, accept %q", b, r.Method, r.Proto, r.Close, r.TransferEncoding, r.Header["Accept"])
	}
	if !single(b[:size]) {
		t.Errorf("%q is not single", b)
	}
	return true
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}

// TestParseAgrees puts requests together from pieces that matter, and so comes
// to places that mutation of bytes finds late.
func TestParseAgrees(t *testing.T) {
	starts := []string{"GET / HTTP/1.1\r\n", "HEAD /a?b HTTP/1.1\r\n", "GET / HTTP/1.1\n", "GET / HTTP/1.0\r\n", "GET  / HTTP/1.1\r\n", "GET /%4 HTTP/1.1\r\n", "GET ", "\r\n"}
	pieces := []string{"\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", ":", "\x00", "\x0b", "\x80", "Host: h\r\n", "Host: h", "host", "Host:\r\n", "Accept: a\r\n", "Accept: b", "Via:x\r\n",
		"Connection: keep-alive\r\n", "Connection: close\r\n", "close", "Content-Length: 5\r\n", "content-length", "Transfer-Encoding: chunked\r\n", "DNT: 1\r\n", "X: y\r\n", "GET / HTTP/1.1\r\n", "%zz", "é"}
	parsed := 0
	rapid.Check(t, func(rt *rapid.T) {
		b := rapid.SampledFrom(starts).Draw(rt, "start") + "Host: h\r\n"
		if rapid.IntRange(0, 3).Draw(rt, "no host") == 0 {
			b = strings.TrimSuffix(b, "Host: h\r\n")
		}
		b += strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(rt, "pieces"), "")
		if rapid.IntRange(0, 3).Draw(rt, "no end") > 0 {
			b += "\r\n\r\n"
		}
		if agree(t, []byte(b)) {
			parsed++
		}
	})
	if parsed == 0 {
		t.Error("no request was plain")
	}
}
