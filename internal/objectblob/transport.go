package objectblob

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// dialTime bounds the making of a connection and of its encryption.
const dialTime = 10 * time.Second

// Traffic counts the bytes that a store's connections have received and sent. It
// is safe for concurrent use.
type Traffic struct{ received, sent atomic.Int64 }

// Tune sets a transport's times, so that a service which accepts connections and
// says nothing holds up nobody for longer than stall, and has its bytes counted.
func (m *Traffic) Tune(t *http.Transport, stall time.Duration) {
	dial := min(stall, dialTime)
	dialer := &net.Dialer{Timeout: dial}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watched{conn, stall, m}, nil
	}
	t.TLSHandshakeTimeout = dial
	t.ExpectContinueTimeout = time.Second
	t.MaxIdleConnsPerHost = 16
	t.IdleConnTimeout = stall / 2 // before watched ends it
	// On a shared connection, bytes of one answer would hide that another has
	// stopped.
	t.ForceAttemptHTTP2 = false
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t.Protocols = protocols
}

// watched is a connection on which a read or a write fails when no byte has gone
// either way for a while. A read waits for the answer from the moment the request
// begins, so what is written puts it off as well.
type watched struct {
	net.Conn
	stall   time.Duration
	traffic *Traffic
}

func (c *watched) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.traffic.received.Add(int64(n))
	return n, err
}

func (c *watched) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	c.traffic.sent.Add(int64(n))
	return n, err
}
