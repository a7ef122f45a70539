package redisnews_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/purge"
	"safelight/internal/redis"
	"safelight/internal/redis/redistest"
	"safelight/internal/redisnews"
)

type nobody struct{}

func (nobody) Call(string, time.Duration) {}

// ear notes what is heard.
type ear struct{ heard chan string }

func (e ear) Hear(n purge.News) { e.heard <- fmt.Sprint(n) }
func (e ear) Lost()             { e.heard <- "lost" }

func (e ear) wants(t *testing.T, expected string) {
	t.Helper()
	select {
	case got := <-e.heard:
		if got != expected {
			t.Fatalf("%s is heard, expected %s", got, expected)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s is not heard", expected)
	}
}

func TestNews(t *testing.T) {
	t.Parallel()
	server := redistest.For(t, redistest.Alone)
	var ears [2]ear
	var nodes [2]*redisnews.Messenger
	var clients [2]*redis.Client
	for i := range nodes {
		c := redis.DefaultConfig()
		c.URL, c.Timeout = redis.URL(server.URL()), 2*time.Second
		var err error
		if clients[i], err = redis.Open(c, nobody{}, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = clients[i].Close() })
		ears[i] = ear{make(chan string, 100)}
		nodes[i] = redisnews.New(clients[i], ears[i])
		ears[i].wants(t, "lost") // whatever was told before
	}
	news := purge.News{Names: []purge.Name{{Owner: "main", Name: "Ä/b \"c\""}, {Owner: "other", Name: ""}}, Sources: []asset.Digest{{1, 2, 255}}}
	nodes[0].Tell(news)
	ears[1].wants(t, fmt.Sprint(news))
	if err := clients[0].Publish(t.Context(), "news", "no JSON"); err != nil {
		t.Fatal(err)
	}
	nodes[1].Tell(purge.News{})
	ears[0].wants(t, fmt.Sprint(purge.News{})) // and nothing of its own before
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	nodes[0].Tell(news) // that goes nowhere
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	ears[0].wants(t, "lost")
	ears[1].wants(t, "lost")
	nodes[0].Tell(purge.News{Sources: []asset.Digest{{3}}})
	ears[1].wants(t, fmt.Sprint(purge.News{Sources: []asset.Digest{{3}}}))
}
