package origin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"safelight/internal/remote"
)

// home is the address of the tests' own origins, and the only one that their
// fetchers may connect to. It is not 127.0.0.1, so that this can be refused.
const home = "127.99.0.1"

// phone answers for names what the test says, the n-th lookup of a name with
// its n-th answer and later ones with the last.
type phone struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
	asked   map[string]int
}

func (p *phone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := p.answers[host]
	if answers == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	n := p.asked[host]
	p.asked[host]++
	return answers[min(n, len(answers)-1)], nil
}

// count is Metrics for tests.
type count struct {
	mu       sync.Mutex
	outcomes map[string]int
	bytes    int64
}

func (c *count) Fetch(outcome string, bytes int64, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes[outcome]++
	c.bytes += bytes
}

// bed is a fetcher, an origin for it, and what it dialled.
type bed struct {
	*Fetcher
	t     testing.TB
	names *phone
	count *count
	url   string // of the origin, by its address
	port  string

	mu      sync.Mutex
	dialled []string
}

// newBed starts an origin at home with a handler. change may alter the settings.
func newBed(t testing.TB, handler http.HandlerFunc, change func(*Config)) *bed {
	t.Helper()
	ln, err := net.Listen("tcp", home+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	c := DefaultConfig()
	c.Hosts, c.Ports, c.AllowPrivate = []string{"*"}, []int{port}, []string{home + "/32"}
	if change != nil {
		change(&c)
	}
	b := &bed{t: t, url: server.URL, port: u.Port(), count: &count{outcomes: map[string]int{}},
		names: &phone{answers: map[string][][]netip.Addr{}, asked: map[string]int{}}}
	if b.Fetcher, err = New(c, 1<<20, "test", b.count); err != nil {
		t.Fatal(err)
	}
	b.dialer.names = b.names
	b.dialer.watch = func(address string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.dialled = append(b.dialled, address)
	}
	return b
}

// resolve sets what a name resolves to, lookup by lookup.
func (b *bed) resolve(name string, answers ...[]string) {
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	var all [][]netip.Addr
	for _, texts := range answers {
		var addrs []netip.Addr
		for _, text := range texts {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		all = append(all, addrs)
	}
	b.names.answers[name], b.names.asked[name] = all, 0
}

// get fetches and reads to the end.
func (b *bed) get(u string) ([]byte, error) {
	b.t.Helper()
	return b.getContext(b.t.Context(), u)
}

func (b *bed) getContext(ctx context.Context, u string) ([]byte, error) {
	fetched, err := b.Fetch(ctx, u, remote.Validators{})
	if err != nil {
		return nil, err
	}
	defer fetched.Body.Close()
	return io.ReadAll(fetched.Body)
}

// strangers fails the test for every address that was dialled beside home, and
// gives how many dials there were to it.
func (b *bed) strangers() int {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, address := range b.dialled {
		if address != net.JoinHostPort(home, b.port) {
			b.t.Errorf("%s was dialled", address)
			continue
		}
		n++
	}
	b.dialled = nil
	return n
}
