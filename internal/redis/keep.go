package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"safelight/internal/breaker"
)

// keep connects, and asks Redis now and then whether it is there: only this ends
// the time in which it is left alone, so that no request has to try.
func (c *Client) keep(first chan<- struct{}) {
	for c.background.Err() == nil {
		err := c.try()
		for err != nil && !c.breaker.Open() && c.background.Err() == nil && c.conn.Load() == nil {
			c.end(breaker.Failed, err) // never connected: that is enough
		}
		if first != nil {
			close(first)
			first = nil
		}
		if c.Up() && c.back.Swap(false) {
			c.tellUp()
		}
		pause := lookEvery
		if err != nil {
			pause = retryEvery
		}
		rest(c.background, pause)
	}
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *Client) tellUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fn := range c.up {
		fn()
	}
}

// try connects if need be, and asks. The first question may take as long as
// connecting does. The second must be answered in the time that a request has.
func (c *Client) try() error {
	if c.conn.Load() == nil {
		conn, err := c.connect()
		if err != nil {
			return err
		}
		c.conn.Store(&conn)
	}
	err := c.ask(dialTime)
	if err == nil {
		err = c.ask(c.config.Timeout)
	}
	switch {
	case c.background.Err() != nil:
	case err != nil:
		c.end(breaker.Failed, err)
	default:
		c.end(breaker.Worked, nil)
	}
	return err
}

// connect makes the library's client, which fails while nothing answers.
func (c *Client) connect() (rueidis.Client, error) {
	type made struct {
		conn rueidis.Client
		err  error
	}
	done := make(chan made, 1)
	go func() {
		conn, err := rueidis.NewClient(c.options)
		if err == nil && c.background.Err() != nil {
			conn.Close()
			err = errClosed
		}
		done <- made{conn, err}
	}()
	select {
	case m := <-done:
		return m.conn, m.err
	case <-c.background.Done():
		go func() {
			if m := <-done; m.err == nil {
				m.conn.Close()
			}
		}()
		return nil, errClosed
	}
}

// ask sends a question that every server answers.
func (c *Client) ask(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(c.background, limit)
	defer cancel()
	conn := *c.conn.Load()
	done := make(chan error, 1)
	go func() { done <- conn.Do(ctx, conn.B().Ping().Build()).Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", limit)
	}
}

// end tells the breaker how a try went. It has no pause: who keeps calls away is
// Up.
func (c *Client) end(o breaker.Outcome, err error) {
	if done, _ := c.breaker.Begin(); done != nil {
		done(o, err)
	}
}
