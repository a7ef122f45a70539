package publish

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"safelight/internal/asset"
	"safelight/internal/fault"
)

// Config lists the destinations by name.
type Config struct {
	Destinations map[string]Destination `koanf:"destinations"`
}

// Destination is a place where objects are published.
type Destination struct {
	// URL says where it is, such as file:///srv/published or s3://bucket/prefix.
	URL string `koanf:"url"`
	// Name is the template of objects' names; empty is DefaultName.
	Name string `koanf:"name"`
	// Sources tells whether originals are published too; nil is true.
	Sources *bool `koanf:"sources"`
	// Encrypt has objects encrypted with the keys of encryption.keys.
	Encrypt bool `koanf:"encrypt"`
	// Only says of which images; empty is of all.
	Only Rule `koanf:"only"`
}

// Rule picks images by what never changes of them. An image must meet every list
// that is not empty, by any of its entries.
type Rule struct {
	Owners     []string `koanf:"owners"`
	Categories []string `koanf:"categories"` // "" is images without one
}

// meets tells whether the rule picks an image.
func (r Rule) meets(img asset.Image) bool {
	return (len(r.Owners) == 0 || slices.Contains(r.Owners, img.Owner)) &&
		(len(r.Categories) == 0 || slices.Contains(r.Categories, img.Category))
}

// DefaultName gives every object a name of its own.
const DefaultName = "{yyyy}/{mm}/{dd}/{id}/{preset}.{ext}"

// DefaultConfig is what is in force where nothing is configured: no
// destinations.
func DefaultConfig() Config { return Config{Destinations: map[string]Destination{}} }

func (d Destination) takesSources() bool { return d.Sources == nil || *d.Sources }

func (d Destination) template() (*template, error) {
	if d.Name == "" {
		return parseTemplate(DefaultName)
	}
	return parseTemplate(d.Name)
}

// Validate tells everything that is wrong. presets are those that may be
// published.
func (c Config) Validate(presets ...string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		if err := checkDestination(name, c.Destinations[name], presets); err != nil {
			errs = append(errs, fmt.Errorf("destinations.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// CheckPlaces refuses destinations that lie in one another, in a place that is
// taken, or around one: what one of them removes would be another's.
func (c Config) CheckPlaces(taken ...Place) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		u, err := url.Parse(c.Destinations[name].URL)
		if err != nil {
			continue
		}
		own := PlaceOf("the destination "+name, u)
		for _, other := range taken {
			if own.Overlaps(other) {
				errs = append(errs, fmt.Errorf("destinations.%s: %s and %s (%s) must not lie in one another", name, own.Path, other.What, other.Path))
			}
		}
		taken = append(slices.Clone(taken), own)
	}
	return errors.Join(errs...)
}

// Place is where something lies: a directory, or a bucket with its prefix.
type Place struct {
	What string // for messages
	Path string // absolute, or with a scheme
}

// Overlaps tells whether one place is the other, or below it.
func (p Place) Overlaps(other Place) bool {
	return within(p.Path, other.Path) || within(other.Path, p.Path)
}

// PlaceOf is the place of an address. A bucket of the same name at another
// endpoint is another, unless the endpoint is one of the service's own, where
// names of buckets are unique.
func PlaceOf(what string, u *url.URL) Place { return Place{what, place(u)} }

func place(u *url.URL) string {
	if u.Scheme == "file" {
		return path.Clean(u.Path)
	}
	endpoint := ""
	if e, err := url.Parse(u.Query().Get("endpoint")); err == nil {
		endpoint = strings.ToLower(e.Host)
	}
	if host, _, _ := strings.Cut(endpoint, ":"); strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".aliyuncs.com") {
		endpoint = ""
	}
	return u.Scheme + "://" + path.Join(endpoint, u.Query().Get("account"), u.Host, u.Path)
}

// within tells whether a path is a directory's, or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// buckets are the schemes of object stores. What else is in such a URL is checked
// where it is used.
var buckets = []string{"s3", "gs", "azblob", "oss"}

// CheckURL tells what is wrong with the address of a directory or bucket. It does
// not repeat the address, which may hold a password.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return fault.New(fault.Invalid, "url: expected an address such as file:///srv/published or s3://bucket/prefix")
	}
	switch {
	case slices.Contains(buckets, u.Scheme):
		if u.User != nil {
			return fault.New(fault.Invalid, "url: an address must not have a user in it; credentials come from the environment")
		}
		if u.Host == "" {
			return fault.New(fault.Invalid, "url: expected a bucket after two slashes, such as %s://bucket/prefix", u.Scheme)
		}
	case u.Scheme != "file":
		return fault.New(fault.Invalid, "url: nothing can be stored at %s://; there are file://, %s://", u.Scheme, strings.Join(buckets, "://, "))
	case u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) == "/":
		return fault.New(fault.Invalid, "url: expected three slashes and a directory, such as file:///srv/published")
	}
	return nil
}

func checkDestination(name string, d Destination, presets []string) error {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fault.New(fault.Invalid, "a destination's name has lower-case letters, digits and dashes only")
		}
	}
	if name == "" || len(name) > 64 {
		return fault.New(fault.Invalid, "a destination's name has 1 to 64 characters")
	}
	if err := CheckURL(d.URL); err != nil {
		return err
	}
	t, err := d.template()
	if err != nil {
		return err
	}
	if len(presets) > 0 && !t.has("preset") {
		return fault.New(fault.Invalid, "name: the template needs {preset}, or an image's objects would all have the same name")
	}
	if d.takesSources() && slices.Contains(presets, original) {
		return fault.New(fault.Invalid, "a preset named %q would get the name of the original; rename it, or set sources: false", original)
	}
	return nil
}
