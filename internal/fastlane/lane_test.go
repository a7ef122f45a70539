package fastlane

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo answers every request with what it saw of it and how many came before on
// the connection, as a field X-Echo and as the body. It answers /hot as a
// prepared answer too, in the same words.
type echo struct {
	during  func(r *http.Request) // called while net/http answers
	instead http.HandlerFunc      // answers for net/http
	large   int                   // size of prepared answers, if not 0

	seen   sync.Map // address of the client: *atomic.Int32
	conns  sync.Map // address of the client: net.Conn
	lane   atomic.Int64
	closed chan bool // told of closed connections, if it is made
}

func (e *echo) state(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		e.conns.Store(c.RemoteAddr().String(), c)
		e.seen.Store(c.RemoteAddr().String(), new(atomic.Int32))
	case http.StateClosed:
		e.conns.Delete(c.RemoteAddr().String())
		e.seen.Delete(c.RemoteAddr().String())
		if e.closed != nil {
			e.closed <- true
		}
	}
}

func (e *echo) say(remote, method, uri, host, accept string, body []byte) string {
	n, _ := e.seen.LoadOrStore(remote, new(atomic.Int32))
	return fmt.Sprintf("%d %s %+q host %+q accept %+q body %d %x", n.(*atomic.Int32).Add(1), method, uri, host, accept, len(body), sha256.Sum256(body))
}

func (e *echo) Answer(r *Request) *Answer {
	if !strings.HasPrefix(r.URI, "/hot") {
		return nil
	}
	e.lane.Add(1)
	method := http.MethodGet
	if r.Head {
		method = http.MethodHead
	}
	body := e.say(r.Remote, method, r.URI, r.Host, r.Accept, nil)
	a := &Answer{Body: []byte(body)}
	if e.large > 0 {
		a.Body = zeros()[:e.large]
	}
	a.Header = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nX-Echo: %s\r\nContent-Length: %d\r\n", body, len(a.Body))
	return a
}

// zeros are more than the buffers of a connection hold.
var zeros = sync.OnceValue(func() []byte { return make([]byte, 32<<20) })

func (e *echo) Answered(*Request, *Answer, time.Duration) {}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.during != nil {
		e.during(r)
	}
	if e.instead != nil {
		e.instead(w, r)
		return
	}
	var body []byte
	if !strings.HasPrefix(r.URL.Path, "/lazy") {
		body, _ = io.ReadAll(r.Body)
	}
	said := e.say(r.RemoteAddr, r.Method, r.RequestURI, r.Host, r.Header.Get("Accept"), body)
	if r.URL.Path == "/hijack" {
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		rest, _ := io.ReadAll(buffered)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Echo: %s and %+q\r\nConnection: close\r\n\r\n", said, rest)
		return
	}
	w.Header().Set("X-Echo", said)
	_, _ = io.WriteString(w, said)
}

// server is an http.Server that tests talk to.
type server struct {
	*http.Server
	*echo
	addr string
	lane *Listener // nil: without
}

// start serves an echo behind a lane.
func start(t testing.TB, config Config, e *echo) *server {
	ln := listen(t)
	s := &server{echo: e, addr: ln.Addr().String(), lane: New(ln, config, e)}
	s.Server = &http.Server{
		Handler: e, ReadHeaderTimeout: config.HeaderTimeout, IdleTimeout: config.IdleTimeout, WriteTimeout: config.WriteTimeout,
		ConnState: func(c net.Conn, state http.ConnState) {
			s.lane.ConnState(c, state)
			e.state(c, state)
		},
	}
	s.serve(t, s.lane)
	return s
}

// startBare serves an echo without a lane.
func startBare(t testing.TB) *server {
	ln, e := listen(t), new(echo)
	s := &server{echo: e, addr: ln.Addr().String(), Server: &http.Server{Handler: e, ConnState: e.state}}
	s.serve(t, ln)
	return s
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (s *server) serve(t testing.TB, ln net.Listener) {
	s.ErrorLog = log.New(io.Discard, "", 0)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Server.Close() })
}

// client is a connection to a server.
type client struct {
	*net.TCPConn
	t  testing.TB
	in *bufio.Reader
}

// patience ends tests that wait for what doesn't happen.
const patience = 20 * time.Second

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

// past connects and asks once, so that the lane answers from now on.
func past(t testing.TB, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.send(crlf("GET /slow HTTP/1.1", "Host: h"))
	c.want("1 GET \"/slow\"")
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) want(prefix string) {
	c.t.Helper()
	r, err := next(c.in)
	if err != nil || r.status != http.StatusOK || !strings.HasPrefix(r.echo, prefix) {
		c.t.Fatalf("got %d %.200s, %v; want %q", r.status, r.echo, err, prefix)
	}
}

// response is what a client sees.
type response struct {
	status     int
	echo, body string
	close      bool
}

// next reads a response. To a HEAD there is no body; the server says what it
// saw as a HEAD.
func next(in *bufio.Reader) (response, error) {
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return response{}, err
		}
		if r.StatusCode < 200 {
			continue
		}
		got := response{status: r.StatusCode, echo: r.Header.Get("X-Echo"), close: r.Close}
		if _, said, _ := strings.Cut(got.echo, " "); strings.HasPrefix(said, http.MethodHead+" ") {
			return got, nil
		}
		body, err := io.ReadAll(r.Body)
		got.body = string(body)
		return got, err
	}
}

const (
	hot  = "GET /hot?1 HTTP/1.1\r\nHost: h\r\n\r\n"
	slow = "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"
)

func TestOrder(t *testing.T) {
	s := start(t, Config{}, new(echo))
	c := past(t, s.addr)
	c.send(hot + hot + slow + hot + slow + slow + hot)
	for i, uri := range []string{"hot?1", "hot?1", "slow", "hot?1", "slow", "slow", "hot?1"} {
		c.want(fmt.Sprintf("%d GET \"/%s\"", i+2, uri))
	}
}

// TestLaneTakesTurns: the lane goes on after each slow request, however quick
// the client is, and the context of none is cancelled.
func TestLaneTakesTurns(t *testing.T) {
	s := start(t, Config{}, &echo{during: func(r *http.Request) {
		if err := r.Context().Err(); err != nil {
			t.Error(err)
		}
	}})
	c := past(t, s.addr)
	for i := 2; i < 900; i += 3 {
		c.send(slow)
		c.want(fmt.Sprintf("%d GET \"/slow\"", i))
		c.send(hot + hot)
		c.want(fmt.Sprintf("%d GET \"/hot?1\"", i+1))
		c.want(fmt.Sprintf("%d GET \"/hot?1\"", i+2))
	}
	if got := s.echo.lane.Load(); got != 600 {
		t.Errorf("%d answers by the lane; want 600", got)
	}
}

func TestLargeAnswer(t *testing.T) {
	s := start(t, Config{}, &echo{large: 1 << 20})
	c := past(t, s.addr)
	c.send(hot + strings.Replace(hot, "GET", "HEAD", 1) + hot)
	c.want("2 GET")
	c.want("3 HEAD")
	c.want("4 GET")
}

// TestBackgroundRead sends a hot request while a handler runs: net/http tries to
// read a byte of it in the background. Then the client goes.
func TestBackgroundRead(t *testing.T) {
	entered, leave, gone := make(chan bool), make(chan bool), make(chan bool)
	s := start(t, Config{}, &echo{during: func(r *http.Request) {
		if r.URL.Path != "/wait" {
			return
		}
		entered <- true
		select {
		case <-leave:
		case <-r.Context().Done():
			close(gone)
		}
	}})
	const wait = "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"
	c := past(t, s.addr)
	c.send(wait)
	<-entered
	c.send(hot)
	leave <- true
	c.want("2 GET \"/wait\"")
	c.want("3 GET \"/hot?1\"")
	if got := s.echo.lane.Load(); got != 1 {
		t.Errorf("%d answers by the lane; want 1", got)
	}
	plain := past(t, s.addr)
	plain.send(slow + slow)
	plain.want("2 GET")
	plain.want("3 GET")
	for _, c := range []*client{c, plain} {
		c.send(wait)
		<-entered
		_ = c.Close()
		<-gone // the background read has seen the end
		gone = make(chan bool)
	}
}

// TestSendFile: files go through ReadFrom, which the wrapper has not lost.
func TestSendFile(t *testing.T) {
	want := bytes.Repeat([]byte("Safelight"), 1<<18)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{}, &echo{instead: func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }})
	c := dial(t, s.addr)
	for range 3 {
		c.send(slow)
		r, err := next(c.in)
		if err != nil || r.body != string(want) {
			t.Fatalf("%d bytes, %v; want %d", len(r.body), err, len(want))
		}
		c.send(hot)
		c.want("") // the connection is as before
	}
}

// TestManyConnections is for the race detector.
func TestManyConnections(t *testing.T) {
	s := start(t, Config{HeaderTimeout: patience, IdleTimeout: time.Second, WriteTimeout: patience}, new(echo))
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			c := dial(t, s.addr)
			for n := 1; n <= 100; n++ {
				what := []string{hot, slow, hot, hot}[(n+i)%4]
				if i%8 == 0 && n == 90 {
					what += slow + hot // and is plain from here
					n += 2
				}
				if _, err := io.WriteString(c, what); err != nil {
					t.Error(err)
					return
				}
				for k := range strings.Count(what, "GET") {
					want := fmt.Sprint(n+k-strings.Count(what, "GET")+1, " GET")
					if r, err := next(c.in); err != nil || !strings.HasPrefix(r.echo, want) {
						t.Errorf("got %+v, %v; want %q", r, err, want)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if s.echo.lane.Load() == 0 {
		t.Error("no answer by the lane")
	}
}
