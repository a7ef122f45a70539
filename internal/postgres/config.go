package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"safelight/internal/fault"
)

// Config says where the database is and how many connections it may have. The
// names of its settings begin with "database.".
type Config struct {
	// URL is postgres://user:password@host:5432/database. Several hosts are
	// written with commas; the first that takes changes is used.
	URL URL `koanf:"url"`
	// MaxConns is how many connections this node has at most, beside one that
	// listens. The server's max_connections must allow them for every node.
	MaxConns int `koanf:"max_conns"`
	// MinConns is how many are kept open when nothing happens.
	MinConns int `koanf:"min_conns"`
	// MaxConnLifetime is how old a connection may become, so that load spreads
	// again after a failover.
	MaxConnLifetime time.Duration `koanf:"max_conn_lifetime"`
	// MaxConnIdleTime is how long one beyond MinConns is kept without use.
	MaxConnIdleTime time.Duration `koanf:"max_conn_idle_time"`
	// HealthCheckPeriod is how often these limits are looked after.
	HealthCheckPeriod time.Duration `koanf:"health_check_period"`
	// AcquireTimeout is how long a call waits for a connection.
	AcquireTimeout time.Duration `koanf:"acquire_timeout"`
	// AwayAfter is how long the server may be silent until calls fail at once and
	// go on to do so until it answers again. It is not silent while it answers a
	// small question beside a call that takes long.
	AwayAfter time.Duration `koanf:"away_after"`
	// PollInterval is how often a node looks for tasks of others about which
	// no notification came.
	PollInterval time.Duration `koanf:"poll_interval"`
}

// DefaultConfig is what is in force where nothing is configured: no URL.
func DefaultConfig() Config {
	return Config{
		MaxConns: 20, MinConns: 2, MaxConnLifetime: time.Hour, MaxConnIdleTime: 10 * time.Minute,
		HealthCheckPeriod: 30 * time.Second, AcquireTimeout: 5 * time.Second, AwayAfter: 1800 * time.Millisecond, PollInterval: time.Second,
	}
}

// maxConns bounds MaxConns: beyond it a server serves fewer, not more.
const maxConns = 10_000

// Validate tells everything that is wrong, by the names of the settings. No URL
// is no error: then there is no PostgreSQL.
func (c Config) Validate() error {
	if c.URL == "" {
		return nil
	}
	var errs []error
	if _, err := c.pool(); err != nil {
		errs = append(errs, err)
	}
	if c.MaxConns < 1 || c.MaxConns > maxConns {
		errs = append(errs, fmt.Errorf("database.max_conns: %d is not from 1 to %d", c.MaxConns, maxConns))
	}
	if c.MinConns < 0 || c.MinConns > c.MaxConns {
		errs = append(errs, fmt.Errorf("database.min_conns: %d is not from 0 to database.max_conns", c.MinConns))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"max_conn_lifetime", c.MaxConnLifetime, time.Second}, {"max_conn_idle_time", c.MaxConnIdleTime, time.Second},
		{"health_check_period", c.HealthCheckPeriod, 100 * time.Millisecond}, {"acquire_timeout", c.AcquireTimeout, time.Millisecond},
		{"away_after", c.AwayAfter, 100 * time.Millisecond}, {"poll_interval", c.PollInterval, 10 * time.Millisecond},
	} {
		if d.value < d.least {
			errs = append(errs, fmt.Errorf("database.%s: %s is less than %s", d.name, d.value, d.least))
		}
	}
	return errors.Join(errs...)
}

// connectTimeout bounds how long one host may take to answer, unless the URL
// has a connect_timeout.
const connectTimeout = 3 * time.Second

// pool is the configuration for the pool.
func (c Config) pool() (*pgxpool.Config, error) {
	text := string(c.URL)
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return nil, fault.New(fault.Invalid, "database.url: expected postgres://user:password@host:5432/database")
	}
	p, err := pgxpool.ParseConfig(text)
	if err != nil { // its text could quote the password
		return nil, fault.New(fault.Invalid, "database.url: this can't be understood; expected postgres://user:password@host:5432/database, with special characters of the password as %%XX")
	}
	if several(p.ConnConfig) && !strings.Contains(text, "target_session_attrs") {
		separator := "?"
		if strings.Contains(text, "?") {
			separator = "&"
		}
		if p, err = pgxpool.ParseConfig(text + separator + "target_session_attrs=read-write"); err != nil {
			return nil, fault.New(fault.Invalid, "database.url: target_session_attrs can't be added")
		}
	}
	p.MaxConns, p.MinConns = int32(min(c.MaxConns, maxConns)), int32(min(c.MinConns, maxConns))
	p.MaxConnLifetime, p.MaxConnLifetimeJitter = c.MaxConnLifetime, c.MaxConnLifetime/10
	p.MaxConnIdleTime, p.HealthCheckPeriod = c.MaxConnIdleTime, c.HealthCheckPeriod
	if p.ConnConfig.ConnectTimeout == 0 || !strings.Contains(text, "connect_timeout") {
		p.ConnConfig.ConnectTimeout = connectTimeout
	}
	if p.ConnConfig.RuntimeParams["application_name"] == "" {
		p.ConnConfig.RuntimeParams["application_name"] = "safelight"
	}
	p.AfterConnect = prepare
	return p, nil
}

// several tells addresses of more than one host. Without them a fallback is the
// same host without TLS.
func several(c *pgx.ConnConfig) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// prepare has every statement find its rows by an index, as all are made for: a
// plan that was made while tables were empty would read them whole until
// statistics say otherwise. Compiling plans takes longer than they run. And a
// node that stands still gives its locks up to the others.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off;
		SET idle_in_transaction_session_timeout = '30s'`)
	return err
}

// URL is the address of a database. It prints without its password.
type URL string

// String is the address without the password.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Opaque != "" {
		return "***"
	}
	query := parsed.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if query.Has(name) {
			query.Set(name, "xxxxx")
			parsed.RawQuery = query.Encode()
		}
	}
	return parsed.Redacted()
}

// GoString is String.
func (u URL) GoString() string { return u.String() }

// MarshalText writes String.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue is String.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
