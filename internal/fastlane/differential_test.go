package fastlane

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// send is what a client writes at once. It waits for as many answers as
// requests have been sent when it is to.
type send struct {
	bytes   string
	answers int // 0: don't wait
}

func (s send) String() string { return fmt.Sprintf("%q %d", s.bytes, s.answers) }

// outcome is all that a client sees on a connection.
type outcome struct {
	answers []response
	reset   bool // the server closed without reading all: answers may have been lost
	err     error
}

// unread tells how many bytes of a client the server has not read yet.
func (s *server) unread(c *client) int {
	conn, ok := s.conns.Load(c.LocalAddr().String())
	if !ok {
		return 0
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	n := 0
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}

// converse plays a script on a new connection, closes its side, and reads all
// answers. After each piece it gives the server a chance to read it, so that
// it comes to know the pieces as such.
func converse(t testing.TB, server *server, script []send) outcome {
	t.Helper()
	c := dial(t, server.addr)
	defer c.Close()
	var got outcome
	arrived := make(chan bool, 1000)
	go func() {
		defer close(arrived)
		for {
			r, err := next(c.in)
			if err != nil {
				got.reset = errors.Is(err, syscall.ECONNRESET)
				if !got.reset && err != io.EOF && err != io.ErrUnexpectedEOF {
					got.err = err
				}
				return
			}
			got.answers = append(got.answers, r)
			arrived <- true
		}
	}()
	seen := 0
	for _, s := range script {
		if _, err := io.WriteString(c, s.bytes); err != nil {
			break // the server has closed
		}
		for i := 0; i < 300 && server.unread(c) > 0; i++ { // it doesn't while a handler runs
			runtime.Gosched()
		}
		for ok := true; ok && seen < s.answers; seen++ {
			_, ok = <-arrived
		}
	}
	_ = c.CloseWrite()
	for range arrived {
	}
	return got
}

// compare plays a script to both servers.
func compare(t interface {
	Helper()
	Fatalf(string, ...any)
}, tb testing.TB, lane, bare *server, script []send,
) {
	t.Helper()
	got, want := converse(tb, lane, script), converse(tb, bare, script)
	if got.err != nil || want.err != nil {
		t.Fatalf("%v: %v with the lane, %v without", script, got.err, want.err)
	}
	n := min(len(got.answers), len(want.answers))
	for i := range n {
		if got.answers[i] != want.answers[i] {
			t.Fatalf("%v: answer %d with the lane is\n%+v, without\n%+v", script, i+1, got.answers[i], want.answers[i])
		}
	}
	if len(got.answers) < len(want.answers) && !got.reset || len(want.answers) < len(got.answers) && !want.reset {
		t.Fatalf("%v: %d answers with the lane, %d without:\n%+v\n%+v", script, len(got.answers), len(want.answers), got, want)
	}
}

// inner is a body that looks like requests.
const inner = "GET /hot?inner HTTP/1.1\r\nHost: evil\r\n\r\nGET /slow?inner HTTP/1.1\r\nHost: evil\r\n\r\n"

func withLength(first string, more ...string) string {
	return crlf(append([]string{first, "Host: h", fmt.Sprintf("Content-Length: %d", len(inner))}, more...)...) + inner
}

func chunked(first string, more ...string) string {
	head := crlf(append([]string{first, "Host: h", "Transfer-Encoding: chunked"}, more...)...)
	return head + fmt.Sprintf("%x\r\n%s\r\n%x;a=b\r\n%s\r\n0\r\n\r\n", len(inner), inner, len(hot), hot)
}

// plainItems are requests that the lane may answer, or leave with the
// connection as it is; oddItems are everything else that a client may do.
var (
	plainItems = []string{
		hot, hot, hot, slow, slow,
		crlf("HEAD /hot?1 HTTP/1.1", "Host: h"),
		crlf("HEAD /slow HTTP/1.1", "Host: h"),
		crlf("GET /hot?2 HTTP/1.1", "Host: other", "Accept: image/avif, */*;q=0.8", "User-Agent: a", "Cookie: b=c", "Connection: keep-alive"),
		crlf("GET /hot?3 HTTP/1.1", "Host: h", "Via: x"),
		crlf("GET /hot?4 HTTP/1.1", "Host: h", "X-Unknown: x"),
		crlf("GET /hot?5 HTTP/1.1", "Host: h", "Accept: a", "\tb", "  c"),
		crlf("GET /hot?6 HTTP/1.1", "Host: h", "X-A: a", " Content-Length: 5"),
		crlf("GET http://abs/hot?7 HTTP/1.1", "Host: h"),
		crlf("GET /hot?8 HTTP/1.1", "Host: h", "Range: bytes=0-1", "If-None-Match: x"),
		crlf("GET /hot?9 HTTP/1.1", "Host: h", "Accept: a", "Accept: b"),
		crlf("GET /hot%2F?%61 HTTP/1.1", "Host: h"),
	}
	oddItems = []string{
		withLength("PUT /slow HTTP/1.1"), withLength("POST /slow HTTP/1.1"), withLength("GET /slow HTTP/1.1"), withLength("GET /hot?1 HTTP/1.1"),
		withLength("POST /lazy HTTP/1.1"), withLength("POST /slow HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(inner))),
		withLength("POST /slow HTTP/1.1", "Content-Length: 3"), withLength("GET /hot?1 HTTP/1.1", "Transfer-Encoding: chunked"),
		withLength("POST /slow HTTP/1.1", "Expect: 100-continue"), withLength("GET /hot?1 HTTP/1.1", "Expect: 100-continue"), withLength("POST /lazy HTTP/1.1", "Expect: 100-continue"),
		chunked("PUT /slow HTTP/1.1"), chunked("POST /lazy HTTP/1.1"), chunked("GET /hot?1 HTTP/1.1"), chunked("GET /slow HTTP/1.1"), chunked("HEAD /hot?1 HTTP/1.1"),
		strings.ReplaceAll(hot, "\r\n", "\n"), strings.ReplaceAll(slow, "\r\n", "\n"), "GET /hot?1 HTTP/1.1\r\nHost: h\n\r\n", "GET /hot?1 HTTP/1.1\r\nHost: h\r\n\n",
		"GET /slow HTTP/1.1\r\nHost: h\n\n" + hot, "GET /slow HTTP/1.1\nX: y\r\nHost: h\n\n" + hot,
		crlf("GET /hot?1 HTTP/1.1", "Host: h", "Connection: close"), crlf("GET /slow HTTP/1.1", "Host: h", "Connection: close"), crlf("GET /slow HTTP/1.1", "Host: h", "Connection: keep-alive, Close"),
		crlf("GET /hot?1 HTTP/1.0", "Host: h"), crlf("GET /hot?1 HTTP/1.0", "Connection: keep-alive"), crlf("GET /slow HTTP/1.0", "Connection: keep-alive"), crlf("GET /hot?1 HTTP/1.2", "Host: h"), crlf("GET /hot?1 HTTP/2.0", "Host: h"),
		crlf("GET /hot?1 HTTP/1.1", "Host: h", "Expect: 100-continue"), crlf("GET /slow HTTP/1.1", "Host: h", "Expect: 100-continue"), crlf("GET /slow HTTP/1.1", "Host: h", "Expect: else"),
		crlf("GET /hot?1 HTTP/1.1", "Host: h", "Host: h"), crlf("GET /hot?1 HTTP/1.1"), crlf("GET /hot?1 HTTP/1.1", "Host:"), crlf("GET /hot?1 HTTP/1.1", "Host: a/b"), crlf("GET /hot?1 HTTP/1.1", "Host: a b"),
		"\r\n" + hot, "\r\n\r\n" + slow, "\n" + hot, " " + hot, withLength("POST /slow HTTP/1.1") + "\r\n" + hot, withLength("POST /slow HTTP/1.1") + "\r\n\r\n" + hot,
		crlf("GET /hot?1 HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: websocket"), crlf("GET /slow HTTP/1.1", "Host: h", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"),
		crlf("GET /hijack HTTP/1.1", "Host: h"), withLength("POST /hijack HTTP/1.1"), crlf("GET /hijack HTTP/1.1", "Host: h") + hot + slow,
		crlf("PRI * HTTP/2.0") + "SM\r\n\r\n", crlf("OPTIONS * HTTP/1.1", "Host: h"), crlf("CONNECT h:1 HTTP/1.1", "Host: h"), crlf("DELETE /slow HTTP/1.1", "Host: h"), crlf("get /hot?1 HTTP/1.1", "Host: h"),
		crlf("GET /hot?1 HTTP/1.1", " Host: h"), crlf("GET /hot?1 HTTP/1.1", "Host : h"), crlf("GET /slow HTTP/1.1", "Host: h", "Content-Length : 5"), crlf("GET /slow HTTP/1.1", "Host: h", "Content-Length: +5") + "GET /", crlf("GET /slow HTTP/1.1", "Host: h", "Content-Length: 0"),
		crlf("GET /slow HTTP/1.1", "Host: h", "Transfer-Encoding: identity"), crlf("GET /slow HTTP/1.1", "Host: h", "Transfer-Encoding: chunked, chunked"), crlf("GET /slow HTTP/1.1", "Host: h", "\x0bTransfer-Encoding: chunked") + "0\r\n\r\n",
		crlf("GET /slow HTTP/1.1", "Host: h", "X-Long: "+strings.Repeat("x", 5000)), crlf("GET /hot?"+strings.Repeat("x", 900)+" HTTP/1.1", "Host: h"),
		crlf("GET /hot?%zz HTTP/1.1", "Host: h"), crlf("GET /hot%zz HTTP/1.1", "Host: h"), crlf("GET /hot?a b HTTP/1.1", "Host: h"), crlf("GET /hot?é HTTP/1.1", "Host: h"), crlf("GET /hot?1 HTTP/1.1", "Host: h", "Accept: a\x00"), crlf("GET /hot?1 HTTP/1.1", "Host: h", "Accept: é"),
		"GET /hot?1", "GET /hot?1 HTTP/1.1\r\nHost: h\r\n", "\x16\x03\x01\x02\x00\x01\x00", "garbage\r\n\r\n",
	}
)

// lures are starts of requests that a hot request can end.
var lures = []string{
	"", "", "", "", "", "", "GET /slow HTTP/1.1\r\nX-A: ", "GET /slow?", "G", "GET /slow HTTP/1.1\r\nHost: h\r\nX-A: a\r\n ", "POST /slow HTTP/1.1\r\nX-A: ",
	crlf("POST /slow HTTP/1.1", "Host: h", fmt.Sprintf("Content-Length: %d", len(hot))), crlf("GET /hot?1 HTTP/1.1", "Host: h", fmt.Sprintf("Content-Length: %d", len(hot))),
	crlf("PUT /slow HTTP/1.1", "Host: h", "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n", len(hot)+2),
}

// drawScript makes a script of requests, some of them damaged, cut anywhere. It
// waits for answers only as long as it is known how many there will be.
func drawScript(t *rapid.T) []send {
	script := []send{{slow, 1}} // the first is never the lane's
	pending, known := "", 1
	for i := range rapid.IntRange(1, 12).Draw(t, "items") {
		item, odd := rapid.SampledFrom(plainItems).Draw(t, "item"), false
		switch kind := rapid.IntRange(0, 19).Draw(t, "kind"); {
		case kind < 3:
			item, odd = rapid.SampledFrom(oddItems).Draw(t, "odd"), true
		case kind == 3:
			at := rapid.IntRange(0, len(item)).Draw(t, "damaged")
			item, odd = item[:at]+rapid.SampledFrom([]string{"", "\r", "\n", "\r\n", "\r\n\r\n", " ", ":", "\x00", "é", "x"}).Draw(t, "damage")+item[min(at+rapid.IntRange(0, 2).Draw(t, "lost"), len(item)):], true
		}
		if odd {
			known = -1
		} else if known >= 0 {
			known = i + 2
		}
		pending += item
		for len(pending) > 1 && rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
			at := rapid.IntRange(1, len(pending)-1).Draw(t, "at")
			script = append(script, send{pending[:at], 0})
			pending = pending[at:]
		}
		if rapid.IntRange(0, 2).Draw(t, "go on") > 0 {
			// Perhaps with the start of a request whose rest looks like another.
			lure := rapid.SampledFrom(lures).Draw(t, "lure")
			script = append(script, send{pending + lure, max(known, 0)})
			pending = ""
			if lure != "" {
				script = append(script, send{hot, 0})
				known = -1
			}
		}
	}
	return append(script, send{pending, 0})
}

// TestSameAsNetHTTP: whatever is sent, a client sees the same answers with the
// lane as without.
func TestSameAsNetHTTP(t *testing.T) {
	lane, bare := start(t, Config{}, new(echo)), startBare(t)
	for _, first := range []string{"", slow} {
		for _, item := range append(plainItems, oddItems...) {
			script := []send{{item + hot + slow, 0}}
			if first != "" {
				script = append([]send{{first, 1}, {hot, 2}}, script...)
			}
			compare(t, t, lane, bare, script)
		}
	}
	for _, lure := range lures {
		for _, before := range []string{"", slow, slow + slow, hot} {
			compare(t, t, lane, bare, []send{{slow, 1}, {before + lure, 1 + strings.Count(before, "GET")}, {hot, 0}, {hot + slow, 0}})
		}
	}
	rapid.Check(t, func(rt *rapid.T) { compare(rt, t, lane, bare, drawScript(rt)) })
	if n := lane.echo.lane.Load(); n < 100 {
		t.Errorf("only %d answers by the lane", n)
	}
	t.Logf("%d answers by the lane", lane.echo.lane.Load())
}

// FuzzSameAsNetHTTP sends any bytes, after a request and before others, in two
// pieces.
func FuzzSameAsNetHTTP(f *testing.F) {
	for i, item := range append(plainItems, oddItems...) {
		f.Add([]byte(item), uint16(i), i%2 == 0)
	}
	lane, bare := start(f, Config{}, new(echo)), startBare(f)
	f.Fuzz(func(t *testing.T, b []byte, cut uint16, wait bool) {
		at := min(int(cut), len(b))
		script := []send{{slow, 1}, {string(b[:at]), 0}, {string(b[at:]), 0}, {hot + slow, 0}}
		if wait {
			script[0].bytes, script[0].answers = slow+hot, 2
		}
		compare(t, t, lane, bare, script)
	})
}
