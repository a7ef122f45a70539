package redis

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// Listener is told what is published. Its calls come one after the other, and
// may call Redis.
type Listener struct {
	// Heard is told a message.
	Heard func(message string)
	// Joined is told that messages come from now on, and that any number may
	// have been lost before. It is called again each time that this happens.
	Joined func()
	// Left is told that messages do not come any more, until Joined; nil is nobody.
	Left func()
}

// backlog is how many messages wait for a listener; of more, all are lost.
const backlog = 1024

// event is what a listener is told: a message, or that it has joined or left.
type event struct {
	kind    int
	message string
}

const (
	heard = iota
	joined
	left
)

// Listen tells a listener what is published on a channel, until the client is
// closed.
func (c *Client) Listen(channel string, l Listener) {
	events := make(chan event, backlog)
	c.running.Go(func() { c.receive(c.Key(channel), events) })
	c.running.Go(func() {
		for {
			select {
			case e := <-events:
				l.tell(e)
			case <-c.background.Done():
				return
			}
		}
	})
}

func (l *Listener) tell(e event) {
	switch {
	case e.kind == heard:
		l.Heard(e.message)
	case e.kind == joined:
		l.Joined()
	case l.Left != nil:
		l.Left()
	}
}

// receive passes on what comes. It must not wait: it holds up the connection.
func (c *Client) receive(channel string, events chan<- event) {
	var mu sync.Mutex
	missed := false
	pass := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		if missed { // first tell that some are missing
			select {
			case events <- event{kind: joined}:
				missed = false
			default:
				return
			}
		}
		select {
		case events <- e:
		default:
			missed = true
		}
	}
	for ; c.background.Err() == nil; rest(c.background, retryEvery/4) {
		conn := c.conn.Load()
		if conn == nil || c.breaker.Open() {
			continue
		}
		there := atomic.Bool{}
		ctx := rueidis.WithOnSubscriptionHook(c.background, func(s rueidis.PubSubSubscription) {
			if s.Kind == "subscribe" {
				there.Store(true)
				pass(event{kind: joined})
			}
		})
		_ = (*conn).Receive(ctx, (*conn).B().Subscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) {
			pass(event{kind: heard, message: m.Message})
		})
		if there.Load() {
			pass(event{kind: left})
		}
	}
}

// Publish tells all who listen to a channel, this process too.
func (c *Client) Publish(ctx context.Context, channel, message string) error {
	_, err := c.Do(ctx, Command{Name: "PUBLISH", Args: []string{c.Key(channel), message}})
	return err
}
