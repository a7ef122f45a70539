package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"safelight/internal/breaker"
	"safelight/internal/fault"
)

// Command is one command with its keys, which must have one hash tag.
type Command struct {
	Name string
	Keys []string
	Args []string
}

// Reply is what a command gave.
type Reply struct{ message rueidis.RedisMessage }

// Null tells that there is nothing.
func (r Reply) Null() bool { return r.message.IsNil() }

// Bytes is text as it is; nil is none. It must not be changed.
func (r Reply) Bytes() []byte {
	b, _ := r.message.AsBytes()
	return b
}

// Text is text; "" is none.
func (r Reply) Text() string {
	s, _ := r.message.ToString()
	return s
}

// Int is a number; 0 is none.
func (r Reply) Int() int64 {
	n, _ := r.message.AsInt64()
	return n
}

// List is a list of texts; nil is none.
func (r Reply) List() []string {
	l, _ := r.message.AsStrSlice()
	return l
}

// Do sends commands in one go and gives their replies, in their order. It fails
// with ErrAway when Redis does not answer in time, and with fault.Internal when
// it refuses one of them: the others may have been carried out.
func (c *Client) Do(ctx context.Context, commands ...Command) ([]Reply, error) {
	return call(ctx, c, func(ctx context.Context, conn rueidis.Client) ([]Reply, error) {
		built := make([]rueidis.Completed, len(commands))
		for i, d := range commands {
			built[i] = conn.B().Arbitrary(d.Name).Keys(d.Keys...).Args(d.Args...).Build()
		}
		replies := make([]Reply, len(built))
		for i, r := range conn.DoMulti(ctx, built...) {
			m, err := r.ToMessage()
			if err != nil && !rueidis.IsRedisNil(err) {
				return nil, err
			}
			replies[i] = Reply{m}
		}
		return replies, nil
	})
}

// Text is bytes as an argument. They must not be changed any more.
func Text(b []byte) string { return rueidis.BinaryString(b) }

// Script is a program that Redis carries out at once.
type Script struct{ lua *rueidis.Lua }

// NewScript makes a script of Lua.
func NewScript(text string) *Script { return &Script{rueidis.NewLuaScript(text)} }

// Run carries out a script on keys of one hash tag. Errors are those of Do.
func (c *Client) Run(ctx context.Context, s *Script, keys []string, args ...string) (Reply, error) {
	return call(ctx, c, func(ctx context.Context, conn rueidis.Client) (Reply, error) {
		m, err := s.lua.Exec(ctx, conn, keys, args).ToMessage()
		if err != nil && !rueidis.IsRedisNil(err) {
			return Reply{}, err
		}
		return Reply{m}, nil
	})
}

// call carries out do within the limit of ctx. What is not done by then goes on
// in its own goroutine for as long as the connection lets it, so do must only
// use what nobody changes.
func call[T any](ctx context.Context, c *Client, do func(context.Context, rueidis.Client) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, fault.Wrap(fault.Canceled, err, "the request was cancelled")
	}
	limit, b, whole := c.limit(ctx)
	if !c.Up() || limit <= 0 {
		c.observer.Call("skipped", 0)
		return none, ErrAway
	}
	type outcome struct {
		value T
		err   error
	}
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, limit)
	done := make(chan outcome, 1)
	go func() {
		defer cancel()
		value, err := do(limited, *c.conn.Load())
		done <- outcome{value, err}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-limited.Done():
		o.err = limited.Err()
		select {
		case o = <-done: // just now
		default:
		}
	}
	took := time.Since(start)
	if b != nil {
		b.left.Add(-int64(took))
	}
	return o.value, c.judge(ctx, o.err, took, whole)
}

// judge counts a call, and gives its error in our words.
func (c *Client) judge(ctx context.Context, err error, took time.Duration, whole bool) error {
	refused, isReply := rueidis.IsRedisErr(err)
	switch {
	case err == nil:
		c.observer.Call("ok", took)
		c.worked(took)
		return nil
	case isReply && !unready(refused.Error()):
		c.observer.Call("error", took)
		c.worked(took)
		c.tell(err)
		return fault.Wrap(fault.Internal, err, "Redis refused a command")
	case ctx.Err() != nil: // that says nothing about Redis
		return fault.Wrap(fault.Canceled, ctx.Err(), "the request was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		c.observer.Call("timeout", took)
		if whole { // less says nothing about Redis
			c.end(breaker.Failed, errors.New("no answer within redis.timeout"))
		}
	default:
		c.observer.Call("failed", took)
		c.end(breaker.Failed, err)
	}
	return ErrAway
}

// worked tells the breaker of an answer that came in the time that a request has.
// One that came later does not make up for those that were not waited for, and
// none of them ends the time in which Redis is left alone.
func (c *Client) worked(took time.Duration) {
	if took <= c.config.Timeout && !c.breaker.Open() {
		c.end(breaker.Worked, nil)
	}
}

// unready tells answers of servers that can't serve at the moment.
func unready(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN":
		return true
	}
	return false
}

// tell logs what Redis refuses, once a minute at most.
func (c *Client) tell(err error) {
	now := time.Now().Unix()
	if last := c.told.Load(); now-last >= 60 && c.told.CompareAndSwap(last, now) {
		c.log.Warn("Redis refuses commands", "redis", c.config.URL, "error", err)
	}
}
