package app

import (
	"context"
	"maps"
	"slices"

	"safelight/internal/blob"
	"safelight/internal/config"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
	"safelight/internal/telemetry"
)

// openDestinations makes the stores that objects are published to. One that
// can't be opened now is tried again whenever it is needed.
func (a *App) openDestinations(metrics *telemetry.Metrics) {
	a.destinations = make(map[string]blob.Store)
	for _, name := range slices.Sorted(maps.Keys(a.config.Publish.Destinations)) {
		address := a.config.Publish.Destinations[name].URL
		o := StoreOptions{Node: a.config.Node, Spool: a.spool(), Objects: a.config.Objects, Log: a.log}
		if config.Bucket(address) { // what is known of its failures outlives the opening
			o.Breaker = objectblob.NewBreaker(a.config.Objects, name, a.log)
			metrics.Destination(name, o.Breaker)
		}
		late := blob.NewLate(func() (blob.Store, error) {
			store, err := a.keepOpen(OpenStore(context.Background(), address, o))
			if err != nil {
				return nil, fault.Wrap(fault.Unavailable, err, "the destination %s can't be used at the moment", name)
			}
			return store, nil
		})
		if _, err := late.Store(); err != nil {
			a.log.Warn("a destination can't be used; it is tried again when it is needed", "destination", name, "error", err)
		}
		a.destinations[name] = a.sealed(late, a.config.Publish.Destinations[name].Encrypt)
	}
}
