package redis

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config says where Redis is, and how long it is waited for. The names of its
// settings begin with "redis.".
type Config struct {
	// URL is redis://user:password@host:6379/0; see URL. Empty is no Redis.
	URL URL `koanf:"url"`
	// Prefix is what every key and channel begins with. Nodes of one
	// installation have the same, and other installations another one.
	Prefix string `koanf:"prefix"`
	// Timeout is how long one request waits for Redis at most, whatever it asks
	// of it.
	Timeout time.Duration `koanf:"timeout"`
}

// DefaultConfig is what is in force where nothing is configured: no URL.
func DefaultConfig() Config { return Config{Prefix: "safelight:", Timeout: 50 * time.Millisecond} }

const (
	maxPrefix  = 64
	maxTimeout = 5 * time.Second
)

// Validate tells everything that is wrong, by the names of the settings. No URL
// is no error: then there is no Redis.
func (c Config) Validate() error {
	if c.URL == "" {
		return nil
	}
	var errs []error
	if _, err := c.URL.parse(); err != nil {
		errs = append(errs, err)
	}
	if len(c.Prefix) > maxPrefix || strings.ContainsAny(c.Prefix, "{} \t\r\n\x00") {
		errs = append(errs, fmt.Errorf("redis.prefix: %q is longer than %d bytes, or has braces or blanks", c.Prefix, maxPrefix))
	}
	if c.Timeout < time.Millisecond || c.Timeout > maxTimeout {
		errs = append(errs, fmt.Errorf("redis.timeout: %s is not from 1ms to %s", c.Timeout, maxTimeout))
	}
	return errors.Join(errs...)
}
