// Package rediscatalog remembers in Redis, for all nodes, which image a key or an
// id stands for, so that the database is asked less.
//
// Who finds nothing takes a lease (a token in the value's place), asks the
// database, and stores the answer only if the lease still stands. Whatever
// changes a name takes its value or lease away after the commit: so an answer
// that was read before cannot be stored after. Every node that hears of the
// change does the same (purge.Answers), in case the one that made it could not.
//
// Names are stored under a generation (generation.go). A node that may have
// missed something, or could not take a value away, goes on to a new generation
// and takes the others with it; what was stored before is never read again.
package rediscatalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/fault"
	"safelight/internal/purge"
	"safelight/internal/redis"
)

// Config times what is remembered. The names of its settings begin with "redis.".
type Config struct {
	// TTL is how long an answer is remembered, whatever happens. 0 is not at all.
	TTL time.Duration `koanf:"catalog_ttl"`
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config { return Config{TTL: time.Minute} }

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	if c.TTL != 0 && (c.TTL < time.Second || c.TTL > 24*time.Hour) {
		return fmt.Errorf("redis.catalog_ttl: %s is neither 0 nor from 1s to 24h", c.TTL)
	}
	return nil
}

// Catalog is a catalog whose Image and Resolve are remembered, and whose Commit
// makes sure that they stay true. It is safe for concurrent use.
type Catalog struct {
	catalog.Catalog
	config      Config
	redis       *redis.Client
	generations generations
	slots       chan struct{} // of answers that are being stored

	hits, misses atomic.Int64
}

var (
	_ catalog.Catalog = (*Catalog)(nil)
	_ purge.Answers   = (*Catalog)(nil)
)

// storing bounds how many answers are being stored at once; of more, some are
// not.
const storing = 64

// New makes a catalog over another one, and begins to listen.
func New(c Config, client *redis.Client, under catalog.Catalog) *Catalog {
	k := &Catalog{Catalog: under, config: c, redis: client, slots: make(chan struct{}, storing)}
	k.generations.begin(client)
	return k
}

// Stats counts since start.
type Stats struct {
	Hits, Misses int64 // lookups that Redis answered, and those that the database did
	Generations  int64 // that this node has begun
}

// Stats tells how often Redis could answer.
func (c *Catalog) Stats() Stats {
	return Stats{Hits: c.hits.Load(), Misses: c.misses.Load(), Generations: c.generations.begun.Load()}
}

// Image implements catalog.Catalog.
func (c *Catalog) Image(ctx context.Context, owner string, id asset.ID) (asset.Image, error) {
	return c.read(ctx, purge.Name{Owner: owner, Name: id.String()},
		func(img asset.Image) bool { return img.Owner == owner && img.ID == id },
		func() (asset.Image, error) { return c.Catalog.Image(ctx, owner, id) })
}

// Resolve implements catalog.Catalog.
func (c *Catalog) Resolve(ctx context.Context, owner, key string) (asset.Image, error) {
	return c.read(ctx, purge.Name{Owner: owner, Name: key},
		func(img asset.Image) bool { return img.Owner == owner && img.Key == key },
		func() (asset.Image, error) { return c.Catalog.Resolve(ctx, owner, key) })
}

// lease gives what is there, or puts a lease in its place and gives nothing.
var lease = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v then return v end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false`)

// fill puts an answer in a lease's place, if that still stands.
var fill = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)

// leaseTime bounds how long an answer of the database may take to be stored.
const leaseTime = "5000" // milliseconds

// leaseMark begins a lease; answers begin with another letter.
const leaseMark = "L"

// read gives what is remembered of a name, if fits; otherwise it asks, and
// remembers the answer. That there is no such image is not remembered.
func (c *Catalog) read(ctx context.Context, name purge.Name, fits func(asset.Image) bool, ask func() (asset.Image, error)) (asset.Image, error) {
	generation, ok := c.generations.current()
	if !ok || c.config.TTL == 0 {
		return ask()
	}
	key := c.key(generation, name)
	replies, err := c.redis.Do(ctx, redis.Command{Name: "GET", Keys: []string{key}})
	if err != nil {
		if fault.Of(err) == fault.Canceled {
			return asset.Image{}, err
		}
		c.misses.Add(1)
		return ask()
	}
	found, token := replies[0], ""
	if found.Null() {
		token = leaseMark + rand.Text()
		if found, err = c.redis.Run(ctx, lease, []string{key}, token, leaseTime); err != nil {
			c.misses.Add(1)
			return ask()
		}
	}
	if !found.Null() {
		token = ""
		img, err := decode(key, found.Text())
		if err == nil && fits(img) {
			c.hits.Add(1)
			return img, nil
		}
		if !errors.Is(err, errLease) { // damaged, or somebody else's
			_, _ = c.redis.Do(ctx, redis.Command{Name: "UNLINK", Keys: []string{key}})
		}
	}
	c.misses.Add(1)
	img, err := ask()
	if err == nil && token != "" {
		c.store(key, token, img)
	}
	return img, err
}

// store remembers an answer while it is given.
func (c *Catalog) store(key, token string, img asset.Image) {
	value, err := encode(key, img)
	if err != nil {
		return // it can't be an answer of a database
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-c.slots }()
		ttl := c.config.TTL - mathrand.N(c.config.TTL/10+1) // not all end at the same time
		_, _ = c.redis.Run(redis.Unhurried(context.Background()), fill, []string{key}, token, value, strconv.FormatInt(ttl.Milliseconds(), 10))
	}()
}

// key is where a name is remembered. A key that is written like an id shares its
// place with that, and costs it a lookup.
func (c *Catalog) key(generation string, n purge.Name) string {
	sum := sha256.Sum256([]byte(n.Owner + "\x00" + n.Name))
	return c.redis.Key("c:" + generation + ":" + base64.RawURLEncoding.EncodeToString(sum[:18]))
}

// Commit implements catalog.Catalog.
func (c *Catalog) Commit(ctx context.Context, change catalog.Change) ([]catalog.Result, error) {
	names, replaces := c.doomed(ctx, change)
	results, err := c.Catalog.Commit(ctx, change)
	if err != nil {
		if uncertain(err) && (replaces || len(names) > 0) {
			c.ForgetAll()
		}
		return results, err
	}
	for i := range results {
		if old := &results[i].Replaced; old.ID != (asset.ID{}) {
			names = append(names, namesOf(old)...)
		}
	}
	c.Forget(context.WithoutCancel(ctx), names)
	return results, nil
}

// uncertain tells errors of commits that may have been carried out.
func uncertain(err error) bool {
	switch fault.Of(err) {
	case fault.Internal, fault.Unavailable, fault.Canceled, fault.Timeout:
		return true
	}
	return false
}

// doomed lists the names of images that a change deletes, and tells whether it
// replaces others.
func (c *Catalog) doomed(ctx context.Context, change catalog.Change) (names []purge.Name, replaces bool) {
	for _, d := range change.Deletes {
		names = append(names, purge.Name{Owner: d.Owner, Name: d.ID.String()})
		if img, err := c.Catalog.Image(ctx, d.Owner, d.ID); err == nil {
			names = append(names, namesOf(&img)...)
		}
	}
	for i := range change.Images {
		replaces = replaces || change.Images[i].Rule == catalog.Replace
	}
	return names, replaces
}

func namesOf(img *asset.Image) []purge.Name {
	return []purge.Name{{Owner: img.Owner, Name: img.ID.String()}, {Owner: img.Owner, Name: img.Key}}
}

// Forget implements purge.Answers. Where Redis does not do it in time, what it
// has is not read any more.
func (c *Catalog) Forget(ctx context.Context, names []purge.Name) {
	generation := c.generations.last()
	if len(names) == 0 || generation == "" {
		return
	}
	commands := make([]redis.Command, len(names)) // one each, as a cluster has them in many places
	for i, n := range names {
		commands[i] = redis.Command{Name: "UNLINK", Keys: []string{c.key(generation, n)}}
	}
	if _, err := c.redis.Do(ctx, commands...); err != nil {
		c.ForgetAll()
	}
}

// ForgetAll implements purge.Answers.
func (c *Catalog) ForgetAll() { c.generations.renew() }
