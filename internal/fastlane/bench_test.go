package fastlane

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prepared always has the same answer.
type prepared struct{ answer *Answer }

func (p prepared) Answer(*Request) *Answer                   { return p.answer }
func (p prepared) Answered(*Request, *Answer, time.Duration) {}

var browser = crlf("GET /images/a/b.jpg?w=640&h=480&fit=cover HTTP/1.1", "Host: 127.0.0.1:8080", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
	"Accept: image/avif,image/webp,*/*;q=0.8", "Accept-Encoding: gzip", "Accept-Language: en", "Connection: keep-alive", "Referer: http://127.0.0.1:8080/", "Cookie: a=b")

// BenchmarkHot asks for prepared answers on one connection; the client
// allocates nothing.
func BenchmarkHot(b *testing.B) {
	for _, size := range []int{2 << 10, 64 << 10} {
		body, length := make([]byte, size), strconv.Itoa(size)
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"image/webp"}
			w.Header()["Content-Length"] = []string{length}
			_, _ = w.Write(body)
		})
		b.Run(length+"/lane", func(b *testing.B) {
			a := &Answer{Header: []byte(strings.TrimSuffix(crlf("HTTP/1.1 200 OK", "Content-Type: image/webp", "Content-Length: "+length), "\r\n")), Body: body}
			ln := listen(b)
			lane := New(ln, Config{HeaderTimeout: long, IdleTimeout: long, WriteTimeout: long}, prepared{a})
			s := &server{addr: ln.Addr().String(), Server: &http.Server{Handler: handler, ConnState: lane.ConnState}}
			s.serve(b, lane)
			s.ask(b)
		})
		b.Run(length+"/nethttp", func(b *testing.B) {
			ln := listen(b)
			s := &server{addr: ln.Addr().String(), Server: &http.Server{Handler: handler}}
			s.serve(b, ln)
			s.ask(b)
		})
	}
}

// ask asks again and again. All answers have the same length, that of the
// first.
func (s *server) ask(b *testing.B) {
	c := dial(b, s.addr)
	_ = c.SetDeadline(time.Time{})
	request, length := []byte(browser), 0
	for range 2 { // the first is always net/http's
		c.send(browser)
		var all strings.Builder
		r, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &all)), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			b.Fatal(err)
		}
		length = all.Len()
	}
	answer := make([]byte, length)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
	}
}
