package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"safelight/internal/redis/redistest"
)

// startRedis starts a Redis server for a test.
func startRedis(t *testing.T) *redistest.Server {
	t.Helper()
	return redistest.For(t, redistest.Alone)
}

// from is where a server says that an answer came from.
func from(a answer) string { return strings.TrimPrefix(a.header.Get("Cache-Status"), "Safelight; ") }

const (
	fromMemory = "hit; detail=memory"
	fromShared = "hit; detail=shared"
)

// twoNodes starts two servers over one database, one data directory and one
// Redis, at a URL.
func twoNodes(t *testing.T, redisURL string, env ...string) (a, b *server) {
	t.Helper()
	_, setting := database(t)
	env = append(env, setting, "SAFELIGHT_REDIS_URL="+redisURL, "SAFELIGHT_REDIS_TIMEOUT=500ms") // the race detector is slow
	a = start(t, "", append(env, "SAFELIGHT_NODE=a")...)
	b = start(t, a.data, append(env, "SAFELIGHT_NODE=b")...)
	for _, s := range []*server{a, b} {
		eventually(t, func() bool { return metric(t, s, "redis_left_alone") == 0 }, s.log.String)
	}
	return a, b
}

func put(t *testing.T, s *server, key string, body []byte) {
	t.Helper()
	if a := s.do(http.MethodPut, "/images/"+key, strings.NewReader(string(body)), "Content-Type", "image/jpeg"); a.status >= 300 {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

func rendered(t *testing.T, servers ...*server) (n float64) {
	t.Helper()
	for _, s := range servers {
		n += metric(t, s, `renditions_total{from="render"}`)
	}
	return n
}

// TestRedisBetweenNodes takes a picture through two nodes: rendered once, found
// by the other node, and gone from both when it is deleted on one.
func TestRedisBetweenNodes(t *testing.T) {
	r := startRedis(t)
	a, b := twoNodes(t, r.URL())
	body := jpegOf(t, scene(200, 150, 1))
	put(t, a, "one.jpg", body)
	const path = "/images/one.jpg?w=50&format=png"
	first := a.get(path)
	if first.status != http.StatusOK {
		t.Fatalf("%d %s", first.status, first.body)
	}
	eventually(t, func() bool {
		answer, err := r.Ask("EXISTS safelight:r:{" + digestOf(body) + "}")
		return err == nil && answer == ":1"
	}, a.log.String)
	second := b.get(path)
	if from(second) != fromShared || digestOf(second.body) != digestOf(first.body) || rendered(t, b) != 0 {
		t.Fatalf("the other node answers from %q with %d bytes, having rendered %v\n%s", from(second), len(second.body), rendered(t, b), b.log)
	}
	if third := b.get(path); from(third) != fromMemory {
		t.Errorf("again: %q", from(third))
	}
	if n := metric(t, b, `cache_hits_total{level="shared"}`); n != 1 {
		t.Errorf("the metrics tell of %v hits", n)
	}
	// The rows come from Redis too, once they are there.
	hits := metric(t, b, "catalog_cache_hits_total")
	eventually(t, func() bool { b.get("/images/one.jpg"); return metric(t, b, "catalog_cache_hits_total") > hits }, b.log.String)

	checkOneRender(t, a, b)

	// Deleted on one node, it is gone on the other within a second, from its
	// caches too.
	id := a.describeKey(t, "one.jpg")
	if answer := a.do(http.MethodDelete, "/v1/images/"+id, nil); answer.status != http.StatusNoContent {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	within(t, time.Second, func() bool { return b.get(path).status == http.StatusNotFound }, func() string { return "the other node still answers what was deleted" })
	eventually(t, func() bool {
		answer, err := r.Ask("EXISTS safelight:r:{" + digestOf(body) + "}")
		return err == nil && answer == ":0"
	}, a.log.String)
	eventually(t, func() bool { return !cachedOnDisk(t, b, "b", digestOf(body)) }, func() string { return "the other node keeps renditions of what was deleted" })
	put(t, b, "one.jpg", body)
	if again := b.get(path); from(again) != "fwd=miss; stored" {
		t.Errorf("stored again it is answered from %q: it was not gone from memory", from(again))
	}
	if strings.Contains(a.log.String()+b.log.String(), redistest.Password) {
		t.Error("the log has the password")
	}
}

// describeKey is the id of the image under a key.
func (s *server) describeKey(t *testing.T, key string) string {
	t.Helper()
	var page struct{ Images []struct{ ID, Key string } }
	s.get("/v1/images?prefix="+key).json(t, &page)
	if len(page.Images) != 1 {
		t.Fatalf("%d images have the key %s", len(page.Images), key)
	}
	return page.Images[0].ID
}

// cachedOnDisk tells whether a node's disk cache has files of a source.
func cachedOnDisk(t *testing.T, s *server, node, digest string) bool {
	t.Helper()
	found := false
	_ = filepath.WalkDir(filepath.Join(s.data, "cache-"+node), func(path string, d os.DirEntry, err error) error {
		found = found || strings.Contains(path, digest)
		return nil
	})
	return found
}

// checkOneRender has many ask both nodes for one variant that nobody has yet.
func checkOneRender(t *testing.T, a, b *server) {
	t.Helper()
	put(t, a, "large.jpg", jpegOf(t, scene(2500, 2000, 9)))
	before := rendered(t, a, b)
	var wg sync.WaitGroup
	for i := range 24 {
		s := []*server{a, b}[i%2]
		wg.Go(func() {
			if answer, err := s.try(http.MethodGet, "/images/large.jpg?w=300&format=webp", nil); err != nil || answer.status != http.StatusOK {
				t.Errorf("%d, %v", answer.status, err)
			}
		})
	}
	wg.Wait()
	if n := rendered(t, a, b) - before; n != 1 {
		t.Errorf("two nodes rendered one variant %v times\n%s\n%s", n, a.log, b.log)
	}
}

// TestRedisComesAndGoes: servers start without Redis, use it when it comes, work
// without it and with a dumb one, and use it again.
func TestRedisComesAndGoes(t *testing.T) {
	r := startRedis(t)
	proxy, err := redistest.NewProxy(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	proxy.Reset()
	_, setting := database(t)
	env := []string{setting, "SAFELIGHT_REDIS_URL=" + proxy.URL()}
	a := start(t, "", append(env, "SAFELIGHT_NODE=a")...)
	b := start(t, a.data, append(env, "SAFELIGHT_NODE=b")...)
	put(t, a, "one.jpg", jpegOf(t, scene(200, 150, 1)))
	width := 0
	check := func() {
		t.Helper()
		width++
		path := fmt.Sprintf("/images/one.jpg?w=%d&format=png", width)
		if first, second := a.get(path), b.get(path); first.status != http.StatusOK || digestOf(first.body) != digestOf(second.body) {
			t.Fatalf("%d %d %s", first.status, second.status, second.body)
		}
		body := jpegOf(t, scene(100, 80, uint64(width)))
		put(t, b, "moved.jpg", body)
		eventually(t, func() bool { return digestOf(a.get("/images/moved.jpg").body) == digestOf(body) }, a.log.String)
	}
	health := func(want string) {
		t.Helper()
		var doc struct {
			Dependencies map[string]struct{ Status string }
		}
		eventually(t, func() bool { a.get("/healthz").json(t, &doc); return doc.Dependencies["redis"].Status == want },
			func() string { return string(a.get("/healthz").body) })
		if answer := a.get("/readyz"); answer.status != http.StatusOK {
			t.Errorf("with Redis %s the server is not ready: %d %s", want, answer.status, answer.body)
		}
	}
	used := func() {
		t.Helper()
		within(t, 10*time.Second, func() bool { return metric(t, a, "redis_left_alone")+metric(t, b, "redis_left_alone") == 0 }, a.log.String)
		hits := metric(t, b, `cache_hits_total{level="shared"}`)
		eventually(t, func() bool {
			check()
			return metric(t, b, `cache_hits_total{level="shared"}`) > hits
		}, b.log.String)
		health("ok")
	}
	health("failed")
	check()
	proxy.Mend()
	used()
	ended := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, trouble := range []struct{ begin, end func() }{
		{func() { ended(r.Kill()) }, func() { ended(r.Resume()) }},
		{proxy.Reset, proxy.Mend},
		{func() { proxy.Delay(-1) }, proxy.Mend},
		{func() { proxy.Delay(5 * time.Second) }, proxy.Mend},
	} {
		trouble.begin()
		for range 3 {
			check()
		}
		eventually(t, func() bool { return metric(t, a, "redis_left_alone") == 1 }, a.log.String)
		health("failed")
		waited := metric(t, a, `redis_calls_total{outcome="timeout"}`) + metric(t, a, `redis_calls_total{outcome="failed"}`)
		for range 20 {
			check()
		}
		if n := metric(t, a, `redis_calls_total{outcome="timeout"}`) + metric(t, a, `redis_calls_total{outcome="failed"}`); n > waited+10 {
			// Some that nobody waits for may have been under way; these were over 100 requests.
			t.Errorf("%v calls waited for a Redis that is left alone", n-waited)
		}
		trouble.end()
		used()
	}
	if n := strings.Count(a.log.String(), "Redis does not answer"); n != strings.Count(a.log.String(), "Redis answers again") || n < 5 || n > 10 {
		t.Errorf("the log tells %d times that Redis does not answer:\n%s", n, a.log)
	}
}
