package rediscatalog

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"safelight/internal/redis"
)

// channel is where nodes tell which generation they have begun.
const channel = "generations"

// generations are names that answers are stored under. They go up; all nodes use
// the highest that any of them has begun. A node that does not hear the others
// uses none.
type generations struct {
	redis *redis.Client
	begun atomic.Int64
	tell  chan struct{} // one is to be told

	mu     sync.Mutex
	name   string // the highest that is known
	joined bool
}

// begin begins to listen.
func (g *generations) begin(client *redis.Client) {
	g.redis, g.tell = client, make(chan struct{}, 1)
	client.OnUp(g.remind) // what could not be told
	client.Listen(channel, redis.Listener{
		Heard: g.heard,
		Joined: func() {
			g.mu.Lock()
			g.joined = true
			g.mu.Unlock()
			g.renew() // changes of the time before were missed
		},
		Left: func() {
			g.mu.Lock()
			g.joined = false
			g.mu.Unlock()
		},
	})
	client.Background(func(ctx context.Context) {
		for {
			select {
			case <-g.tell:
				_ = client.Publish(redis.Unhurried(ctx), channel, g.last())
			case <-ctx.Done():
				return
			}
		}
	})
}

// current is the generation to use, if any.
func (g *generations) current() (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.name, g.joined
}

// last is the highest generation that is known; "" is none yet.
func (g *generations) last() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.name
}

// renew begins a generation that is above all that are known, and tells the
// others soon.
func (g *generations) renew() {
	g.mu.Lock()
	number := time.Now().UnixMilli()
	if text, _, ok := strings.Cut(g.name, "-"); ok {
		if known, err := strconv.ParseInt(text, 16, 64); err == nil {
			number = max(number, known+1)
		}
	}
	g.name = fmt.Sprintf("%012x-%s", number, rand.Text()[:8])
	g.mu.Unlock()
	g.begun.Add(1)
	g.remind()
}

func (g *generations) remind() {
	select {
	case g.tell <- struct{}{}:
	default:
	}
}

// maxAhead bounds how far ahead of our clock another node's may be: a generation
// of a broken clock would stay for ever.
const maxAhead = 24 * time.Hour

// heard takes a generation over that is above ours. One below is answered with
// ours.
func (g *generations) heard(name string) {
	text, _, ok := strings.Cut(name, "-")
	number, err := strconv.ParseInt(text, 16, 64)
	if !ok || err != nil || len(text) != 12 || len(name) != 12+1+8 || number > time.Now().Add(maxAhead).UnixMilli() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case name > g.name:
		g.name = name
	case name < g.name:
		g.remind()
	}
}
