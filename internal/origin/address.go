package origin

import (
	"net/netip"
	"slices"
)

// globalUnicast6 is the only part of IPv6 that is given out as public
// addresses (RFC 4291 and IANA's registry of the address space). It leaves out
// loopback, unique local, link-local, site-local and multicast addresses,
// IPv4-compatible ones, discard-only and NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// special are the ranges that are not public although the rules above would
// let them in: IANA's registries of special-purpose addresses for IPv4 and IPv6
// (RFC 6890 and what came after it), and one address of a cloud.
var special = prefixes(
	"0.0.0.0/8",       // this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // shared by carriers' customers; one cloud's metadata
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local; clouds' metadata
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments; one cloud's metadata
	"192.0.2.0/24",    // documentation
	"192.31.196.0/24", // AS112
	"192.52.193.0/24", // AMT
	"192.88.99.0/24",  // 6to4 relays
	"192.168.0.0/16",  // private
	"192.175.48.0/24", // AS112
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, broadcast

	"168.63.129.16/32", // Azure's service for virtual machines, public in form only

	"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, which holds an IPv4 address
	"2620:4f:8000::/48", // AS112
	"3ffe::/16",         // 6bone, given back
	"3fff::/20",         // documentation
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// public tells an address that anybody on the internet may have. An IPv6
// address that only maps an IPv4 address is judged as that.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !globalUnicast6.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// admits tells whether an address may be connected to.
func (g *guard) admits(a netip.Addr) bool {
	a = a.Unmap()
	return public(a) || a.Zone() == "" && slices.ContainsFunc(g.private, func(p netip.Prefix) bool { return p.Contains(a) })
}
