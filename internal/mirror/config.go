package mirror

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"safelight/internal/asset"
)

// Config names the mirrors: places whose pictures are kept in step with them.
type Config struct {
	Mirrors map[string]Place `koanf:"mirrors"`
}

// Place is a bucket, or what in it has a prefix.
type Place struct {
	URL    string        `koanf:"url"`    // such as s3://bucket/prefix, with credentials from the environment, or file:///srv/photos
	Prefix string        `koanf:"prefix"` // before the objects' names, which gives the keys
	Owner  string        `koanf:"owner"`  // of the images; "" is main
	Delete bool          `koanf:"delete"` // images go when their objects do
	Every  time.Duration `koanf:"every"`  // how often everything is looked at, as events can get lost; 0 is 24h, less is never

	Reference bool          `koanf:"reference"` // originals stay where they are and are read from there; nothing is written or deleted there
	Keep      time.Duration `koanf:"keep"`      // with Reference: how long a copy stays at home, where the presets are made from it; 0 is 1m
}

// schemes are those of buckets.
var schemes = []string{"s3", "gs", "azblob", "oss"}

// defaultEvery is how often everything is looked at unless it is said otherwise.
const defaultEvery = 24 * time.Hour

// Validate tells everything that is wrong; the services' own rules for URLs are
// for the caller to check.
func (c Config) Validate() error {
	var errs []error
	for name, p := range c.Mirrors {
		where := "mirrors." + name
		if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			errs = append(errs, fmt.Errorf("%s: a mirror's name has at most 64 lower-case letters, digits and dashes", where))
		}
		if u, err := url.Parse(p.URL); err != nil || !(u.Scheme == "file" && u.Host == "" && path.IsAbs(u.Path) || u.Host != "" && slices.Contains(schemes, u.Scheme)) {
			errs = append(errs, fmt.Errorf("%s.url: expected a bucket such as s3://bucket/prefix, or a directory such as file:///srv/photos", where))
		}
		if trimmed := strings.Trim(p.Prefix, "/"); trimmed != "" {
			if err := asset.CheckKey(trimmed); err != nil {
				errs = append(errs, fmt.Errorf("%s.prefix: %w", where, err))
			}
		}
		if p.Delete && strings.Trim(p.Prefix, "/") == "" {
			errs = append(errs, fmt.Errorf("%s: delete needs a prefix, as every key below it is the mirror's", where))
		}
		if p.Keep < 0 || p.Keep > 0 && !p.Reference {
			errs = append(errs, fmt.Errorf("%s.keep: it goes with reference: true, and must not be negative", where))
		}
		if p.Every > 0 && p.Every < time.Minute {
			errs = append(errs, fmt.Errorf("%s.every: %s is less than a minute", where, p.Every))
		}
	}
	return errors.Join(append(errs, c.apart()...)...)
}

// apart tells of mirrors that would delete each other's images: every key below
// the prefix of one with delete is that mirror's.
func (c Config) apart() (errs []error) {
	names := slices.Sorted(maps.Keys(c.Mirrors))
	for i, name := range names {
		for _, other := range names[i+1:] {
			p, q := c.Mirrors[name], c.Mirrors[other]
			within := strings.HasPrefix(p.keyPrefix(), q.keyPrefix()) || strings.HasPrefix(q.keyPrefix(), p.keyPrefix())
			if (p.Delete || q.Delete) && within && p.OwnerName() == q.OwnerName() {
				errs = append(errs, fmt.Errorf("mirrors.%s.prefix: %q and that of mirrors.%s, %q, lie in one another, and delete would take images of the other mirror; give each a prefix of its own, or an owner",
					name, p.Prefix, other, q.Prefix))
			}
		}
	}
	return errs
}

// Interval is how often everything is looked at; 0 is never.
func (p Place) Interval() time.Duration {
	if p.Every == 0 {
		return defaultEvery
	}
	return max(p.Every, 0)
}

// kept is how long a copy of a reference stays at home.
func (p Place) kept() time.Duration {
	if p.Keep == 0 {
		return time.Minute
	}
	return p.Keep
}

// OwnerName is who has the images.
func (p Place) OwnerName() string {
	if p.Owner == "" {
		return asset.DefaultOwner
	}
	return p.Owner
}

// key is that of an object.
func (p Place) key(object string) string { return p.keyPrefix() + object }

func (p Place) keyPrefix() string {
	if prefix := strings.Trim(p.Prefix, "/"); prefix != "" {
		return prefix + "/"
	}
	return ""
}

// object is the name below the place of what its bucket has under a name; false
// where that lies elsewhere.
func (p Place) object(bucket, name string) (string, bool) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Host != bucket || bucket == "" {
		return "", false
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix == "" {
		return name, name != ""
	}
	below, ok := strings.CutPrefix(name, prefix+"/")
	return below, ok && below != ""
}
