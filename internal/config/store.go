package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"safelight/internal/fault"
	"safelight/internal/publish"
)

// Store says where sources and renditions lie at home.
type Store struct {
	// Sources is the address of where sources lie, such as s3://bucket/prefix or
	// file:///mnt/shared/safelight; "" is the data directory.
	Sources string `koanf:"sources"`
	// Renditions is the same for the renditions of presets and for workers' outputs;
	// "" is where the sources are.
	Renditions string `koanf:"renditions"`
	// CacheBytes is how much of what lies elsewhere is kept on this node.
	CacheBytes int64 `koanf:"cache_bytes"`
}

// DefaultStore is what is in force where nothing is configured.
func DefaultStore() Store { return Store{CacheBytes: 10 << 30} }

// minStoreCache has room for a few large photos.
const minStoreCache = 64 << 20

// Validate tells everything that is wrong.
func (s Store) Validate() error {
	var errs []error
	for _, home := range s.homes() {
		err := publish.CheckURL(home.address)
		if err == nil {
			err = checkBucket(home.address)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", home.setting, err))
		}
	}
	if s.CacheBytes < minStoreCache {
		errs = append(errs, fault.New(fault.Invalid, "store.cache_bytes is %d; expected at least 64 MiB", s.CacheBytes))
	}
	return errors.Join(errs...)
}

type home struct{ setting, address string }

// homes are those that are not the data directory.
func (s Store) homes() []home {
	var homes []home
	for _, h := range []home{{"store.sources", s.Sources}, {"store.renditions", s.Renditions}} {
		if h.address != "" {
			homes = append(homes, h)
		}
	}
	return homes
}

// places are where this server keeps what is its own: the data directory, and
// the homes. No two may lie in one another, and no destination in any.
func (s Store) places(data string) ([]publish.Place, error) {
	places := []publish.Place{{What: "the data directory", Path: data}}
	var errs []error
	for _, h := range s.homes() {
		u, err := url.Parse(h.address)
		if err != nil {
			continue // that was told
		}
		p := publish.PlaceOf(h.setting, u)
		for _, other := range places {
			if p.Overlaps(other) {
				errs = append(errs, fmt.Errorf("%s: %s and %s (%s) must not lie in one another", h.setting, p.Path, other.What, other.Path))
			}
		}
		places = append(places, p)
	}
	return places, errors.Join(errs...)
}

// Bucket tells whether an address is that of a bucket.
func Bucket(address string) bool {
	return address != "" && !strings.HasPrefix(address, "file:")
}

// Dir is the directory of a file:// address.
func Dir(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return path.Clean(u.Path)
}
