package cdkblob_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"safelight/internal/cdkblob/s3test"
)

// proxy stands between a client and a server and breaks connections as it is
// told.
type proxy struct {
	t      testing.TB
	ln     net.Listener
	server string

	connections atomic.Int64

	mu   sync.Mutex
	plan func(number int64, client, server net.Conn) // nil passes everything
	open map[net.Conn]bool
	wg   sync.WaitGroup
}

func newProxy(t testing.TB, s *s3test.Server) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, server: strings.TrimPrefix(s.Endpoint, "http://"), open: map[net.Conn]bool{}}
	go p.accept()
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) endpoint() string { return "http://" + p.ln.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		n := p.connections.Add(1)
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		plan := p.plan
		p.open[client], p.open[server] = true, true
		p.wg.Add(1)
		p.mu.Unlock()
		go func() {
			defer p.wg.Done()
			defer func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				delete(p.open, client)
				delete(p.open, server)
				_, _ = client.Close(), server.Close()
			}()
			if plan == nil {
				plan = passing(-1, -1)
			}
			plan(n, client, server)
		}()
	}
}

// set changes what is done with connections, and ends those that there are.
func (p *proxy) set(plan func(int64, net.Conn, net.Conn)) {
	p.mu.Lock()
	p.plan = plan
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

// passing passes so many bytes up to the server and down to the client, and then
// cuts the connection; fewer than none is all.
func passing(up, down int64) func(int64, net.Conn, net.Conn) {
	return func(_ int64, client, server net.Conn) {
		done := make(chan struct{}, 2)
		go func() { _ = copySome(server, client, up); done <- struct{}{} }()
		go func() { _ = copySome(client, server, down); done <- struct{}{} }()
		<-done
		_, _ = client.Close(), server.Close()
		<-done
	}
}

func copySome(to io.Writer, from io.Reader, n int64) error {
	if n < 0 {
		_, err := io.Copy(to, from)
		return err
	}
	_, err := io.CopyN(to, from, n)
	return err
}

// stalling passes so many bytes either way, and then nothing, with the
// connection open.
func stalling(up, down int64) func(int64, net.Conn, net.Conn) {
	return func(_ int64, client, server net.Conn) {
		done := make(chan struct{}, 2)
		go func() { _ = copySome(server, client, up); done <- struct{}{} }()
		go func() { _ = copySome(client, server, down); done <- struct{}{} }()
		<-done
		<-done
		var one [1]byte
		_, _ = client.Read(one[:]) // until somebody closes it
		_, _ = io.Copy(io.Discard, client)
	}
}

// answering answers one request itself, and closes the connection.
func answering(status, body string) func(int64, net.Conn, net.Conn) {
	return func(_ int64, client, _ net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(client))
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		answer := "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
		if req.Method != http.MethodHead {
			answer += body
		}
		_, _ = io.WriteString(client, answer)
	}
}
