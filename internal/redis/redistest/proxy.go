package redistest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands before a server and makes it slow or dumb.
type Proxy struct {
	ln     net.Listener
	server string
	delay  atomic.Int64 // nanoseconds before each piece; less than 0 is for ever

	// Connections and Pieces count what came from clients.
	Connections, Pieces atomic.Int64

	mu     sync.Mutex
	change chan struct{} // closed when the delay changes
	reset  bool
	open   map[net.Conn]bool
	wg     sync.WaitGroup
}

// NewProxy makes a proxy before a server. Close must be called.
func NewProxy(s *Server) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{ln: ln, server: s.Address(), open: make(map[net.Conn]bool), change: make(chan struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// URL leads to the server through the proxy.
func (p *Proxy) URL() string { return URL(p.ln.Addr().String()) }

// Delay has every piece of an answer wait so long; less than 0 swallows it, and
// the connection ends with the next piece that is not swallowed.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay.Store(int64(d))
	close(p.change)
	p.change = make(chan struct{})
}

// Reset cuts all connections, and new ones at once; Mend ends that.
func (p *Proxy) Reset() {
	p.mu.Lock()
	p.reset = true
	p.mu.Unlock()
	p.cut()
}

// Mend lets everything pass again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	p.reset = false
	p.mu.Unlock()
	p.Delay(0)
}

func (p *Proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() error {
	err := p.ln.Close()
	p.mu.Lock()
	p.reset = true
	p.mu.Unlock()
	p.Delay(0)
	p.cut()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.Connections.Add(1)
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		refused := p.reset
		if !refused {
			p.open[client], p.open[server] = true, true
		}
		p.mu.Unlock()
		if refused {
			_, _ = client.Close(), server.Close()
			continue
		}
		p.wg.Go(func() { p.pass(server, client, nil) })
		p.wg.Go(func() { p.pass(client, server, p.hold) })
	}
}

// pass copies until either side ends, and ends both.
func (p *Proxy) pass(to, from net.Conn, hold func() bool) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, to)
		_, _ = to.Close(), from.Close()
	}()
	buf := make([]byte, 64<<10)
	swallowed := false
	for {
		n, err := from.Read(buf)
		if hold == nil {
			p.Pieces.Add(1)
		} else if n > 0 && !hold() {
			swallowed = true
			continue
		}
		if swallowed { // the rest would be taken for what is missing
			return
		}
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

// hold waits as long as is told, and tells whether to pass the piece on.
func (p *Proxy) hold() bool {
	p.mu.Lock()
	d, change := time.Duration(p.delay.Load()), p.change
	p.mu.Unlock()
	if d < 0 {
		return false
	}
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-change:
	}
	return true
}

var _ io.Closer = (*Proxy)(nil)
