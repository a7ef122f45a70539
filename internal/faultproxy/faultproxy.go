// Package faultproxy stands between a client and a server in tests, and does to
// their connections what networks do.
package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what happens to connections.
type Fault int

// The faults.
const (
	None    Fault = iota
	Silence       // bytes are taken and go nowhere, old connections' too; new ones are accepted
	Refuse        // connections are reset, new ones as soon as they are made
)

// Proxy passes connections on to a server until it is told otherwise. It is safe
// for concurrent use.
type Proxy struct {
	ln     net.Listener
	server string
	delay  atomic.Int64 // of each piece of bytes in either direction

	mu    sync.Mutex
	fault Fault
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// Start makes a proxy to a server (host:port) that runs until the test ends.
func Start(t testing.TB, server string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln, server: server, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.Set(Refuse)
		p.wg.Wait()
	})
	return p
}

// Addr is the proxy's own address, host:port.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Delay has each piece of bytes come later by so much.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Set changes what happens. What was taken in silence is lost, and so its
// connections are reset when that ends.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f == Refuse || p.fault == Silence && f != Silence {
		for c := range p.conns {
			reset(c)
		}
	}
	p.fault = f
}

func (p *Proxy) now() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// reset closes a connection as one that broke.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if !p.keep(client) {
			continue
		}
		p.wg.Go(func() {
			defer p.drop(client)
			p.serve(client)
		})
	}
}

// keep notes a connection, unless it is refused.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == Refuse {
		reset(c)
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		reset(client)
		return
	}
	if !p.keep(server) {
		reset(client)
		return
	}
	defer p.drop(server)
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(client, server) })
	wg.Go(func() { p.pass(server, client) })
	wg.Wait()
}

// pass copies one direction, until either end is closed.
func (p *Proxy) pass(from, to net.Conn) {
	defer func() {
		if tcp, ok := to.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if d := time.Duration(p.delay.Load()); d > 0 && n > 0 {
			time.Sleep(d)
		}
		if p.now() == Silence {
			_, _ = io.Copy(io.Discard, from) // until it is reset
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
