package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"safelight/internal/blob"
	"safelight/internal/blobcache"
	"safelight/internal/cache"
	"safelight/internal/diskcache"
	"safelight/internal/fault"
	"safelight/internal/sealblob"
)

// keeper keeps what was brought back, as package recall needs it.
type keeper interface {
	Open(ctx context.Context, place, name string, fetch blob.Fetch) (blob.Reader, error)
	Forget(place, name string)
	ForgetPlace(place string)
}

var (
	_ keeper = (*blobcache.Cache)(nil)
	_ keeper = (*sealblob.Cache)(nil)
)

// sealsHome tells whether what lies at home is encrypted.
func (a *App) sealsHome() bool { return a.config.Encryption.Home && !a.keys.Empty() }

// plain tells of the files that this node keeps of stores which are from before the
// home store was encrypted.
func (a *App) plain() func(file string) bool {
	if !a.sealsHome() {
		return nil
	}
	return func(file string) bool { return !sealblob.Sealed(file) }
}

// sealHome encrypts what goes into the home store, and what is kept of it on this
// node.
func (a *App) sealHome(ctx context.Context) error {
	if err := a.checkKeys(ctx); err != nil {
		return err
	}
	a.recalled = a.blobs
	if a.sealsHome() {
		a.store = sealblob.New(a.store, a.keys)
		a.recalled = sealblob.NewCache(a.blobs, a.keys)
		a.log.Info("the home store is encrypted", "key", a.keys.Present())
	}
	return nil
}

// checkKeys refuses to start where the first source that is found can't be read: a
// key that was forgotten would look like pictures that are lost.
func (a *App) checkKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	var lacking error
	err := a.store.List(ctx, blob.SourcePrefix, func(i blob.Info) error {
		id, ok := a.keys.Opens(i.Name)
		switch {
		case !ok:
			lacking = fmt.Errorf("the sources are encrypted with the key %s, which is not in encryption.keys", id)
		case id != "" && !a.sealsHome():
			lacking = errors.New("the sources are encrypted, so encryption.home can't be false")
		}
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) && !fault.Retryable(err) {
		return err
	}
	return lacking
}

// sealed encrypts what goes to a destination that is to have it so.
func (a *App) sealed(store blob.Store, encrypt bool) blob.Store {
	if !encrypt {
		return store
	}
	return sealblob.New(store, a.keys)
}

// openDisk opens the disk cache of renditions. Beside a home store that is
// encrypted there is none, as it would have pictures in the clear.
func (a *App) openDisk() error {
	a.disk = cache.Off{}
	if a.sealsHome() {
		if err := os.RemoveAll(a.ownDir("cache")); err != nil { // from before it was
			return fmt.Errorf("remove renditions that are not encrypted: %w", err)
		}
		a.log.Info("renditions are not cached on disk, since the home store is encrypted")
		return nil
	}
	disk, err := diskcache.Open(diskcache.Config{Dir: a.ownDir("cache"), MaxBytes: a.config.Cache.DiskBytes})
	if err != nil {
		return err
	}
	a.disk = disk
	a.closers = append(a.closers, disk.Close)
	return nil
}
