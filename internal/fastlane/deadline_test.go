package fastlane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// These tests set one timeout short and the others long, and wait for what the
// short one does.
const (
	short = 500 * time.Millisecond
	long  = time.Hour
)

// wantCut waits for the end of the connection, not before a time. There net/http
// may complain about half a line.
func (c *client) wantCut(start time.Time, least time.Duration) {
	c.t.Helper()
	rest, err := io.ReadAll(c.in)
	if took := time.Since(start); err != nil || len(rest) > 0 && !bytes.HasPrefix(rest, []byte("HTTP/1.1 400 ")) || took < least {
		c.t.Errorf("read %q, %v after %v; want the end after %v", rest, err, took, least)
	}
}

func TestSlowHeader(t *testing.T) {
	for _, piece := range []string{"G", "GET /hot?1 HTTP/1.1\r\nHos", "\r\n", "POST / HTTP/1.1\r\nHost: h\r\n"} {
		t.Run(fmt.Sprintf("%q", piece), func(t *testing.T) {
			t.Parallel()
			s := start(t, Config{HeaderTimeout: short, IdleTimeout: long, WriteTimeout: long}, new(echo))
			c := past(t, s.addr)
			c.send(hot)
			c.want("2 GET")
			at := time.Now()
			c.send(piece)
			c.wantCut(at, short)
		})
	}
}

func TestIdle(t *testing.T) {
	for name, script := range map[string]string{"after hot": hot, "after hot and slow": hot + slow, "after slow and hot": slow + hot} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Config{HeaderTimeout: long, IdleTimeout: short, WriteTimeout: long}, new(echo))
			c := past(t, s.addr)
			at := time.Now()
			n := 1
			for _, one := range strings.SplitAfter(strings.TrimSuffix(script, "\r\n\r\n"), "\r\n\r\n") {
				n++
				c.send(strings.TrimSuffix(one, "\r\n\r\n") + "\r\n\r\n")
				c.want(fmt.Sprint(n, " GET"))
			}
			c.wantCut(at, short*7/8)
		})
	}
}

// TestBusyIsNotIdle asks for longer than the timeouts.
func TestBusyIsNotIdle(t *testing.T) {
	t.Parallel()
	const timeout = 2 * short
	s := start(t, Config{HeaderTimeout: timeout, IdleTimeout: timeout, WriteTimeout: timeout}, new(echo))
	c := past(t, s.addr)
	for n, at := 2, time.Now(); time.Since(at) < 2*timeout; n++ {
		c.send(hot)
		c.want(fmt.Sprint(n, " GET"))
	}
}

func TestNoTimeouts(t *testing.T) {
	t.Parallel()
	s := start(t, Config{}, new(echo))
	c := past(t, s.addr)
	c.send(hot)
	c.want("2 GET")
	_ = c.SetReadDeadline(time.Now().Add(short))
	if b, err := c.in.ReadByte(); err == nil || err == io.EOF {
		t.Errorf("read %q, %v; want nothing", b, err)
	}
}

// TestReaderThatDoesNotRead asks for more than buffers hold.
func TestReaderThatDoesNotRead(t *testing.T) {
	t.Parallel()
	e := &echo{large: 32 << 20, closed: make(chan bool, 1)}
	s := start(t, Config{HeaderTimeout: long, IdleTimeout: long, WriteTimeout: short}, e)
	c := past(t, s.addr)
	at := time.Now()
	c.send(hot + hot + slow)
	<-e.closed
	if took := time.Since(at); took < short || took > patience {
		t.Errorf("cut after %v", took)
	}
	if n := e.lane.Load(); n != 1 {
		t.Errorf("%d answers; want none after the one that was cut", n)
	}
	if n, err := io.Copy(io.Discard, c.in); n >= 32<<20 {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// TestIdleAfterLongAnswer: the time for the next request begins when an answer
// is out, not when it begins.
func TestIdleAfterLongAnswer(t *testing.T) {
	t.Parallel()
	e := &echo{large: 32 << 20}
	s := start(t, Config{HeaderTimeout: long, IdleTimeout: short, WriteTimeout: long}, e)
	c := past(t, s.addr)
	c.send(strings.Replace(hot, "GET", "HEAD", 1)) // sets the deadlines anew
	c.want("2 HEAD")
	c.send(hot)
	<-time.After(2 * short) // the timeout itself
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r.Body); n != int64(e.large) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	c.send(hot)
	c.want("4 GET")
}

// shutdown stops a server and tells how it went.
func (s *server) shutdown() <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	return done
}

// TestShutdownOfIdle: connections that the lane has answered on are idle ones.
func TestShutdownOfIdle(t *testing.T) {
	t.Parallel()
	s := start(t, Config{HeaderTimeout: long, IdleTimeout: long, WriteTimeout: long}, new(echo))
	for n := range 10 {
		c := dial(t, s.addr)
		for i := range n {
			c.send(hot)
			c.want(fmt.Sprint(i+1, " GET"))
		}
		if n == 0 { // net/http waits for the first request of a new connection, so make it one
			c.send(slow)
			c.want("1 GET")
		}
		defer c.wantCut(time.Now(), 0)
	}
	at := time.Now()
	if err := <-s.shutdown(); err != nil || time.Since(at) > 4*time.Second {
		t.Errorf("%v after %v", err, time.Since(at))
	}
}

// TestShutdownFinishes: an answer under way reaches its client in full, the
// lane's and net/http's.
func TestShutdownFinishes(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	entered, leave := make(chan bool), make(chan bool)
	e := &echo{large: size, during: func(r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- true
			<-leave
		}
	}}
	s := start(t, Config{HeaderTimeout: long, IdleTimeout: long, WriteTimeout: long}, e)
	s.lane.closing = patience // the client's time is not what is tested here
	fast, waiting := past(t, s.addr), past(t, s.addr)
	waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	fast.send(hot + hot)
	first, err := fast.in.Peek(1) // the answer has begun, and can't end
	if err != nil || first[0] != 'H' {
		t.Fatalf("%q, %v", first, err)
	}
	stopping := make(chan bool)
	s.RegisterOnShutdown(func() { close(stopping) })
	done := s.shutdown()
	<-stopping
	select {
	case err := <-done:
		t.Fatalf("Shutdown ended with answers under way: %v", err)
	default:
	}
	r, err := next(fast.in)
	if err != nil || len(r.body) != size {
		t.Errorf("%d bytes of %d, %v", len(r.body), size, err)
	}
	leave <- true
	waiting.want("2 GET")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestShutdownCuts: clients that don't read hold up Shutdown together, not one
// after another.
func TestShutdownCuts(t *testing.T) {
	t.Parallel()
	s := start(t, Config{HeaderTimeout: long, IdleTimeout: long, WriteTimeout: long}, &echo{large: 16 << 20})
	s.lane.closing = short
	for range 40 {
		c := past(t, s.addr)
		c.send(hot)
		if _, err := c.in.Peek(1); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now()
	if err := <-s.shutdown(); err != nil || time.Since(at) > 20*short {
		t.Errorf("%v after %v", err, time.Since(at))
	}
}
