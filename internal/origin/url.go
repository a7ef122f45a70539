package origin

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"safelight/internal/fault"
)

// maxURL and maxHost bound URLs, and host names as they are written, in bytes.
const (
	maxURL  = 4096
	maxHost = 1024
)

// clean reads a URL as a client or a redirect names it, and refuses what may
// not be fetched: fault.Invalid where it is no plain http or https URL,
// fault.Denied where the settings don't allow it. What it gives has one
// spelling: host in lower case and ASCII, no default port, no fragment.
func (g *guard) clean(raw string) (*url.URL, error) {
	if len(g.exact)+len(g.suffixes) == 0 && !g.all {
		return nil, fault.New(fault.Denied, "fetching by URL is off; remote.hosts lists the hosts that may be fetched from")
	}
	u, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(g.schemes, u.Scheme) {
		return nil, fault.New(fault.Denied, "URLs with the scheme %.20q may not be fetched (remote.schemes)", u.Scheme)
	}
	host, addr, err := cleanHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	if bracketed := strings.HasPrefix(u.Host, "["); bracketed != (addr.IsValid() && addr.Is6()) {
		return nil, fault.New(fault.Invalid, "url: brackets are for IPv6 addresses")
	}
	if !g.host(host) {
		return nil, fault.New(fault.Denied, "the host %q is not among those that may be fetched from (remote.hosts)", host)
	}
	if addr.IsValid() && !g.admits(addr) {
		return nil, refused()
	}
	if addr.IsValid() && addr.Is6() {
		host = "[" + host + "]"
	}
	port, err := g.port(u)
	if err != nil {
		return nil, err
	}
	out := &url.URL{Scheme: u.Scheme, Host: host + port, Path: u.Path, RawPath: u.RawPath, RawQuery: escapeQuery(u.RawQuery)}
	if out.Path == "" {
		out.Path = "/"
	}
	return out, nil
}

// parse takes a URL apart and refuses parts that none here should have.
func parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fault.Limit(fault.Invalid, "url length", maxURL, int64(len(raw)), "the URL has %d bytes; the limit is %d", len(raw), maxURL)
	}
	if !utf8.ValidString(raw) || strings.ContainsFunc(raw, func(r rune) bool { return r == '\\' || unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return nil, fault.New(fault.Invalid, "url: it contains spaces, backslashes or control characters, or is not UTF-8")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" || u.Host == "" {
		return nil, fault.New(fault.Invalid, "url: expected a complete URL such as https://example.com/photo.jpg")
	}
	if strings.Contains(authority(raw), "%") { // which would be undone for the host: also those of zones
		return nil, fault.New(fault.Invalid, "url: a host with %% in it is not accepted")
	}
	if u.User != nil {
		return nil, fault.New(fault.Invalid, "url: a user name or password in it is not accepted")
	}
	return u, nil
}

// authority is what stands between the slashes of a URL's beginning and what
// follows.
func authority(raw string) string {
	_, rest, _ := strings.Cut(raw, "//")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// port is ":" and the URL's port, or "" where it is the scheme's own.
func (g *guard) port(u *url.URL) (string, error) {
	text := u.Port()
	if text == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", fault.New(fault.Invalid, "url: %.20q is no port", text)
	}
	if !slices.Contains(g.ports, int(n)) {
		return "", fault.New(fault.Denied, "the port %d may not be fetched from (remote.ports)", n)
	}
	if u.Scheme == "http" && n == 80 || u.Scheme == "https" && n == 443 {
		return "", nil
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

// names brings host names into the form in which they are looked up.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.VerifyDNSLength(true), idna.StrictDomainName(false))

// cleanHost normalises a host without brackets; addr is valid where it is an
// address. Names that some resolver would read as an address (0x7f.1, 017700000001,
// 127.1) are refused, as are zones and trailing dots.
func cleanHost(raw string) (host string, addr netip.Addr, err error) {
	bad := fault.New(fault.Invalid, "url: %.100q is no host name or address that is accepted here", raw)
	if addr, err := netip.ParseAddr(raw); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return "", netip.Addr{}, bad
		}
		return addr.String(), addr, nil
	}
	if len(raw) > maxHost {
		return "", netip.Addr{}, bad
	}
	host, err = names.ToASCII(raw)
	if again, err2 := names.ToASCII(host); err != nil || err2 != nil || again != host || !plainName(host) {
		return "", netip.Addr{}, bad
	}
	return host, netip.Addr{}, nil
}

// plainName tells a name in ASCII of letters, digits, dashes and underscores,
// whose last label can't be taken for a number.
func plainName(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	if strings.ContainsFunc(host, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}) {
		return false
	}
	hex, isHex := strings.CutPrefix(last, "0x")
	if isHex && strings.Trim(hex, "0123456789abcdef") == "" {
		return false
	}
	return strings.Trim(last, "0123456789") != ""
}

// escapeQuery escapes what is not ASCII, since a query is sent as it stands.
func escapeQuery(query string) string {
	if !strings.ContainsFunc(query, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return query
	}
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c < utf8.RuneSelf {
			b.WriteByte(c)
		} else {
			b.WriteString(url.QueryEscape(string([]byte{c})))
		}
	}
	return b.String()
}
