package objectblob

import (
	"context"
	"net"
	"net/http"
	"time"
)

// dialTime bounds the making of a connection and of its encryption.
const dialTime = 10 * time.Second

// Tune sets a transport's times, so that a service which accepts connections and
// says nothing holds up nobody for longer than stall.
func Tune(t *http.Transport, stall time.Duration) {
	dial := min(stall, dialTime)
	dialer := &net.Dialer{Timeout: dial}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watched{conn, stall}, nil
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
	stall time.Duration
}

func (c *watched) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *watched) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
