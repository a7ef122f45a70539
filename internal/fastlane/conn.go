package fastlane

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	copyBytes  = 4 << 10 // answers up to this are written from one buffer
	refreshing = time.Second
)

// conn is a connection that answers what it can by itself. Read is called by
// net/http only, from one goroutine at a time.
type conn struct {
	*net.TCPConn
	lane     *Listener
	remote   string
	boundary atomic.Bool // net/http waits for a new request

	plain     bool      // left to net/http for good
	out       []byte    // for small answers; kept while requests follow each other
	refreshed time.Time // when the deadlines were last set here

	writing sync.Mutex // held while an answer is written; Close waits for it
}

// Read answers what it can, and gives net/http the first bytes that it can't
// answer. It looks at requests in net/http's own buffer, so that idle
// connections cost nothing more.
func (c *conn) Read(p []byte) (int, error) {
	if c.plain {
		return c.TCPConn.Read(p)
	}
	if !c.boundary.Load() {
		n, err := c.TCPConn.Read(p)
		c.plain = n > 0 // a body, or the start of a request behind one that is being answered
		return n, err
	}
	for {
		n, err := c.TCPConn.Read(p)
		b := p[:n]
		for len(b) > 0 {
			size, ok := c.answer(b)
			if !ok {
				c.handOver(b)
				return copy(p, b), nil
			}
			b = b[size:]
		}
		if err != nil || n == 0 {
			return 0, err
		}
	}
}

// handOver leaves the bytes b to net/http. Unless they are exactly one request
// without a body, there is no knowing where the next one begins.
func (c *conn) handOver(b []byte) {
	c.boundary.Store(false)
	c.plain = !single(b)
	if !c.refreshed.IsZero() { // our deadlines were for idling, net/http's are gone
		_ = c.TCPConn.SetReadDeadline(time.Now().Add(c.lane.config.HeaderTimeout))
		c.refreshed = time.Time{}
	}
}

// answer writes the answer to the request at the start of b, if it is plain and
// an answer is ready, and tells the request's length.
func (c *conn) answer(b []byte) (int, bool) {
	r, size, ok := parse(b)
	if !ok {
		return 0, false
	}
	start := time.Now()
	r.Remote = c.remote
	a := c.lane.handler.Answer(&r)
	if a == nil {
		return 0, false
	}
	c.refresh(start)
	if err := c.write(a, c.lane.dateLine(start), r.Head); err != nil {
		_ = c.TCPConn.Close() // the next read ends net/http's wait
	}
	c.lane.handler.Answered(&r, a, time.Since(start))
	return size, true
}

// refresh sets the deadlines anew from time to time, not for every answer.
func (c *conn) refresh(now time.Time) {
	if now.Sub(c.refreshed) < refreshing {
		return
	}
	c.refreshed = now
	_ = c.TCPConn.SetReadDeadline(now.Add(c.lane.config.IdleTimeout))
	_ = c.TCPConn.SetWriteDeadline(now.Add(c.lane.config.WriteTimeout))
}

func (c *conn) write(a *Answer, date []byte, head bool) error {
	body := a.Body
	if head {
		body = nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if len(a.Header)+len(body) <= copyBytes {
		c.out = append(append(append(c.out[:0], a.Header...), date...), body...)
		_, err := c.TCPConn.Write(c.out)
		return err
	}
	parts := net.Buffers{a.Header, date, body}
	_, err := parts.WriteTo(c.TCPConn)
	return err
}

// closing is how long Close waits for an answer that is being written.
const closing = 2 * time.Second

// Close closes the connection, after an answer that is being written.
func (c *conn) Close() error {
	if !c.writing.TryLock() {
		_ = c.TCPConn.SetWriteDeadline(time.Now().Add(closing))
		c.writing.Lock()
	}
	defer c.writing.Unlock()
	return c.TCPConn.Close()
}

// ReadFrom lets net/http send files by sendfile.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return c.TCPConn.ReadFrom(r) }
