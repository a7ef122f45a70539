package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"safelight/internal/asset"
	"safelight/internal/blob"
	"safelight/internal/config"
	"safelight/internal/fault"
)

// A home store has a blob that names the installation it belongs to, and the
// database knows the same name. So a node whose home is another than that of the
// others, or than it was, is noticed before it takes anything in: a misspelt
// prefix, a setting that one node lacks, a mount point with nothing mounted, or
// pictures that nobody has moved.

// checkHome refuses a home that is not this installation's. One that can't be
// reached is looked at as soon as it can.
func (a *App) checkHome(ctx context.Context) error {
	looking, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	err := a.identifyHome(looking)
	if err != nil && fault.Retryable(err) {
		a.log.Warn("it can't be told yet whether the home store is this installation's", "error", err)
		return nil
	}
	return err
}

// identifyHome holds the home's name against the database's, and names one that is
// new.
func (a *App) identifyHome(ctx context.Context) error {
	name, err := a.installation(ctx)
	if err != nil {
		return err
	}
	found, err := blob.InstallationOf(ctx, a.bare)
	switch {
	case err != nil:
		return err
	case found == "":
		if err = a.newHome(ctx); err == nil {
			err = blob.NameInstallation(ctx, a.bare, name)
		}
	case found != name:
		err = fault.New(fault.Conflict, "%s belongs to another installation (%.40q in it, and %q in the database); point it, or database.url, to where they belong together", a.homePlace(), found, name)
	}
	if err == nil {
		a.identified.Store(true)
	}
	return err
}

// installation is this one's name.
func (a *App) installation(ctx context.Context) (string, error) {
	name, err := a.db.Secret(ctx, "home", func() []byte {
		b := make([]byte, 16)
		_, _ = rand.Read(b)
		return b
	})
	if err != nil {
		return "", fmt.Errorf("read the name of the installation: %w", err)
	}
	return hex.EncodeToString(name), nil
}

// newHome refuses a home without a name where there should be sources: those of
// versions that gave none have some.
func (a *App) newHome(ctx context.Context) error {
	images, err := a.db.ImagesAfter(ctx, asset.ID{}, 1)
	if err != nil || len(images) == 0 {
		return err
	}
	for _, prefix := range []string{blob.SourcePrefix, blob.RecompressedPrefix} {
		err := a.bare.List(ctx, prefix, func(blob.Info) error { return errFound })
		if errors.Is(err, errFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fault.New(fault.Conflict, "there are images, but %s has none of their sources: mount the file system that they lie in, move them there (safelight copy), or set store.sources to where they are", a.homePlace())
}

// homePlace is where the home is, with the setting that says so. A bucket's address
// has no secrets in it.
func (a *App) homePlace() string {
	switch address := a.config.Store.Sources; {
	case address == "":
		return "data: " + a.config.Data
	case config.Bucket(address):
		return "store.sources: " + address
	default:
		return "store.sources: " + config.Dir(address)
	}
}
