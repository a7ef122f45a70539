package httpapi

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"safelight/internal/auth"
)

// Config is what the transport needs to know.
type Config struct {
	PublicURL    string            `koanf:"public_url"`    // what URLs in answers start with; "" makes them relative
	PublicRead   bool              `koanf:"public_read"`   // with keys configured: originals and renditions need none
	KeepLocation bool              `koanf:"keep_location"` // serve originals with their GPS tags
	CacheControl string            `koanf:"cache_control"` // of originals and renditions
	Owners       map[string]string `koanf:"owners"`        // host name to owner, for requests without a key
	BodyIdle     time.Duration     `koanf:"body_idle"`     // a request body that stands still this long is given up
	AnswerTime   time.Duration     `koanf:"answer_time"`   // for a client to read a short answer; long ones get more
	Parallel     int               `koanf:"parallel"`      // files of one request that are stored at once
	AccessLog    bool              `koanf:"access_log"`    // log every request, not only failures
	DrainDelay   time.Duration     `koanf:"drain_delay"`   // how long a server that stops answers on after /readyz has said so
	DrainTime    time.Duration     `koanf:"drain_time"`    // how long requests under way may take after that
	HotEntries   int               `koanf:"hot_entries"`   // prepared answers kept for the fast path
}

// DefaultConfig is what is in force where nothing is configured.
func DefaultConfig() Config {
	return Config{
		PublicRead: true, CacheControl: "public, max-age=3600, stale-while-revalidate=86400",
		BodyIdle: 15 * time.Second, AnswerTime: time.Minute, Parallel: 32, HotEntries: 20000, DrainTime: 20 * time.Second,
	}
}

// maxDrain bounds DrainDelay and DrainTime.
const maxDrain = time.Hour

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("http.public_url: expected an http or https URL but received %q", c.PublicURL))
		}
	}
	if strings.ContainsFunc(c.CacheControl, func(r rune) bool { return r < ' ' || r > '~' }) {
		errs = append(errs, fmt.Errorf("http.cache_control: %q is no header value", c.CacheControl))
	}
	for host, owner := range c.Owners {
		if owner == auth.AnyOwner {
			errs = append(errs, fmt.Errorf("http.owners: %s: %q is for keys of workers only", host, owner))
		}
	}
	if c.BodyIdle <= 0 || c.AnswerTime <= 0 || c.Parallel < 1 || c.HotEntries < 0 {
		errs = append(errs, errors.New("http: body_idle and answer_time must be above 0, parallel at least 1 and hot_entries not negative"))
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrain {
		errs = append(errs, fmt.Errorf("http.drain_delay: %s is not from 0s to %s", c.DrainDelay, maxDrain))
	}
	if c.DrainTime <= 0 || c.DrainTime > maxDrain {
		errs = append(errs, fmt.Errorf("http.drain_time: %s is not above 0s and up to %s", c.DrainTime, maxDrain))
	}
	return errors.Join(errs...)
}
