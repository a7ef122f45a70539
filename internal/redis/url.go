package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// URL is the address of Redis. It prints without its passwords.
//
//	redis://user:password@host:6379/0                     one server
//	redis+sentinel://user:password@s1:26379,s2/mymaster/0 whichever the sentinels name
//	redis+cluster://user:password@h1:6379,h2              a cluster, found through any of these
//
// With rediss in redis' place connections are encrypted. User and password are
// those of Redis itself; sentinels have their own in the query, as
// sentinel_username and sentinel_password. skip_verify=true takes any
// certificate.
type URL string

// address is a URL in its parts.
type address struct {
	scheme                 string
	tls, sentinel, cluster bool

	user     *url.Userinfo
	hosts    []string // with ports
	master   string   // with sentinels
	database int
	path     string // master and database, as written
	query    url.Values
}

const expected = "expected redis://user:password@host:6379/0, redis+sentinel://user:password@host1,host2/master or redis+cluster://user:password@host1,host2 (rediss for TLS), with special characters of the password as %XX"

// parse takes a URL apart. Errors never quote it.
func (u URL) parse() (address, error) {
	wrong := errors.New("redis.url: this can't be understood; " + expected)
	scheme, rest, ok := strings.Cut(string(u), "://")
	if !ok {
		return address{}, wrong
	}
	a := address{scheme: scheme}
	kind := strings.TrimPrefix(scheme, "redis")
	if trimmed, found := strings.CutPrefix(kind, "s"); found {
		a.tls, kind = true, trimmed
	}
	if !strings.HasPrefix(scheme, "redis") || kind != "" && kind != "+sentinel" && kind != "+cluster" {
		return address{}, wrong
	}
	a.sentinel, a.cluster = kind == "+sentinel", kind == "+cluster"
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	credentials, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		credentials, hosts = authority[:i+1], authority[i+1:]
	}
	// A list of hosts is none of a URL's parts, so that one stands in its place.
	parsed, err := url.Parse("redis://" + credentials + "host" + tail)
	if err != nil || parsed.Fragment != "" {
		return address{}, wrong
	}
	a.user, a.query = parsed.User, parsed.Query()
	if a.hosts, err = splitHosts(hosts, a.sentinel); err != nil {
		return address{}, err
	}
	if len(a.hosts) > 1 && kind == "" {
		return address{}, errors.New("redis.url: several hosts need redis+cluster:// or redis+sentinel://")
	}
	if err := a.readPath(strings.Trim(parsed.Path, "/")); err != nil {
		return address{}, err
	}
	return a, a.checkQuery()
}

// splitHosts reads hosts with or without ports, with commas between them.
func splitHosts(text string, sentinel bool) ([]string, error) {
	port := "6379"
	if sentinel {
		port = "26379"
	}
	var hosts []string
	for host := range strings.SplitSeq(text, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, err := net.SplitHostPort(host)
		if n, wrong := strconv.ParseUint(number, 10, 16); err != nil || wrong != nil || n == 0 || name == "" || strings.ContainsAny(name, " /\\") {
			return nil, errors.New("redis.url: one of the hosts can't be understood; " + expected)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// readPath reads the number of a database, behind the name of a master with
// sentinels.
func (a *address) readPath(path string) error {
	number := path
	a.path = path
	if a.sentinel {
		a.master, number, _ = strings.Cut(path, "/")
		if a.master == "" {
			return errors.New("redis.url: the path must name the master that the sentinels watch, such as /mymaster")
		}
	}
	if number == "" {
		return nil
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return errors.New("redis.url: the path must be the number of a database, such as /0")
	}
	if a.cluster && n != 0 {
		return errors.New("redis.url: a cluster has the database 0 only")
	}
	a.database = int(n)
	return nil
}

func (a *address) checkQuery() error {
	for name := range a.query {
		if !slices.Contains([]string{"skip_verify", "sentinel_username", "sentinel_password"}, name) {
			return fmt.Errorf("redis.url: there is no parameter %q; there are skip_verify, sentinel_username and sentinel_password", name)
		}
	}
	if v := a.query.Get("skip_verify"); v != "" && v != "true" && v != "false" {
		return errors.New("redis.url: skip_verify must be true or false")
	}
	return nil
}

// options are the library's.
func (a *address) options() rueidis.ClientOption {
	o := rueidis.ClientOption{InitAddress: a.hosts, SelectDB: a.database}
	if a.user != nil {
		o.Username = a.user.Username()
		o.Password, _ = a.user.Password()
	}
	if a.tls {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: a.query.Get("skip_verify") == "true"}
	}
	if a.sentinel {
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: a.master, TLSConfig: o.TLSConfig, TopologyRefreshInterval: topologyEvery,
			Username: a.query.Get("sentinel_username"), Password: a.query.Get("sentinel_password"),
		}
	}
	if a.cluster {
		o.ClusterOption = rueidis.ClusterOption{ShardsRefreshInterval: topologyEvery, MaxMovedRedirections: 5}
	}
	return o
}

// String is the address without its passwords.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	a, err := u.parse()
	if err != nil {
		return "***"
	}
	text := a.scheme + "://"
	if a.user != nil {
		text += url.User(a.user.Username()).String()
		if _, has := a.user.Password(); has {
			text += ":xxxxx"
		}
		text += "@"
	}
	text += strings.Join(a.hosts, ",")
	if a.path != "" {
		text += "/" + a.path
	}
	if a.query.Has("sentinel_password") {
		a.query.Set("sentinel_password", "xxxxx")
	}
	if len(a.query) > 0 {
		text += "?" + a.query.Encode()
	}
	return text
}

// GoString is String.
func (u URL) GoString() string { return u.String() }

// MarshalText writes String.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue is String.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
