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

// openDestinations makes the stores that objects are published to.
func (a *App) openDestinations(metrics *telemetry.Metrics) {
	a.destinations = make(map[string]blob.Store)
	for _, name := range slices.Sorted(maps.Keys(a.config.Publish.Destinations)) {
		d := a.config.Publish.Destinations[name]
		late := a.openLater("the destination "+name, name, d.URL, metrics, func(o StoreOptions) (ClosingStore, error) {
			return OpenStore(context.Background(), d.URL, o)
		})
		a.destinations[name] = a.sealed(late, d.Encrypt)
	}
}

// openLater makes a store that is opened at once if it can be, and otherwise
// whenever it is needed. what names it in messages, and label in metrics.
func (a *App) openLater(what, label, address string, metrics *telemetry.Metrics, open func(StoreOptions) (ClosingStore, error)) blob.Store {
	o := StoreOptions{Node: a.config.Node, Spool: a.spool(), Objects: a.config.Objects, Log: a.log}
	if config.Bucket(address) { // what is known of its failures outlives the opening
		o.Breaker = objectblob.NewBreaker(a.config.Objects, label, a.log)
		metrics.Destination(label, o.Breaker)
	}
	late := blob.NewLate(func() (blob.Store, error) {
		store, err := a.keepOpen(open(o))
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "%s can't be used at the moment", what)
		}
		return store, nil
	})
	if _, err := late.Store(); err != nil {
		a.log.Warn(what+" can't be used; it is tried again when it is needed", "error", err)
	}
	return late
}
