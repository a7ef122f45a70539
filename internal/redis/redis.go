// Package redis is the connection to a Redis server, to one behind sentinels,
// or to a cluster: calls that never take long, and messages between nodes.
//
// Nothing depends on Redis. A call that gets no answer in time fails, and after
// a few such calls in a row all fail at once until one that nobody waits for has
// worked again (keep.go). What is built on this package treats a failed call as
// a miss.
package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"safelight/internal/breaker"
	"safelight/internal/fault"
)

// Observer is told of calls.
type Observer interface {
	// Call tells how a call ended: "ok", "error" (Redis refused), "failed" (no
	// answer), "timeout" or "skipped" (not tried, as Redis is left alone).
	Call(outcome string, took time.Duration)
}

// Client is a connection to Redis, which may be down at any time. It is safe
// for concurrent use.
type Client struct {
	config   Config
	options  rueidis.ClientOption
	log      *slog.Logger
	observer Observer
	breaker  *breaker.Breaker
	conn     atomic.Pointer[rueidis.Client] // nil until the first connection
	told     atomic.Int64                   // when a refusal was last logged; Unix seconds

	back atomic.Bool // it answers again, and nobody was told
	mu   sync.Mutex
	up   []func() // who is to be told

	background context.Context
	stop       context.CancelFunc
	running    sync.WaitGroup
}

// Timing of connections.
const (
	dialTime      = 2 * time.Second        // to connect, TLS and greeting included
	quietTime     = time.Second            // without an answer, after which a connection is asked
	deafTime      = 2 * time.Second        // to answer that, or to take what is written
	topologyEvery = 5 * time.Second        // sentinels and clusters are asked who does what
	retryEvery    = 500 * time.Millisecond // while Redis is left alone
	lookEvery     = time.Second            // while it is not
	firstWait     = time.Second            // for the first connection, at the start
	failures      = 3                      // in a row, after which Redis is left alone
	bufferBytes   = 64 << 10               // of each connection, either way
)

// Open makes a client and begins to connect. It waits a moment for that and does
// not fail when Redis is away. Close must be called.
func Open(c Config, observer Observer, log *slog.Logger) (*Client, error) {
	if c.URL == "" {
		return nil, fault.New(fault.Invalid, "redis.url is not set")
	}
	if err := c.Validate(); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the settings of Redis are wrong")
	}
	a, err := c.URL.parse()
	if err != nil {
		return nil, err
	}
	o := a.options()
	o.Dialer.Timeout, o.Dialer.KeepAlive, o.ConnWriteTimeout = dialTime, quietTime, deafTime
	o.Sentinel.Dialer = o.Dialer
	o.ClientName, o.ReadBufferEachConn, o.WriteBufferEachConn = "safelight", bufferBytes, bufferBytes
	// A call is tried once, within its time. Values are cached in our own way.
	// Pipelining lets a call go that is not waited for any more without its
	// connection.
	o.DisableRetry, o.DisableCache, o.AlwaysPipelining = true, true, true
	client := &Client{config: c, options: o, log: log, observer: observer}
	client.breaker = breaker.New(breaker.Config{
		Failures: failures,
		Opened: func(err error) {
			log.Warn("Redis does not answer; it is left alone, and tried now and then", "redis", c.URL, "error", err)
		},
		Closed: func() {
			client.back.Store(true)
			log.Info("Redis answers again", "redis", c.URL)
		},
	})
	client.background, client.stop = context.WithCancel(context.Background())
	first := make(chan struct{})
	client.running.Go(func() { client.keep(first) })
	select {
	case <-first:
	case <-time.After(firstWait):
	}
	return client, nil
}

// Background runs work until the client is closed, which ends ctx and waits.
func (c *Client) Background(work func(ctx context.Context)) {
	c.running.Go(func() { work(c.background) })
}

// Close ends the connections; calls fail from then on.
func (c *Client) Close() error {
	c.stop()
	c.running.Wait()
	if conn := c.conn.Load(); conn != nil {
		(*conn).Close()
	}
	return nil
}

// Key is a name with the prefix before it.
func (c *Client) Key(name string) string { return c.config.Prefix + name }

// Up tells whether Redis is used. It is not while it is left alone.
func (c *Client) Up() bool { return c.conn.Load() != nil && !c.breaker.Open() }

// Open tells the opposite of Up; it is for metrics.
func (c *Client) Open() bool { return !c.Up() }

// Times is how often Redis was left alone.
func (c *Client) Times() int64 { return c.breaker.Times() }

// Ping tells whether Redis answers in time; fault.Unavailable is no.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Do(ctx, Command{Name: "PING"})
	return err
}

// ErrAway is the error of a call that was not tried, or got no answer in time.
var ErrAway error = fault.New(fault.Unavailable, "Redis does not answer")

// OnUp has fn called, in a goroutine of the client, each time that Redis answers
// after it was away. It must not wait for long.
func (c *Client) OnUp(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = append(c.up, fn)
}

var errClosed = errors.New("the client is closed")
