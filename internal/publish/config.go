package publish

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"safelight/internal/fault"
)

// Config lists the destinations by name.
type Config struct {
	Destinations map[string]Destination `koanf:"destinations"`
}

// Destination is a place where objects are published.
type Destination struct {
	// URL says where it is, such as file:///srv/published.
	URL string `koanf:"url"`
	// Name is the template of objects' names; empty is DefaultName.
	Name string `koanf:"name"`
	// Sources tells whether originals are published too; nil is true.
	Sources *bool `koanf:"sources"`
}

// DefaultName gives every object a name of its own.
const DefaultName = "{yyyy}/{mm}/{dd}/{id}/{preset}.{ext}"

// DefaultConfig is what is in force where nothing is configured: no
// destinations.
func DefaultConfig() Config { return Config{Destinations: map[string]Destination{}} }

// TakesSources tells whether originals are published there.
func (d Destination) TakesSources() bool { return d.Sources == nil || *d.Sources }

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

// CheckPlaces refuses destinations that lie in one another, or in the data
// directory (dir, absolute) or around it: what one of them removes would be
// another's.
func (c Config) CheckPlaces(dir string) error {
	var errs []error
	places := map[string]string{"the data directory": dir}
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		u, err := url.Parse(c.Destinations[name].URL)
		if err != nil || u.Scheme != "file" {
			continue
		}
		own := path.Clean(u.Path)
		for _, other := range slices.Sorted(maps.Keys(places)) {
			if within(own, places[other]) || within(places[other], own) {
				errs = append(errs, fmt.Errorf("destinations.%s: %s and %s (%s) must not lie in one another", name, own, other, places[other]))
			}
		}
		places["the destination "+name] = own
	}
	return errors.Join(errs...)
}

// within tells whether a path is a directory's, or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
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
	u, err := url.Parse(d.URL)
	if err != nil || u.Scheme == "" { // without the address, which may hold a password
		return fault.New(fault.Invalid, "url: expected an address such as file:///srv/published")
	}
	if u.Scheme != "file" {
		return fault.New(fault.Invalid, "url: only file:// destinations are supported so far, not %s://", u.Scheme)
	}
	if u.Scheme == "file" && (u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) == "/") {
		return fault.New(fault.Invalid, "url: expected three slashes and a directory, such as file:///srv/published")
	}
	t, err := d.template()
	if err != nil {
		return err
	}
	if len(presets) > 0 && !t.has("preset") {
		return fault.New(fault.Invalid, "name: the template needs {preset}, or an image's objects would all have the same name")
	}
	if d.TakesSources() && slices.Contains(presets, original) {
		return fault.New(fault.Invalid, "a preset named %q would get the name of the original; rename it, or set sources: false", original)
	}
	return nil
}
