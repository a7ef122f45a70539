// Package redisturn lets one node at a time make a variant, by a lock in Redis
// with a lease that is renewed while the variant is made. Nothing depends on it:
// without Redis, or when the wait grows long, every node makes its own.
package redisturn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"safelight/internal/asset"
	"safelight/internal/fault"
	"safelight/internal/redis"
	"safelight/internal/render"
)

// Config times the lock. The names of its settings begin with "redis.".
type Config struct {
	// Lease is how long other nodes wait for one that has died. 0 is no lock:
	// every node makes its own.
	Lease time.Duration `koanf:"lease"`
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config { return Config{Lease: 3 * time.Second} }

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	if c.Lease != 0 && (c.Lease < 100*time.Millisecond || c.Lease > time.Minute) {
		return fmt.Errorf("redis.lease: %s is neither 0 nor from 100ms to 1m", c.Lease)
	}
	return nil
}

// Turns implements render.Turns. It is safe for concurrent use.
type Turns struct {
	config Config
	redis  *redis.Client

	taken, waited, gaveUp atomic.Int64

	mu      sync.Mutex
	waiting map[asset.VariantKey][]chan bool // told whether it was made
}

var _ render.Turns = (*Turns)(nil)

// channel is where nodes tell that they have ended.
const channel = "turns"

// New makes turns over a client, and begins to listen.
func New(c Config, client *redis.Client) *Turns {
	t := &Turns{config: c, redis: client, waiting: make(map[asset.VariantKey][]chan bool)}
	client.Listen(channel, redis.Listener{Heard: t.heard, Joined: func() {}})
	return t
}

// Stats counts since start.
type Stats struct {
	Taken  int64 // times that this node had the turn
	Waited int64 // times that another node had it, and ended
	GaveUp int64 // times that the wait grew long
}

// Stats tells how often turns were taken and waited for.
func (t *Turns) Stats() Stats {
	return Stats{Taken: t.taken.Load(), Waited: t.waited.Load(), GaveUp: t.gaveUp.Load()}
}

// Limits of waiting.
const (
	maxWait  = 5 * time.Second // where ctx has no end; otherwise half the time until that
	askEvery = time.Second     // in case a message was lost
)

// take gives 0 to who has the lock now, and otherwise for how long another has it
// at least, in milliseconds; and notes that somebody waits.
var take = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
redis.call('SET', KEYS[2], '', 'PX', 60000)
return math.max(redis.call('PTTL', KEYS[1]), 1)`)

// renew makes the lease longer if it is still ours.
var renew = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

// release gives the lock back if it is still ours, and tells those who wait.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
if redis.call('UNLINK', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1`)

func (t *Turns) keys(v asset.VariantKey) []string {
	lock := t.redis.Key("t:{" + v.String() + "}")
	return []string{lock, lock + ":w"}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Take implements render.Turns.
func (t *Turns) Take(ctx context.Context, v asset.VariantKey) (render.Turn, func(error)) {
	wait := maxWait
	if end, ok := ctx.Deadline(); ok {
		wait = time.Until(end) / 2
	}
	long := time.NewTimer(wait)
	defer long.Stop()
	token, keys := rand.Text(), t.keys(v)
	for {
		ended, forget := t.expect(v) // before asking, so that no message is missed
		reply, err := t.redis.Run(ctx, take, keys, token, milliseconds(t.config.Lease))
		if err != nil {
			forget()
			return render.Free, nil
		}
		left := time.Duration(reply.Int()) * time.Millisecond
		if left == 0 {
			forget()
			t.taken.Add(1)
			return render.Yours, t.hold(keys, v, token)
		}
		ask := time.NewTimer(min(left, askEvery))
		made, over := false, false
		select {
		case made = <-ended:
		case <-ask.C:
		case <-long.C:
			over = true
		case <-ctx.Done():
			over = true
		}
		ask.Stop()
		forget()
		switch {
		case made:
			t.waited.Add(1)
			return render.Ended, nil
		case over:
			t.gaveUp.Add(1)
			return render.Free, nil
		}
	}
}

// hold renews a lease until it is given back.
func (t *Turns) hold(keys []string, v asset.VariantKey, token string) func(error) {
	ctx, cancel := context.WithCancel(redis.Unhurried(context.Background()))
	go func() {
		for tick := time.NewTicker(t.config.Lease / 3); ; {
			select {
			case <-tick.C:
				_, _ = t.redis.Run(ctx, renew, keys[:1], token, milliseconds(t.config.Lease))
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	return func(err error) {
		cancel()
		message := v.String() + " made"
		if k := fault.Of(err); k == fault.Canceled || k == fault.Unavailable || errors.Is(err, context.Canceled) {
			message = v.String() + " free" // the next one may do better
		}
		_, _ = t.redis.Run(redis.Unhurried(context.Background()), release, keys, token, t.redis.Key(channel), message)
	}
}

// expect registers somebody who waits for a variant.
func (t *Turns) expect(v asset.VariantKey) (ended <-chan bool, forget func()) {
	told := make(chan bool, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting[v] = append(t.waiting[v], told)
	return told, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		left := t.waiting[v][:0]
		for _, w := range t.waiting[v] {
			if w != told {
				left = append(left, w)
			}
		}
		if t.waiting[v] = left; len(left) == 0 {
			delete(t.waiting, v)
		}
	}
}

// heard tells those who wait.
func (t *Turns) heard(message string) {
	name, what, _ := strings.Cut(message, " ")
	raw, err := hex.DecodeString(name)
	if err != nil || len(raw) != len(asset.VariantKey{}) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, told := range t.waiting[asset.VariantKey(raw)] {
		select {
		case told <- what == "made":
		default:
		}
	}
}
