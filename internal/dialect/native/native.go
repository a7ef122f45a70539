// Package native reads Safelight's own URL parameters, "?w=500&fit=cover", into
// typed options. Other dialects will stand beside it and give the same Request.
package native

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"safelight/internal/fault"
	"safelight/internal/options"
)

// Request is what a URL asks for beside the image itself.
type Request struct {
	Options  options.Options // normalized
	Download string          // file name to save under; "" shows the picture
	// Attach tells that a download was asked for, also with an empty name.
	Attach bool
}

// Original tells that the source's own bytes are asked for.
func (r Request) Original() bool { return r.Options.Identity() }

// Presets are named options; a URL's own parameters go over the preset's.
type Presets map[string]string

// maxQuery bounds what is parsed, in bytes; longer ones are refused.
const maxQuery = 4096

// Parse reads a raw query. Unknown or repeated parameters and values out of
// range are fault.Invalid with what is allowed; "v" and "utm_*" are ignored,
// as they are for caches and statistics elsewhere.
func Parse(rawQuery string, presets Presets) (Request, error) {
	var req Request
	if rawQuery == "" {
		return req, nil
	}
	if len(rawQuery) > maxQuery {
		return req, fault.Limit(fault.Invalid, "query length", maxQuery, int64(len(rawQuery)), "the query has %d bytes; the limit is %d", len(rawQuery), maxQuery)
	}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return req, fault.New(fault.Invalid, "the query is not properly escaped")
	}
	o, err := base(values, presets)
	if err != nil {
		return req, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all := values[name]
		if ignored(name) || name == "preset" {
			continue
		}
		if len(all) > 1 {
			return req, fault.New(fault.Invalid, "the parameter %q is given %d times", name, len(all))
		}
		if name == "dl" {
			req.Download, req.Attach = all[0], true
			continue
		}
		if err := o.Set(name, all[0]); err != nil {
			return req, err
		}
	}
	req.Options = o.Normalize()
	return req, nil
}

// ignored tells parameters that others add to links.
func ignored(name string) bool {
	switch name {
	case "v", "fbclid", "gclid", "msclkid":
		return true
	}
	return strings.HasPrefix(name, "utm_")
}

// base is what the preset that is named, if any, starts from.
func base(values url.Values, presets Presets) (options.Options, error) {
	named := values["preset"]
	if len(named) == 0 {
		return options.Options{}, nil
	}
	if len(named) > 1 {
		return options.Options{}, fault.New(fault.Invalid, "the parameter \"preset\" is given %d times", len(named))
	}
	query, ok := presets[named[0]]
	if !ok {
		if len(presets) == 0 {
			return options.Options{}, fault.New(fault.Invalid, "there is no preset of this name: none are configured (presets)")
		}
		return options.Options{}, fault.New(fault.Invalid, "there is no preset of this name; the presets are: %s",
			strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	return options.Parse(query)
}
