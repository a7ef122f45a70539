// Package fastlane answers prepared requests before net/http sees them.
//
// A Listener hands out connections that look at each request as it arrives. A
// plain GET or HEAD for which an answer is ready is answered there, with one
// read and one write; every other byte goes to net/http untouched, and so does
// everything that is in any way unusual. net/http does all else as ever:
// keep-alive, deadlines, TLS-less HTTP/1.1 in full, shutdown.
//
// A connection is looked at only while net/http waits for another request on
// it, and holds none of its bytes: what was handed over before was exactly one
// request without a body. Once that can't be said any more (bodies, pipelining
// past a slow request, a header in pieces), the connection is left to net/http
// for good. So the two can never see different requests in the same bytes.
package fastlane

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Request is a plain GET or HEAD.
type Request struct {
	Head      bool   // HEAD: no body is to be sent
	URI       string // the request target, as sent
	Host      string
	Accept    string
	Remote    string // address of the client
	Forwarded bool   // a proxy speaks for another client
}

// Answer is a whole answer but for its Date. It must not change.
type Answer struct {
	Header []byte // status line and header fields, each with its CRLF, without the empty line
	Body   []byte
}

// Handler knows prepared answers. It is called concurrently.
type Handler interface {
	// Answer finds the answer to a request; nil leaves it to net/http.
	Answer(r *Request) *Answer
	// Answered is told when an answer has been written, or could not be.
	Answered(r *Request, a *Answer, took time.Duration)
}

// Config sets deadlines; they should be those of the http.Server. Zero means
// none.
type Config struct {
	HeaderTimeout time.Duration // for the rest of a header after its first byte
	IdleTimeout   time.Duration // between requests
	WriteTimeout  time.Duration // for an answer
}

// Listener is a net.Listener for an http.Server, whose ConnState must be the
// listener's.
type Listener struct {
	net.Listener
	config     Config
	handler    Handler
	refreshing time.Duration // how far deadlines may lag
	closing    time.Duration // for answers under way when the server stops
	closed     atomic.Pointer[time.Time]
	date       atomic.Pointer[stamp]
}

// New wraps a TCP listener. Connections of another kind are left alone.
func New(ln net.Listener, config Config, handler Handler) *Listener {
	refreshing := time.Second
	for _, d := range []time.Duration{config.IdleTimeout, config.WriteTimeout} {
		if d > 0 {
			refreshing = min(refreshing, d/8)
		}
	}
	return &Listener{Listener: ln, config: config, handler: handler, refreshing: refreshing, closing: 2 * time.Second}
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	return &conn{TCPConn: tcp, lane: l, remote: tcp.RemoteAddr().String()}, nil
}

// ConnState tells connections when net/http waits for a request; it is for
// http.Server.ConnState.
func (l *Listener) ConnState(c net.Conn, state http.ConnState) {
	if lane, ok := c.(*conn); ok {
		lane.state.Store(int32(state))
	}
}

// Close stops listening. A server that stops does this first, then closes its
// connections one by one under its lock.
func (l *Listener) Close() error {
	now := time.Now()
	l.closed.CompareAndSwap(nil, &now)
	return l.Listener.Close()
}

// lastWrite is when an answer under way is cut off because its connection is
// being closed. It is the same for all, so that clients that don't read can't
// hold up the server one after another.
func (l *Listener) lastWrite() time.Time {
	if at := l.closed.Load(); at != nil {
		return at.Add(l.closing)
	}
	return time.Now().Add(l.closing)
}

// stamp is the Date field with the empty line after it, good for one second.
type stamp struct {
	second int64
	line   []byte
}

func (l *Listener) dateLine(now time.Time) []byte {
	second := now.Unix()
	if s := l.date.Load(); s != nil && s.second == second {
		return s.line
	}
	s := &stamp{second, []byte("Date: " + now.UTC().Format(http.TimeFormat) + "\r\n\r\n")}
	l.date.Store(s)
	return s.line
}
