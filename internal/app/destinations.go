package app

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"safelight/internal/blob"
	"safelight/internal/breaker"
	"safelight/internal/cdkblob"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/objectblob"
	"safelight/internal/ossblob"
	"safelight/internal/telemetry"
)

// openDestinations makes the stores that objects are published to. One that
// can't be opened now is tried again whenever it is needed.
func (a *App) openDestinations(metrics *telemetry.Metrics) error {
	a.destinations = make(map[string]blob.Store)
	for _, name := range slices.Sorted(maps.Keys(a.config.Publish.Destinations)) {
		address := a.config.Publish.Destinations[name].URL
		u, err := url.Parse(address)
		if err != nil {
			return fmt.Errorf("destinations.%s: %w", name, err)
		}
		open := func() (closingStore, error) { return diskblob.Open(diskblob.Config{Dir: u.Path, Node: a.config.Node}) }
		if u.Scheme != "file" {
			open = a.bucket(address, objectblob.NewBreaker(a.config.Objects, name, a.log), name, metrics)
		}
		late := blob.NewLate(func() (blob.Store, error) { return a.openDestination(name, open) })
		if _, err := late.Store(); err != nil {
			a.log.Warn("a destination can't be used; it is tried again when it is needed", "destination", name, "error", err)
		}
		a.destinations[name] = late
	}
	return nil
}

type closingStore interface {
	blob.Store
	io.Closer
}

func (a *App) openDestination(name string, open func() (closingStore, error)) (blob.Store, error) {
	store, err := open()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the destination %s can't be used at the moment", name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closers = append(a.closers, store.Close)
	return store, nil
}

// openTime bounds the opening of a bucket, in which credentials may be looked for.
const openTime = 10 * time.Second

// bucket is how to open a destination that is no directory. What is known of its
// failures outlives the opening.
func (a *App) bucket(address string, b *breaker.Breaker, name string, metrics *telemetry.Metrics) func() (closingStore, error) {
	metrics.Destination(name, b)
	spool := filepath.Join(a.config.Data, "spool")
	if strings.HasPrefix(address, "oss:") {
		return func() (closingStore, error) {
			return ossblob.Open(ossblob.Options{URL: address, Config: a.config.Objects, Spool: spool, Breaker: b, Log: a.log})
		}
	}
	return func() (closingStore, error) {
		ctx, cancel := context.WithTimeout(context.Background(), openTime)
		defer cancel()
		return cdkblob.Open(ctx, cdkblob.Options{URL: address, Config: a.config.Objects, Spool: spool, Breaker: b, Log: a.log})
	}
}
