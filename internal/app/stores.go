package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/blobcache"
	"safelight/internal/breaker"
	"safelight/internal/cdkblob"
	"safelight/internal/config"
	"safelight/internal/diskblob"
	"safelight/internal/fault"
	"safelight/internal/httpapi"
	"safelight/internal/objectblob"
	"safelight/internal/ossblob"
	"safelight/internal/telemetry"
)

// ClosingStore is a store that was opened by its address.
type ClosingStore interface {
	blob.Store
	io.Closer
}

// StoreOptions say how a store is used.
type StoreOptions struct {
	Node    string            // this program's name among those that share a directory
	Spool   string            // directory on this machine for what is on its way to a bucket
	Objects objectblob.Config // of buckets
	Breaker *breaker.Breaker  // of a bucket; nil is one of the store's own
	Log     *slog.Logger      // told when a bucket stops answering; nil is nobody
}

// openTime bounds the opening of a bucket, in which credentials may be looked for.
const openTime = 10 * time.Second

// OpenStore opens the store at an address: file:///directory, or that of a bucket.
// A bucket is sent nothing yet.
func OpenStore(ctx context.Context, address string, o StoreOptions) (ClosingStore, error) {
	switch scheme, _, _ := strings.Cut(address, ":"); scheme {
	case "file":
		u, err := url.Parse(address)
		if err != nil {
			return nil, fault.New(fault.Invalid, "the address of a store can't be read")
		}
		return diskblob.Open(diskblob.Config{Dir: u.Path, Node: o.Node})
	case "oss":
		return ossblob.Open(ossblob.Options{URL: address, Config: o.Objects, Spool: o.Spool, Breaker: o.Breaker, Log: o.Log})
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return cdkblob.Open(ctx, cdkblob.Options{URL: address, Config: o.Objects, Spool: o.Spool, Breaker: o.Breaker, Log: o.Log})
}

// spool is where what is on its way to a bucket lies.
func (a *App) spool() string { return filepath.Join(a.config.Data, "spool") }

// openHome opens the home store: the data directory, or where the settings store.*
// say. A home elsewhere that can't be reached does not keep the server from
// starting: it serves what it has, and answers the rest as unavailable.
func (a *App) openHome(ctx context.Context, metrics *telemetry.Metrics) error {
	var err error
	if a.keys, err = a.config.Encryption.Read(); err != nil {
		return err
	}
	a.blobs, err = blobcache.Open(blobcache.Config{
		Dir: a.ownDir("blobs"), MaxBytes: a.config.Store.CacheBytes, SpareBytes: a.spareBytes(), Unwanted: a.plain(),
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.blobs.Close)
	if a.config.Store.Sources == "" {
		disk, err := diskblob.Open(diskblob.Config{Dir: a.config.Data, Node: a.config.Node})
		if err != nil {
			return err
		}
		a.closers = append(a.closers, disk.Close)
		a.bare, a.store = disk, disk
	} else {
		a.bare = a.homeAt(a.config.Store.Sources, "store.sources", metrics)
		a.store = a.near(a.bare, a.config.Store.Sources)
	}
	if address := a.config.Store.Renditions; address != "" {
		a.store = blob.NewSplit(a.store, a.near(a.homeAt(address, "store.renditions", metrics), address))
	}
	if err := a.sealHome(ctx); err != nil {
		return err
	}
	a.home = blob.NewHome(a.store)
	a.greetHome(ctx)
	return nil
}

// spareBytes is the room that what is kept of other stores leaves on the disk, so
// that uploads are not refused for it.
func (a *App) spareBytes() int64 { return a.config.Ingest.ReserveBytes + a.config.Ingest.MaxFileBytes }

// homeAt is the part of the home store that lies at an address.
func (a *App) homeAt(address, setting string, metrics *telemetry.Metrics) blob.Store {
	o := StoreOptions{Node: a.config.Node, Spool: a.spool(), Objects: a.config.Objects, Log: a.log}
	if config.Bucket(address) {
		o.Objects.Pause, o.Objects.Attempts = min(o.Objects.Pause, homePause), min(o.Objects.Attempts, homeAttempts)
		o.Breaker = objectblob.NewBreaker(o.Objects, setting, a.log)
		metrics.Destination(setting, o.Breaker)
	}
	late := blob.NewLate(func() (blob.Store, error) { return a.openPart(address, setting, o) })
	if _, err := late.Store(); err != nil {
		a.log.Warn("sources or renditions can't be reached; that is tried again when they are needed", "setting", setting, "error", err)
	}
	return late
}

// near has what is read of a bucket kept on this node.
func (a *App) near(store blob.Store, address string) blob.Store {
	if !config.Bucket(address) {
		return store
	}
	return blobcache.NewStore(store, a.blobs)
}

// Somebody waits for what is asked of a home in a bucket, so it is tried less often
// than a destination before that fails, and left alone for a shorter time.
const (
	homeAttempts = 2
	homePause    = 3 * time.Second
)

func (a *App) openPart(address, setting string, o StoreOptions) (blob.Store, error) {
	if !config.Bucket(address) {
		// A directory that is not there may lie in a file system that is not mounted:
		// making one would hide all pictures and fill the disk below.
		if info, err := os.Stat(config.Dir(address)); err != nil || !info.IsDir() {
			return nil, fault.Wrap(fault.Unavailable, err, "%s: there is no directory %s; make it, or mount the file system that it lies in", setting, config.Dir(address))
		}
	}
	return a.keepOpen(OpenStore(context.Background(), address, o))
}

// keepOpen closes a store with the server.
func (a *App) keepOpen(store ClosingStore, err error) (blob.Store, error) {
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closers = append(a.closers, store.Close)
	return store, nil
}

// reach looks whether the home store answers.
func (a *App) reach(ctx context.Context) error {
	err := pingStore(a.store)(ctx)
	if err == nil && a.config.Store.Renditions != "" {
		err = pingName(ctx, a.store, blob.RenditionName(asset.Digest{}.String()))
	}
	if err == nil {
		a.reached.Store(true)
	}
	return err
}

// reachTime is how long a server waits at its start for its home store.
const reachTime = 3 * time.Second

// greetHome looks at the start whether the home store answers.
func (a *App) greetHome(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := a.reach(ctx); err != nil {
		a.log.Warn("the store of sources and renditions does not answer; what needs it is answered with 503 until it does", "error", err)
	}
}

// storeChecks are what health tells of the home store. One that lies elsewhere is
// that of all nodes, so a node that loses it is not taken out: it still serves what
// it has. But no node is ready before it has reached it once.
func (a *App) storeChecks() []httpapi.Check {
	if a.config.Store.Sources == "" && a.config.Store.Renditions == "" {
		return []httpapi.Check{{Name: "store", Ping: a.reach}}
	}
	atStart := func(ctx context.Context) error {
		if a.identified.Load() {
			return nil
		}
		if err := a.reach(ctx); err != nil {
			return err
		}
		return a.identifyHome(ctx)
	}
	return []httpapi.Check{{Name: "store", Ping: a.reach, Optional: true}, {Name: "store at start", Ping: atStart}}
}

// observeStore registers what is counted of the home store.
func (a *App) observeStore(m *telemetry.Metrics) {
	m.Cache("blobs", a.blobs)
	m.Counter("store_fetched_bytes_total", "Bytes of sources and renditions that were fetched from where they lie.", nil,
		func() float64 { return float64(a.blobs.Fetched()) })
	m.Gauge("store_free_bytes", "Room left where sources and renditions lie, or where they are prepared for a bucket.", func() float64 {
		roomer, ok := a.store.(blob.Roomer)
		if !ok {
			return 0
		}
		free, err := roomer.FreeBytes()
		if err != nil {
			return 0
		}
		return float64(free)
	})
}

// anyRecompressed tells whether there are recompressed sources. What can't be told
// now may be.
func (a *App) anyRecompressed(ctx context.Context) (bool, error) {
	err := a.store.List(ctx, blob.RecompressedPrefix, func(blob.Info) error { return errFound })
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, errFound), fault.Of(err) == fault.Unavailable, fault.Of(err) == fault.Timeout:
		return true, nil
	}
	return false, fmt.Errorf("look for recompressed sources: %w", err)
}
