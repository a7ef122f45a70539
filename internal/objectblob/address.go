package objectblob

import (
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"safelight/internal/fault"
)

// Address is a bucket's URL, such as s3://bucket/prefix?region=eu-central-1.
type Address struct {
	Scheme, Bucket string
	Prefix         string // without slashes at its ends
	params         url.Values
}

// ParseAddress reads a URL whose parameters must be among those known. Errors are
// fault.Invalid and do not repeat the URL, which may hold what it should not.
func ParseAddress(raw string, known ...string) (Address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Address{}, fault.New(fault.Invalid, "url: expected an address such as s3://bucket/prefix")
	}
	if u.User != nil {
		return Address{}, fault.New(fault.Invalid, "url: an address must not have a user in it; credentials come from the environment")
	}
	a := Address{Scheme: u.Scheme, Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if a.Bucket == "" || u.Port() != "" {
		return a, fault.New(fault.Invalid, "url: expected the name of a bucket after the slashes, such as %s://bucket/prefix", u.Scheme)
	}
	if u.Fragment != "" || a.Prefix != "" && (!fs.ValidPath(a.Prefix) || a.Prefix == "." || strings.ContainsRune(a.Prefix, 0)) {
		return a, fault.New(fault.Invalid, "url: what follows the bucket can't stand before objects' names")
	}
	if a.params, err = url.ParseQuery(u.RawQuery); err != nil {
		return a, fault.New(fault.Invalid, "url: the parameters can't be read")
	}
	for name, values := range a.params {
		if !slices.Contains(known, name) {
			return a, fault.New(fault.Invalid, "url: there is no parameter %.40q for %s://; there are %s", name, u.Scheme, strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return a, fault.New(fault.Invalid, "url: the parameter %s is there more than once", name)
		}
	}
	return a, nil
}

// Param is a parameter's value; "" where it is not given.
func (a Address) Param(name string) string { return a.params.Get(name) }

// Choice is a parameter's value, which must be one of those given or absent.
func (a Address) Choice(name string, among ...string) (string, error) {
	v := a.Param(name)
	if v != "" && !slices.Contains(among, v) {
		return "", fault.New(fault.Invalid, "url: expected %s of %s but received %.40q", name, strings.Join(among, ", "), v)
	}
	return v, nil
}

// Endpoint is the parameter of that name, an http:// or https:// address of a
// service and nothing else; "" where it is not given.
func (a Address) Endpoint() (string, error) {
	v := a.Param("endpoint")
	if v == "" {
		return "", nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return "", fault.New(fault.Invalid, "url: expected an endpoint such as https://storage.example.com, without a user, a path or parameters")
	}
	return u.Scheme + "://" + u.Host, nil
}
