// Package redisnews has nodes tell each other through Redis what has left the
// catalog.
package redisnews

import (
	"context"
	"crypto/rand"
	"encoding/json"

	"safelight/internal/asset"
	"safelight/internal/purge"
	"safelight/internal/redis"
)

// channel is where news are told.
const channel = "news"

// backlog is how much waits to be told. Of more, nothing is told: PostgreSQL
// tells too.
const backlog = 1024

// Messenger tells news and passes on those of others. It is safe for concurrent
// use.
type Messenger struct {
	redis *redis.Client
	node  string // tells our own from others'
	out   chan purge.News
}

// message is what is published.
type message struct {
	Node    string      `json:"node"`
	Names   [][2]string `json:"names"`
	Sources [][]byte    `json:"sources"`
}

// Hearer takes in what other nodes tell, without holding up who passes it on.
type Hearer interface {
	Hear(n purge.News)
	Lost()
}

// New makes a messenger, which passes on what it hears until the client is
// closed.
func New(client *redis.Client, ear Hearer) *Messenger {
	m := &Messenger{redis: client, node: rand.Text(), out: make(chan purge.News, backlog)}
	client.Listen(channel, redis.Listener{
		Heard: func(text string) {
			if n, ok := m.decode(text); ok {
				ear.Hear(n)
			}
		},
		Joined: ear.Lost, // what was told before
	})
	client.Background(func(ctx context.Context) {
		for {
			select {
			case n := <-m.out:
				_ = client.Publish(redis.Unhurried(ctx), channel, m.encode(n)) // the client tells when Redis is away
			case <-ctx.Done():
				return
			}
		}
	})
	return m
}

// Tell tells other nodes soon, if Redis answers.
func (m *Messenger) Tell(n purge.News) {
	select {
	case m.out <- n:
	default:
	}
}

func (m *Messenger) encode(n purge.News) string {
	out := message{Node: m.node}
	for _, name := range n.Names {
		out.Names = append(out.Names, [2]string{name.Owner, name.Name})
	}
	for _, source := range n.Sources {
		out.Sources = append(out.Sources, source[:])
	}
	text, _ := json.Marshal(out)
	return string(text)
}

// decode reads what another node has told.
func (m *Messenger) decode(text string) (n purge.News, ok bool) {
	var in message
	if err := json.Unmarshal([]byte(text), &in); err != nil || in.Node == m.node {
		return n, false
	}
	for _, name := range in.Names {
		n.Names = append(n.Names, purge.Name{Owner: name[0], Name: name[1]})
	}
	for _, raw := range in.Sources {
		if len(raw) == len(asset.Digest{}) {
			n.Sources = append(n.Sources, asset.Digest(raw))
		}
	}
	return n, true
}
