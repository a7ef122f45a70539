// Package origin fetches files from other servers for a client that names
// their URL. Whoever may name URLs could otherwise have us ask what only we can
// reach, so a fetch is guarded at every step: the URL, each redirect, each
// address that a name resolves to, and the address that is connected to. What
// comes back is bounded in time and in bytes.
package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config says what may be fetched and how long it may take. Its settings stand
// under "remote".
type Config struct {
	Hosts        []string      `koanf:"hosts"`         // example.com, *.example.com, or * for every public host; none fetches nothing
	Schemes      []string      `koanf:"schemes"`       // https, http
	Ports        []int         `koanf:"ports"`         // beside 80 and 443
	AllowPrivate []string      `koanf:"allow_private"` // ranges (CIDR) that may be fetched from although they are not public
	Redirects    int           `koanf:"redirects"`     // that are followed for one fetch
	Timeout      time.Duration `koanf:"timeout"`       // of one fetch, from waiting for a turn to the last byte
	FirstByte    time.Duration `koanf:"first_byte"`    // from a request to the end of its answer's header
	Stall        time.Duration `koanf:"stall"`         // a body that stands still this long is given up
	Concurrency  int           `koanf:"concurrency"`   // fetches at once
}

// DefaultConfig fetches nothing: hosts must be named.
func DefaultConfig() Config {
	return Config{
		Schemes: []string{"https", "http"}, Redirects: 3,
		Timeout: 30 * time.Second, FirstByte: 10 * time.Second, Stall: 10 * time.Second, Concurrency: 16,
	}
}

// maxTimeout is how long a client can be left waiting for a fetch.
const maxTimeout = time.Minute

// Validate tells what is wrong with a configuration.
func (c Config) Validate() error {
	var errs []error
	if _, err := newGuard(c); err != nil {
		errs = append(errs, err)
	}
	if c.Redirects < 0 || c.Redirects > 20 {
		errs = append(errs, fmt.Errorf("remote.redirects: expected 0 to 20 but received %d", c.Redirects))
	}
	for name, d := range map[string]time.Duration{"timeout": c.Timeout, "first_byte": c.FirstByte, "stall": c.Stall} {
		if d <= 0 || d > maxTimeout {
			errs = append(errs, fmt.Errorf("remote.%s: expected more than 0 and at most %s but received %s", name, maxTimeout, d))
		}
	}
	if c.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("remote.concurrency: %d is not at least 1", c.Concurrency))
	}
	return errors.Join(errs...)
}

// Check tells whether a URL may be fetched under a configuration, as far as can
// be told without looking its host up.
func Check(c Config, rawURL string) error {
	g, err := newGuard(c)
	if err != nil {
		return err
	}
	_, err = g.clean(rawURL)
	return err
}

// guard is a Config's policy in a form to ask.
type guard struct {
	exact    map[string]bool // host names and addresses, normalised
	suffixes []string        // ".example.com" of *.example.com
	all      bool
	schemes  []string
	ports    []int
	private  []netip.Prefix
}

func newGuard(c Config) (*guard, error) {
	g := &guard{exact: make(map[string]bool), schemes: c.Schemes, ports: append([]int{80, 443}, c.Ports...)}
	var errs []error
	for _, pattern := range c.Hosts {
		if err := g.addHost(pattern); err != nil {
			errs = append(errs, fmt.Errorf("remote.hosts: expected names such as example.com or *.example.com, or *, but received %q", pattern))
		}
	}
	for _, scheme := range c.Schemes {
		if !slices.Contains([]string{"http", "https"}, scheme) {
			errs = append(errs, fmt.Errorf("remote.schemes: expected http or https but received %q", scheme))
		}
	}
	for _, port := range c.Ports {
		if port < 1 || port > 65535 {
			errs = append(errs, fmt.Errorf("remote.ports: %d is no port", port))
		}
	}
	for _, text := range c.AllowPrivate {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("remote.allow_private: expected ranges such as 10.1.0.0/16 but received %q", text))
			continue
		}
		g.private = append(g.private, prefix.Masked())
	}
	return g, errors.Join(errs...)
}

func (g *guard) addHost(pattern string) error {
	if pattern == "*" {
		g.all = true
		return nil
	}
	name, wild := strings.CutPrefix(pattern, "*.")
	host, addr, err := cleanHost(strings.Trim(name, "[]"))
	switch {
	case err != nil:
		return err
	case wild && addr.IsValid():
		return errors.New("an address has no subdomains")
	case wild:
		g.suffixes = append(g.suffixes, "."+host)
	default:
		g.exact[host] = true
	}
	return nil
}

// host tells whether a normalised host name or address is on the list.
func (g *guard) host(host string) bool {
	return g.all || g.exact[host] || slices.ContainsFunc(g.suffixes, func(s string) bool { return strings.HasSuffix(host, s) })
}
