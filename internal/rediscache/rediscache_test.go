package rediscache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/cache"
	"safelight/internal/cache/cachetest"
	"safelight/internal/redis"
	"safelight/internal/redis/redistest"
	"safelight/internal/rediscache"
)

// server is shared by the tests; each has a prefix of its own.
var server *redistest.Server

var prefixes atomic.Int64

func TestMain(m *testing.M) { redistest.Main(m, &server) }

type nobody struct{}

func (nobody) Call(string, time.Duration) {}

func connect(t testing.TB, url string) *redis.Client {
	t.Helper()
	if server == nil {
		t.Skip(redistest.ErrMissing)
	}
	c := redis.DefaultConfig()
	c.URL, c.Timeout = redis.URL(url), 5*time.Second // the machine may be slow
	c.Prefix = fmt.Sprintf("test%d:", prefixes.Add(1))
	client, err := redis.Open(c, nobody{}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func open(t testing.TB) (*rediscache.Cache, *redis.Client) {
	t.Helper()
	if server == nil {
		t.Skip(redistest.ErrMissing)
	}
	client := connect(t, server.URL())
	return rediscache.New(rediscache.DefaultConfig(), client), client
}

func TestCache(t *testing.T) {
	t.Parallel()
	cachetest.Run(t, func(t *testing.T) cache.Cache {
		c, _ := open(t)
		return c
	})
}

func TestCacheInACluster(t *testing.T) {
	t.Parallel()
	g := redistest.For(t, redistest.StartCluster)
	cachetest.Run(t, func(t *testing.T) cache.Cache { return rediscache.New(rediscache.DefaultConfig(), connect(t, g.URL())) })
}

func put(t *testing.T, c cache.Cache, key cache.Key, seed, n int) {
	t.Helper()
	meta, data := cachetest.Rendition(key, seed, n)
	if err := c.Put(t.Context(), key, meta, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func hit(t *testing.T, c cache.Cache, key cache.Key) bool {
	t.Helper()
	_, ok, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func do(t *testing.T, c *redis.Client, name, key string, args ...string) redis.Reply {
	t.Helper()
	replies, err := c.Do(t.Context(), redis.Command{Name: name, Keys: []string{key}, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return replies[0]
}

// names are those of the hash and the value of a key.
func names(c *redis.Client, k cache.Key) (index, value string) {
	index = c.Key("r:{" + k.Source.String() + "}")
	return index, index + ":" + k.Variant.String()
}

func TestSharedBetweenClients(t *testing.T) {
	t.Parallel()
	a, client := open(t)
	b := rediscache.New(rediscache.DefaultConfig(), client)
	key := cachetest.Key(1, 1)
	put(t, a, key, 1, 1000)
	if !hit(t, b, key) {
		t.Error("another node misses it")
	}
	if err := b.Purge(t.Context(), key.Source); err != nil {
		t.Fatal(err)
	}
	if hit(t, a, key) {
		t.Error("what another node has purged is a hit")
	}
	index, value := names(client, key)
	if do(t, client, "EXISTS", index).Int()+do(t, client, "EXISTS", value).Int() != 0 {
		t.Error("a purge leaves keys behind")
	}
}

// TestDamage: what is not what was put is a miss, counted, and gone.
func TestDamage(t *testing.T) {
	t.Parallel()
	c, client := open(t)
	key, other := cachetest.Key(1, 1), cachetest.Key(1, 2)
	put(t, c, key, 1, 1000)
	put(t, c, other, 2, 1000)
	_, name := names(client, key)
	_, foreign := names(client, other)
	whole := do(t, client, "GET", name).Text()
	for i, value := range []string{
		"", "SLR1", "x" + whole, whole[:len(whole)-1], whole + "x", strings.Replace(whole, `"w":101`, `"w":102`, 1),
		whole[:60] + "\x00" + whole[61:], do(t, client, "GET", foreign).Text(), "SLR2" + whole[4:],
	} {
		if value == whole {
			t.Fatalf("damage %d changes nothing", i)
		}
		do(t, client, "SET", name, value)
		before := c.Stats()
		if _, ok, err := c.Get(t.Context(), key); ok || err == nil {
			t.Errorf("damage %d: hit %v, %v", i, ok, err)
		}
		if s := c.Stats(); s.Corrupt != before.Corrupt+1 || s.Misses != before.Misses+1 {
			t.Errorf("damage %d: %+v", i, s)
		}
		if !do(t, client, "GET", name).Null() {
			t.Errorf("damage %d is still there", i)
		}
	}
	do(t, client, "SET", name, whole)
	if !hit(t, c, key) {
		t.Error("the whole value is a miss")
	}
}

// TestEvictedToken: when Redis lets go of a source's hash, nothing of the source
// counts any more, so that a later purge needs not find it.
func TestEvictedToken(t *testing.T) {
	t.Parallel()
	c, client := open(t)
	key := cachetest.Key(1, 1)
	put(t, c, key, 1, 1000)
	index, value := names(client, key)
	do(t, client, "DEL", index)
	put(t, c, cachetest.Key(1, 2), 2, 1000)
	if hit(t, c, key) {
		t.Error("a value without its token is a hit")
	}
	if !do(t, client, "GET", value).Null() {
		t.Error("it is still there")
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	_, client := open(t)
	c := rediscache.New(rediscache.Config{TTL: time.Hour, MaxBytes: 1000}, client)
	key := cachetest.Key(1, 1)
	put(t, c, key, 1, 1000)
	put(t, c, key, 2, 1001)
	if hit(t, c, key) { // the last Put wins
		t.Error("what was replaced by something larger is a hit")
	}
}

// TestLifetimes: entries end when nobody asks for them, not all at once, and
// before their source's hash.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	c, client := open(t)
	seen := make(map[int64]bool)
	for v := range 20 {
		key := cachetest.Key(1, v)
		put(t, c, key, 1, 10)
		index, value := names(client, key)
		ms := do(t, client, "PTTL", value).Int()
		seen[ms] = true
		if day := (24 * time.Hour).Milliseconds(); ms > day || ms < day*9/10-10_000 || do(t, client, "PTTL", index).Int() <= ms {
			t.Fatalf("an entry lives for %d ms", ms)
		}
		if v > 0 {
			continue
		}
		do(t, client, "PEXPIRE", value, "60000")
		do(t, client, "PEXPIRE", index, "60000")
		if !hit(t, c, key) || do(t, client, "PTTL", value).Int() <= 60_000 || do(t, client, "PTTL", index).Int() <= 60_000 {
			t.Error("what is asked for lives no longer")
		}
	}
	if len(seen) < 10 {
		t.Errorf("20 entries live for %v ms", seen)
	}
	meta, data := cachetest.Rendition(cachetest.Key(2, 1), 1, 10)
	short := rediscache.New(rediscache.Config{TTL: time.Second, MaxBytes: 1000}, client)
	if err := short.Put(t.Context(), cachetest.Key(2, 1), meta, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	_, value := names(client, cachetest.Key(2, 1))
	for end := time.Now().Add(20 * time.Second); do(t, client, "EXISTS", value).Int() != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("an entry does not end")
		}
	}
	if l, err := short.List(t.Context(), cachetest.Key(2, 1).Source); err != nil || len(l) != 0 {
		t.Errorf("what has ended is listed: %+v, %v", l, err)
	}
}

// TestAway: without Redis everything is a miss and no error, and what is purged
// meanwhile is purged when Redis is back.
func TestAway(t *testing.T) {
	t.Parallel()
	if server == nil {
		t.Skip(redistest.ErrMissing)
	}
	proxy, err := redistest.NewProxy(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	client := connect(t, proxy.URL())
	c := rediscache.New(rediscache.DefaultConfig(), client)
	key := cachetest.Key(1, 1)
	put(t, c, key, 1, 1000)
	proxy.Reset()
	if hit(t, c, key) {
		t.Error("a hit without Redis")
	}
	put(t, c, key, 2, 1000)
	if err := c.Purge(t.Context(), key.Source); err != nil {
		t.Error(err)
	}
	proxy.Mend()
	ctx := context.WithoutCancel(t.Context())
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if client.Up() {
			if _, ok, err := c.Get(ctx, key); err == nil && !ok && client.Up() {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("what was purged is still a hit")
		}
	}
	put(t, c, key, 3, 1000)
	if !hit(t, c, key) {
		t.Error("it does not keep anything after it was away")
	}
}
