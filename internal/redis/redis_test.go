package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/fault"
	"safelight/internal/redis"
	"safelight/internal/redis/redistest"
)

// double is a script that can be told from its answer.
var double = redis.NewScript(`redis.call('SET', KEYS[1], ARGV[1] .. ARGV[1]) return redis.call('GET', KEYS[1])`)

// exercise calls a server in every way.
func exercise(t *testing.T, c *redis.Client) {
	t.Helper()
	ctx := redis.Unhurried(t.Context())
	for i := range 20 { // of a cluster, every server has some
		key := fmt.Sprint("key", i)
		if err := set(ctx, c, key, key); err != nil {
			t.Fatal(err)
		}
		if got, err := get(ctx, c, key); err != nil || got != key {
			t.Fatalf("%q, %v", got, err)
		}
		if got, err := c.Run(ctx, double, []string{c.Key(key)}, "a"); err != nil || got.Text() != "aa" {
			t.Fatalf("%q, %v", got.Text(), err)
		}
	}
	tag := c.Key("{tag}")
	replies, err := c.Do(ctx, redis.Command{Name: "HSET", Keys: []string{tag + "h"}, Args: []string{"a", "\x00\xff"}},
		redis.Command{Name: "HGET", Keys: []string{tag + "h"}, Args: []string{"a"}}, redis.Command{Name: "HKEYS", Keys: []string{tag + "h"}},
		redis.Command{Name: "GET", Keys: []string{tag + "none"}}, redis.Command{Name: "UNLINK", Keys: []string{tag + "h", tag + "none"}})
	if err != nil || len(replies) != 5 {
		t.Fatal(replies, err)
	}
	if string(replies[1].Bytes()) != "\x00\xff" || fmt.Sprint(replies[2].List()) != "[a]" || !replies[3].Null() || replies[1].Null() || replies[4].Int() != 1 {
		t.Errorf("%+v", replies)
	}
	if _, err := c.Do(ctx, redis.Command{Name: "HGET", Keys: []string{c.Key("key1")}, Args: []string{"a"}}); fault.Of(err) != fault.Internal {
		t.Errorf("a wrong command gives %v", err)
	}
	if !c.Up() {
		t.Error("a wrong command is taken for a failure")
	}
}

func TestSingle(t *testing.T) {
	t.Parallel()
	c, seen := open(t, startServer(t).URL(), lenient)
	exercise(t, c)
	if seen.of("ok") < 60 || seen.of("error") != 1 || seen.of("failed")+seen.of("timeout")+seen.of("skipped") != 0 {
		t.Errorf("%+v", seen.all)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := get(ctx, c, "key1"); fault.Of(err) != fault.Canceled {
		t.Errorf("a cancelled call gives %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	g := redistest.For(t, redistest.StartCluster)
	c, _ := open(t, g.URL(), lenient)
	exercise(t, c)
	other, _ := open(t, g.URL(), lenient)
	checkMessages(t, c, other)
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	g := redistest.For(t, redistest.StartSentinels)
	c, _ := open(t, g.URL(), lenient)
	other, _ := open(t, g.URL(), lenient)
	exercise(t, c)
	checkMessages(t, c, other)
	h := &hearing{}
	other.Listen("news", h.listener())
	eventually(t, "joined", func() bool { return h.joined.Load() == 1 })
	if err := g.Servers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is used", func() bool { return c.Up() && set(redis.Unhurried(t.Context()), c, "after", "failover") == nil })
	if answer, err := g.Servers[1].Ask("GET safelight:after"); err != nil || answer != "failover" {
		t.Errorf("the replica has %q, %v", answer, err)
	}
	exercise(t, c)
	eventually(t, "joined again", func() bool { return h.joined.Load() > 1 })
	if err := c.Publish(redis.Unhurried(t.Context()), "news", "after"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "heard", func() bool { return strings.HasSuffix(h.heard(), "after") })
}

// TestCloseWhileDumb: a server that says nothing does not keep us from ending.
func TestCloseWhileDumb(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startServer(t))
	c, _ := open(t, p.URL(), nil)
	c.Listen("news", redis.Listener{Heard: func(string) {}, Joined: func() {}})
	eventually(t, "it works", func() bool { return set(t.Context(), c, "a", "b") == nil })
	p.Delay(-1)
	_, _ = get(t.Context(), c, "a")
	start := time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("closing took %s", took)
	}
}

// TestRights: a user with the rights that the documentation names needs no others.
func TestRights(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	if answer, err := s.Ask("ACL SETUSER safelight on >" + redistest.Password + " ~safelight:* &safelight:* +@all -@admin -@dangerous"); err != nil || answer != "+OK" {
		t.Fatal(answer, err)
	}
	url := strings.Replace(s.URL(), "redis://:", "redis://safelight:", 1)
	c, _ := open(t, url, lenient)
	other, _ := open(t, url, lenient)
	exercise(t, c)
	checkMessages(t, c, other)
}

// TestTLS: connections are encrypted, and a certificate that nobody vouches for
// is refused unless it may be any.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := redistest.For(t, redistest.StartTLS)
	c, _ := open(t, s.URL()+"?skip_verify=true", lenient)
	exercise(t, c)
	checked, seen := open(t, s.URL(), lenient)
	if _, err := get(t.Context(), checked, "key1"); !errors.Is(err, redis.ErrAway) || seen.of("skipped") != 1 {
		t.Errorf("a stranger's certificate is taken: %v", err)
	}
}

// hearing collects what is heard.
type hearing struct {
	mu     sync.Mutex
	all    []string
	joined atomic.Int32
	left   atomic.Int32
}

func (h *hearing) listener() redis.Listener {
	return redis.Listener{
		Heard: func(m string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.all = append(h.all, m)
		},
		Joined: func() { h.joined.Add(1) }, Left: func() { h.left.Add(1) },
	}
}

func (h *hearing) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all, " ")
}

func checkMessages(t *testing.T, from, to *redis.Client) {
	t.Helper()
	h := &hearing{}
	to.Listen("news", h.listener())
	eventually(t, "joined", func() bool { return h.joined.Load() > 0 })
	if err := from.Publish(redis.Unhurried(t.Context()), "news", "one"); err != nil {
		t.Fatal(err)
	}
	if err := from.Publish(redis.Unhurried(t.Context()), "news", "two"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are heard", func() bool { return strings.HasPrefix(h.heard(), "one two") })
}

func TestMessagesAfterARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, _ := open(t, s.URL(), lenient)
	h := &hearing{}
	c.Listen("news", h.listener())
	eventually(t, "joined", func() bool { return h.joined.Load() == 1 })
	ups := atomic.Int32{}
	c.OnUp(func() { ups.Add(1) })
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "left", func() bool { return h.left.Load() == 1 && !c.Up() })
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "joined again", func() bool { return h.joined.Load() == 2 && ups.Load() > 0 })
	if err := c.Publish(redis.Unhurried(t.Context()), "news", "later"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "heard", func() bool { return h.heard() == "later" })
}

// TestAMessageMayCallRedis: what is done about a message must not hold up the
// connection that it came by.
func TestAMessageMayCallRedis(t *testing.T) {
	t.Parallel()
	c, _ := open(t, startServer(t).URL(), lenient)
	var done atomic.Int32
	joined := make(chan struct{})
	c.Listen("news", redis.Listener{Joined: func() { close(joined) }, Heard: func(m string) {
		if err := set(redis.Unhurried(context.Background()), c, m, m); err != nil {
			t.Error(err)
		}
		done.Add(1)
	}})
	<-joined
	for i := range 50 {
		if err := c.Publish(redis.Unhurried(t.Context()), "news", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are done", func() bool { return done.Load() == 50 })
}

// TestAwayAtTheStart: a server that is not there keeps nobody from starting, and
// is used when it comes.
func TestAwayAtTheStart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	c, seen := open(t, s.URL(), lenient)
	if _, err := get(t.Context(), c, "a"); !errors.Is(err, redis.ErrAway) || c.Up() || fault.Of(c.Ping(t.Context())) != fault.Unavailable {
		t.Errorf("%v, up: %v", err, c.Up())
	}
	if seen.of("skipped") != 2 || seen.of("failed") != 0 {
		t.Errorf("%+v", seen.all)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is used", c.Up)
	exercise(t, c)
}

// TestWrongPassword is no reason not to start, and is told in the log without
// the password.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var log strings.Builder
	var mu sync.Mutex
	config := redis.DefaultConfig()
	config.URL = redis.URL(strings.Replace(s.URL(), redistest.Password, "wrong-secret", 1))
	c, err := redis.Open(config, &counts{}, slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(log.String(), "WRONGPASS") })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "wrong-secret") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("the log has\n%s", &log)
	}
}

type locked struct {
	mu *sync.Mutex
	w  *strings.Builder
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestTroubles: whatever happens to the connection, few calls wait, none for
// longer than the limit, and Redis is used again soon after.
func TestTroubles(t *testing.T) {
	t.Parallel()
	for _, trouble := range []struct {
		name string
		make func(*redistest.Proxy)
	}{
		{"slow", func(p *redistest.Proxy) { p.Delay(5 * time.Second) }},
		{"dumb", func(p *redistest.Proxy) { p.Delay(-1) }},
		{"cut", func(p *redistest.Proxy) { p.Reset() }},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, startServer(t))
			c, seen := open(t, p.URL(), nil)
			eventually(t, "it works", func() bool { return set(t.Context(), c, "a", "b") == nil })
			trouble.make(p)
			var longest time.Duration
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
				start := time.Now()
				if _, err := get(c.WithBudget(t.Context()), c, "a"); err == nil {
					t.Fatal("an answer came")
				}
				longest = max(longest, time.Since(start))
			}
			if longest > time.Second { // on a busy machine; 50 ms otherwise
				t.Errorf("a call took %s", longest)
			}
			if waited := seen.of("timeout") + seen.of("failed"); waited > 6 || seen.of("skipped") < 100 {
				t.Errorf("%d calls waited: %+v", waited, seen.all)
			}
			if c.Up() {
				t.Error("it is not left alone")
			}
			start := time.Now()
			p.Mend()
			eventually(t, "it works again", func() bool { _, err := get(t.Context(), c, "a"); return err == nil })
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it is used again after %s", took)
			}
		})
	}
}

// TestABudgetIsSpentOnce: however many calls a request makes, it waits for the
// limit in all.
func TestABudgetIsSpentOnce(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startServer(t))
	c, seen := open(t, p.URL(), func(c *redis.Config) { c.Timeout = 500 * time.Millisecond })
	eventually(t, "it works", func() bool { return set(t.Context(), c, "a", "b") == nil })
	p.Delay(-1)
	ctx := c.WithBudget(t.Context())
	for range 10 {
		if _, err := get(ctx, c, "a"); err == nil {
			t.Fatal("an answer came")
		}
	}
	if seen.of("timeout") != 1 || seen.of("skipped") != 9 {
		t.Errorf("%+v", seen.all)
	}
}
