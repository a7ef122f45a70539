package origin

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"safelight/internal/fault"
)

const (
	dialTime    = 5 * time.Second // for one address
	maxAttempts = 4               // addresses of a name that are tried
)

// resolver looks host names up; net.Resolver is one.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// dialer connects to hosts that the guard admits. A name is resolved once for
// a connection, and what is connected to is one of the addresses that were
// checked, so that no second answer of a name server can come between.
type dialer struct {
	guard *guard
	names resolver
	net   net.Dialer
	watch func(address string) // told each address before it is connected to; nil in production
}

func newDialer(g *guard) *dialer {
	d := &dialer{guard: g, names: &net.Resolver{PreferGo: true}} // the C library reads 0x7f.1 as an address
	d.net = net.Dialer{Timeout: dialTime, Control: d.control}
	return d
}

// refused says no more than that: what a name resolves to, and whether it does,
// is nobody's business who can only name URLs.
func refused() error {
	return &fault.Error{Kind: fault.Denied, Code: "address-refused", Message: "the URL leads to no address that may be fetched from"}
}

// dial is for http.Transport.
func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range addrs[:min(len(addrs), maxAttempts)] {
		conn, err := d.net.DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(port)).String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// resolve gives the addresses of a host if the guard admits all of them.
func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = d.names.LookupNetIP(ctx, "ip", host); err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return nil, refused()
		}
		return nil, err
	}
	for i := range addrs {
		if addrs[i] = addrs[i].Unmap(); !d.guard.admits(addrs[i]) {
			return nil, refused()
		}
	}
	if len(addrs) == 0 {
		return nil, refused()
	}
	return addrs, nil
}

// control sees the address that the system is about to be asked to connect to.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	if d.watch != nil {
		d.watch(address)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil || !d.guard.admits(to.Addr()) {
		return refused()
	}
	return nil
}
