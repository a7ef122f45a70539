package redis_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/redis"
	"safelight/internal/redis/redistest"
)

// TestMain also sees to it that Close leaves nothing running.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds how long is waited for what must come.
const patience = 20 * time.Second

// counts is an Observer.
type counts struct {
	mu  sync.Mutex
	all map[string]int
}

func (c *counts) Call(outcome string, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[string]int)
	}
	c.all[outcome]++
}

func (c *counts) of(outcome string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[outcome]
}

func startServer(t testing.TB) *redistest.Server {
	t.Helper()
	return redistest.For(t, redistest.Alone)
}

func startProxy(t testing.TB, s *redistest.Server) *redistest.Proxy {
	t.Helper()
	p, err := redistest.NewProxy(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func open(t testing.TB, url string, change func(*redis.Config)) (*redis.Client, *counts) {
	t.Helper()
	config := redis.DefaultConfig()
	config.URL = redis.URL(url)
	if change != nil {
		change(&config)
	}
	observer := &counts{}
	c, err := redis.Open(config, observer, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, observer
}

// lenient is for tests in which nothing is slow but the machine.
func lenient(c *redis.Config) { c.Timeout = 2 * time.Second }

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// set and get are calls as others make them.
func set(ctx context.Context, c *redis.Client, key, value string) error {
	_, err := c.Do(ctx, redis.Command{Name: "SET", Keys: []string{c.Key(key)}, Args: []string{value}})
	return err
}

func get(ctx context.Context, c *redis.Client, key string) (string, error) {
	replies, err := c.Do(ctx, redis.Command{Name: "GET", Keys: []string{c.Key(key)}})
	if err != nil {
		return "", err
	}
	return replies[0].Text(), nil
}
