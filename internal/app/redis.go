package app

import (
	"net/http"

	"safelight/internal/cache"
	"safelight/internal/httpapi"
	"safelight/internal/redis"
	"safelight/internal/rediscache"
	"safelight/internal/rediscatalog"
	"safelight/internal/redisnews"
	"safelight/internal/redisturn"
	"safelight/internal/render"
	"safelight/internal/telemetry"
)

// remembering is what a server has in Redis.
type remembering struct {
	client  *redis.Client
	cache   *rediscache.Cache
	turns   *redisturn.Turns      // nil: every node renders for itself
	catalog *rediscatalog.Catalog // nil: the database is asked
}

// openRedis connects to Redis, where it is configured. It is no error that it
// does not answer. From here on a.catalog stands for a.db wherever images are
// found or committed.
func (a *App) openRedis(m *telemetry.Metrics) error {
	a.catalog = a.db
	c := a.config.Redis
	if c.Connection.URL == "" {
		return nil
	}
	client, err := redis.Open(c.Connection, m.Redis(), a.log)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, client.Close)
	r := &remembering{client: client, cache: rediscache.New(c.Renditions, client)}
	if c.Turns.Lease > 0 {
		r.turns = redisturn.New(c.Turns, client)
	}
	if a.shared != nil && c.Catalog.TTL > 0 { // SQLite is faster to ask
		r.catalog = rediscatalog.New(c.Catalog, client, a.db)
		a.catalog = r.catalog
	}
	a.redis = r
	r.observe(m)
	return nil
}

// observe registers what is counted.
func (r *remembering) observe(m *telemetry.Metrics) {
	m.RedisState(r.client)
	m.Cache("shared", r.cache)
	if r.catalog != nil {
		m.Counter("catalog_cache_hits_total", "Lookups of images that Redis answered.", nil, func() float64 { return float64(r.catalog.Stats().Hits) })
		m.Counter("catalog_cache_misses_total", "Lookups of images that the database answered although they could have been in Redis.", nil, func() float64 { return float64(r.catalog.Stats().Misses) })
	}
	if r.turns == nil {
		return
	}
	for outcome, count := range map[string]func(redisturn.Stats) int64{
		"taken":   func(s redisturn.Stats) int64 { return s.Taken },
		"waited":  func(s redisturn.Stats) int64 { return s.Waited },
		"gave_up": func(s redisturn.Stats) int64 { return s.GaveUp },
	} {
		m.Counter("render_turns_total", "Renders about which nodes agreed: made here, waited for, or made here as the wait grew long.",
			map[string]string{"outcome": outcome}, func() float64 { return float64(count(r.turns.Stats())) })
	}
}

// caches are all that hold renditions, this node's own first.
func (a *App) caches(own ...cache.Cache) []cache.Cache {
	if a.redis != nil {
		own = append(own, a.redis.cache)
	}
	return own
}

// shareRenditions has renditions shared with other nodes.
func (a *App) shareRenditions(r *render.Service) {
	switch {
	case a.redis == nil:
	case a.redis.turns == nil:
		r.Share(a.redis.cache, nil)
	default:
		r.Share(a.redis.cache, a.redis.turns)
	}
}

// tellThroughRedis has other nodes told what leaves the catalog, and passes on
// what they tell.
func (a *App) tellThroughRedis(hear redisnews.Hearer) {
	if a.redis == nil {
		return
	}
	if a.redis.catalog != nil { // before anybody tells
		a.purge.Answers = a.redis.catalog
	}
	a.purge.Tell = redisnews.New(a.redis.client, hear).Tell
}

// handler is the transport. Each request has its time to wait for Redis.
func (a *App) handler() http.Handler {
	if a.redis == nil {
		return a.api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.api.ServeHTTP(w, r.WithContext(a.redis.client.WithBudget(r.Context())))
	})
}

// redisChecks is what health says of Redis.
func (a *App) redisChecks() []httpapi.Check {
	if a.redis == nil {
		return nil
	}
	return []httpapi.Check{{Name: "redis", Ping: a.redis.client.Ping, Optional: true}}
}
