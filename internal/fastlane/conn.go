package fastlane

import (
	"cmp"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const copyBytes = 4 << 10 // answers up to this are written from one buffer

// conn is a connection that answers what it can by itself. Read is called by
// net/http only, from one goroutine at a time.
type conn struct {
	*net.TCPConn
	lane   *Listener
	remote string
	state  atomic.Int32 // http.ConnState, as net/http last told it

	plain     bool      // left to net/http for good
	out       []byte    // for small answers; kept while requests follow each other
	refreshed time.Time // when the deadlines were last set here

	closing atomic.Bool // no further answer begins
	writing sync.Mutex  // held while an answer is written; Close waits for it
}

// Read answers what it can, and gives net/http the first bytes that it can't
// answer. It looks at requests in net/http's own buffer, so that idle
// connections cost nothing more.
func (c *conn) Read(p []byte) (int, error) {
	if c.plain {
		return c.TCPConn.Read(p)
	}
	switch http.ConnState(c.state.Load()) {
	case http.StateNew:
		// The first request is always net/http's: until it has had one, a
		// connection counts as new, and holds up Shutdown for five seconds.
		n, err := c.TCPConn.Read(p)
		c.handOver(p[:n])
		return n, err
	case http.StateIdle:
		return c.serve(p)
	case http.StateActive:
		if len(p) == 1 {
			return 0, c.watch()
		}
	}
	n, err := c.TCPConn.Read(p)
	c.plain = n > 0 // net/http wants more than we thought, or a handler has taken the connection over
	return n, err
}

// watch stands in for net/http's background read of one byte, by which it
// learns while a handler runs that the client is gone, and which it ends by a
// deadline. It leaves the bytes of a next request where they are: else the
// connection would be plain as soon as a client is quicker with that than
// net/http with ending the read.
func (c *conn) watch() error {
	raw, err := c.TCPConn.SyscallConn()
	if err != nil {
		return err
	}
	var end error
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		for err == syscall.EINTR {
			n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		}
		switch {
		case n > 0 || err == syscall.EAGAIN:
			return false // until there is more, or the deadline
		case err != nil:
			end = &net.OpError{Op: "read", Net: "tcp", Err: err}
		default:
			end = io.EOF
		}
		return true
	})
	return cmp.Or(err, end)
}

// serve answers requests until there is one that it can't answer.
func (c *conn) serve(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		if n == 0 {
			return 0, err
		}
		for b := p[:n]; len(b) > 0; {
			size, err := c.answer(b)
			if err != nil {
				_ = c.TCPConn.Close() // part of an answer may be out: nothing may follow it
				return 0, err
			}
			if size == 0 {
				c.handOver(b)
				return copy(p, b), nil
			}
			b = b[size:]
		}
	}
}

// handOver leaves the bytes b to net/http. Unless they are exactly one request
// without a body, there is no knowing where the next one begins.
func (c *conn) handOver(b []byte) {
	c.state.Store(int32(http.StateActive))
	c.plain = !single(b)
	if !c.refreshed.IsZero() { // our deadlines were for idling, net/http's are gone
		_ = c.TCPConn.SetReadDeadline(after(time.Now(), c.lane.config.HeaderTimeout))
		c.refreshed = time.Time{}
	}
}

// answer writes the answer to the request at the start of b, if it is plain and
// an answer is ready, and tells the request's length; else 0.
func (c *conn) answer(b []byte) (int, error) {
	r, size, ok := parse(b)
	if !ok {
		return 0, nil
	}
	start := time.Now()
	r.Remote = c.remote
	a := c.lane.handler.Answer(&r)
	if a == nil {
		return 0, nil
	}
	// Deadlines are set anew from time to time, not for every answer; that of
	// the next request after the answer, which may have taken long to write.
	stale := start.Sub(c.refreshed) >= c.lane.refreshing
	if stale {
		c.refreshed = start
	}
	err := c.write(a, start, r.Head, stale)
	took := time.Since(start)
	if stale || took >= c.lane.refreshing {
		_ = c.TCPConn.SetReadDeadline(after(start.Add(took), c.lane.config.IdleTimeout))
	}
	c.lane.handler.Answered(&r, a, took)
	return size, err
}

func (c *conn) write(a *Answer, now time.Time, head, stale bool) error {
	date, body := c.lane.dateLine(now), a.Body
	if head {
		body = nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if stale {
		_ = c.TCPConn.SetWriteDeadline(after(now, c.lane.config.WriteTimeout))
	}
	if c.closing.Load() { // looked at after setting a deadline, so that Close's stands
		return net.ErrClosed
	}
	if len(a.Header)+len(body) <= copyBytes {
		c.out = append(append(append(c.out[:0], a.Header...), date...), body...)
		_, err := c.TCPConn.Write(c.out)
		return err
	}
	parts := net.Buffers{a.Header, date, body}
	_, err := parts.WriteTo(c.TCPConn)
	return err
}

// Close closes the connection, after an answer that is being written.
func (c *conn) Close() error {
	c.closing.Store(true)
	if !c.writing.TryLock() {
		_ = c.TCPConn.SetWriteDeadline(c.lane.lastWrite())
		c.writing.Lock()
	}
	defer c.writing.Unlock()
	return c.TCPConn.Close()
}

// ReadFrom lets net/http send files by sendfile.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return c.TCPConn.ReadFrom(r) }

// after is the deadline at the end of a timeout; none for one of zero.
func after(now time.Time, timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return now.Add(timeout)
}
