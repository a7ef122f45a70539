// Package rediscache keeps small renditions in Redis, where all nodes find them.
//
// Each is one value, named by its source and variant, that expires when nobody
// asks for it. Beside them each source has one hash: a token, made at random,
// and the variants that were put under it. A value counts while its source's
// hash has the token that the value was put with; so taking the hash away
// purges the source at once, whatever is just being put, and whatever Redis has
// let go of for room. All keys of a source have one hash tag.
package rediscache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"safelight/internal/asset"
	"safelight/internal/cache"
	"safelight/internal/fault"
	"safelight/internal/redis"
)

// Config bounds the cache. The names of its settings begin with "redis.".
type Config struct {
	// TTL is how long a rendition is kept after somebody last asked for it.
	TTL time.Duration `koanf:"ttl"`
	// MaxBytes is how large a rendition may be; larger ones are not kept.
	MaxBytes int64 `koanf:"max_bytes"`
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config { return Config{TTL: 24 * time.Hour, MaxBytes: 256 << 10} }

// maxBytes bounds MaxBytes: one value holds up all others of a connection.
const maxBytes = 16 << 20

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if c.TTL < time.Second || c.TTL > 365*24*time.Hour {
		errs = append(errs, fmt.Errorf("redis.ttl: %s is not from 1s to 8760h", c.TTL))
	}
	if c.MaxBytes < 0 || c.MaxBytes > maxBytes {
		errs = append(errs, fmt.Errorf("redis.max_bytes: %d is not from 0 to 16 MiB", c.MaxBytes))
	}
	return errors.Join(errs...)
}

// Cache is a cache.Cache whose entries have Data. What it holds is shared with
// other nodes, so its Stats do not tell. While Redis is away everything is a
// miss, and Put does nothing. It is safe for concurrent use.
type Cache struct {
	config Config
	redis  *redis.Client

	hits, misses, corrupt atomic.Int64

	mu       sync.Mutex
	unpurged map[asset.Digest]struct{} // as Redis was away
	purging  atomic.Bool
}

var _ cache.Cache = (*Cache)(nil)

// New makes a cache over a client.
func New(c Config, client *redis.Client) *Cache {
	k := &Cache{config: c, redis: client, unpurged: make(map[asset.Digest]struct{})}
	client.OnUp(k.purgeAgain)
	return k
}

// index is the name of a source's hash.
func (c *Cache) index(source asset.Digest) string {
	return c.redis.Key("r:{" + source.String() + "}")
}

func (c *Cache) name(key cache.Key) string { return c.index(key.Source) + ":" + key.Variant.String() }

// tokenField is the field of a source's hash that has the token.
const tokenField = "token"

// lifetime is how long an entry lives from now on, in milliseconds; not all end
// at the same time.
func (c *Cache) lifetime() string {
	ttl := c.config.TTL
	return strconv.FormatInt((ttl - mathrand.N(ttl/10+1)).Milliseconds(), 10)
}

// indexLifetime is that of a source's hash, longer than any entry's.
func (c *Cache) indexLifetime() string {
	return strconv.FormatInt((c.config.TTL + time.Minute).Milliseconds(), 10)
}

// Get implements cache.Cache.
func (c *Cache) Get(ctx context.Context, key cache.Key) (*cache.Entry, bool, error) {
	index, name := c.index(key.Source), c.name(key)
	replies, err := c.redis.Do(ctx,
		redis.Command{Name: "HGET", Keys: []string{index}, Args: []string{tokenField}},
		redis.Command{Name: "GETEX", Keys: []string{name}, Args: []string{"PX", c.lifetime()}},
		redis.Command{Name: "PEXPIRE", Keys: []string{index}, Args: []string{c.indexLifetime()}})
	if err != nil || replies[1].Null() {
		c.misses.Add(1)
		return nil, false, nil
	}
	token, meta, data, err := decode(key, replies[1].Bytes())
	if err == nil && token == replies[0].Text() {
		c.hits.Add(1)
		return &cache.Entry{Meta: meta, Data: data}, true, nil
	}
	c.misses.Add(1)
	if err != nil {
		c.corrupt.Add(1)
		err = fmt.Errorf("the entry %s in Redis: %w", name, err)
	}
	_, _ = c.redis.Do(ctx, redis.Command{Name: "UNLINK", Keys: []string{name}})
	return nil, false, err
}

// beginPut gives the token of a source, which it makes where there is none.
var beginPut = redis.NewScript(`
redis.call('HSETNX', KEYS[1], 'token', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'token')`)

// endPut stores a value unless its source was purged since beginPut.
var endPut = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[3])
redis.call('HSET', KEYS[1], ARGV[2], ARGV[5])
return 1`)

// endNone is endPut of what is not kept: an earlier value goes.
var endNone = redis.NewScript(`
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('UNLINK', KEYS[2])`)

// Put implements cache.Cache. An entry above MaxBytes is not kept, and its body
// not read. When Redis fails that is no error: the rendition is not kept. Nobody
// should wait for it: it takes longer than a request may.
func (c *Cache) Put(ctx context.Context, key cache.Key, meta asset.Rendition, body io.Reader) error {
	if meta.Bytes < 0 {
		return fault.New(fault.Internal, "a rendition of %d bytes can't be cached", meta.Bytes)
	}
	ctx = redis.Unhurried(ctx)
	keys := []string{c.index(key.Source), c.name(key)}
	if meta.Bytes > c.config.MaxBytes {
		_, _ = c.redis.Run(ctx, endNone, keys, key.Variant.String())
		return nil
	}
	token, failed := c.redis.Run(ctx, beginPut, keys[:1], rand.Text(), c.indexLifetime())
	data := make([]byte, meta.Bytes)
	if n, err := io.ReadFull(body, data); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fault.Wrap(fault.Internal, err, "a rendition ended after %d of %d bytes", n, meta.Bytes)
		}
		return err
	}
	if failed != nil {
		return nil
	}
	meta.Source, meta.Variant = key.Source, key.Variant
	value, described, err := encode(token.Text(), meta, data)
	if err != nil {
		return err
	}
	_, _ = c.redis.Run(ctx, endPut, keys, token.Text(), key.Variant.String(), c.lifetime(), redis.Text(value), redis.Text(described))
	return nil
}

// List implements cache.Cache.
func (c *Cache) List(ctx context.Context, source asset.Digest) ([]asset.Rendition, error) {
	replies, err := c.redis.Do(ctx, redis.Command{Name: "HVALS", Keys: []string{c.index(source)}})
	if err != nil {
		return nil, err
	}
	var list []asset.Rendition
	var exist []redis.Command
	for _, text := range replies[0].List() {
		meta, err := describe([]byte(text))
		if err != nil {
			continue // the token, or nothing of ours
		}
		meta.Source = source
		list = append(list, meta)
		exist = append(exist, redis.Command{Name: "EXISTS", Keys: []string{c.name(cache.Key{Source: source, Variant: meta.Variant})}})
	}
	if len(list) == 0 {
		return nil, nil
	}
	if replies, err = c.redis.Do(ctx, exist...); err != nil {
		return nil, err
	}
	there := list[:0]
	for i, meta := range list {
		if replies[i].Int() > 0 {
			there = append(there, meta)
		}
	}
	return there, nil
}

// purgeSource takes a source's hash away and gives its fields.
var purgeSource = redis.NewScript(`
local fields = redis.call('HKEYS', KEYS[1])
redis.call('UNLINK', KEYS[1])
return fields`)

// Purge implements cache.Cache. When Redis fails that is no error: it is done
// once Redis is back; no image has the source, so nobody asks for it meanwhile.
func (c *Cache) Purge(ctx context.Context, source asset.Digest) error {
	if c.purge(ctx, source) != nil {
		c.remember(source)
	}
	return nil
}

func (c *Cache) purge(ctx context.Context, source asset.Digest) error {
	index := c.index(source)
	reply, err := c.redis.Run(ctx, purgeSource, []string{index})
	if err != nil {
		return err
	}
	var names []string
	for _, field := range reply.List() {
		if field != tokenField {
			names = append(names, index+":"+field)
		}
	}
	if len(names) > 0 { // they do not count any more, and expire if this fails
		_, _ = c.redis.Do(ctx, redis.Command{Name: "UNLINK", Keys: names})
	}
	return nil
}

// maxUnpurged bounds what is remembered; renditions of more expire.
const maxUnpurged = 10_000

func (c *Cache) remember(source asset.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unpurged) < maxUnpurged {
		c.unpurged[source] = struct{}{}
	}
	if c.redis.Up() { // it was slow once, and nobody will tell that it is back
		c.purgeAgain()
	}
}

// purgeAgain begins to purge what was to be purged while Redis was away.
func (c *Cache) purgeAgain() {
	if !c.purging.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.purging.Store(false)
		ctx := redis.Unhurried(context.Background())
		for {
			c.mu.Lock()
			var source asset.Digest
			some := false
			for source = range c.unpurged {
				some = true
				break
			}
			c.mu.Unlock()
			if !some || c.purge(ctx, source) != nil {
				return
			}
			c.mu.Lock()
			delete(c.unpurged, source)
			c.mu.Unlock()
		}
	}()
}

// Stats implements cache.Cache.
func (c *Cache) Stats() cache.Stats {
	return cache.Stats{Elsewhere: true, Hits: c.hits.Load(), Misses: c.misses.Load(), Corrupt: c.corrupt.Load()}
}
