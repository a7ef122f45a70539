package remote

import (
	"errors"
	"fmt"
	"time"

	"safelight/internal/auth"
)

// Config says which signed URLs are shown, and how long what was fetched is
// believed. Its settings stand under "remote", beside those of fetching.
type Config struct {
	Keys        []auth.Secret `koanf:"keys"`         // that sign URLs, in hexadecimal or base64; the first one is used by safelight sign
	SignOptions bool          `koanf:"sign_options"` // the query is signed with the URL
	TTL         time.Duration `koanf:"ttl"`          // after which the origin is asked again; 0 is never
	NegativeTTL time.Duration `koanf:"negative_ttl"` // for which a failure is remembered
}

// DefaultConfig shows nothing: there are no keys.
func DefaultConfig() Config {
	return Config{SignOptions: true, TTL: 24 * time.Hour, NegativeTTL: 10 * time.Second}
}

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if _, err := NewSigner(c); err != nil {
		errs = append(errs, err)
	}
	if c.TTL < 0 || c.NegativeTTL < 0 {
		errs = append(errs, fmt.Errorf("remote: ttl and negative_ttl must not be negative, but are %s and %s", c.TTL, c.NegativeTTL))
	}
	return errors.Join(errs...)
}
