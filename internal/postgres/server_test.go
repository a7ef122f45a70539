package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/fault"
	"safelight/internal/format"
	"safelight/internal/postgres"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/task"
)

func add(db *postgres.DB, source uint64, key string) error {
	_, err := db.Commit(context.Background(), catalog.Change{Images: []catalog.NewImage{catalogtest.NewImage("main", source, key)}})
	return err
}

// TestServerRestarts stops the server under an open database, in an orderly way
// and at once: calls fail meanwhile as unavailable, and work again afterwards;
// and notifications come again.
func TestServerRestarts(t *testing.T) {
	own, err := pgtest.Start("fsync=off")
	if errors.Is(err, pgtest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	address, err := own.Database("")
	if err != nil {
		t.Fatal(err)
	}
	here, there := tasksConfig(), tasksConfig()
	cfg := config(address)
	cfg.AcquireTimeout = 2 * time.Second
	a := openQueue(t, cfg, here)
	openQueue(t, cfg, there)
	for i, stop := range []func() error{own.Stop, own.Kill} {
		if err := add(a.db, uint64(i), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		_, read := a.db.Resolve(t.Context(), "main", "0")
		_, claimed := a.Claim(t.Context(), task.Claim{Functions: []string{"f"}, Max: 1, Lease: time.Minute})
		for what, err := range map[string]error{"a read": read, "a change": add(a.db, 9, "late"), "a claim": claimed, "Ping": a.db.Ping(t.Context())} {
			if fault.Of(err) != fault.Unavailable || strings.Contains(err.Error(), pgtest.Password) {
				t.Errorf("%s without a server gave %v (%v)", what, err, fault.Of(err))
			}
		}
		if err := own.Resume(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.db.Resolve(t.Context(), "main", fmt.Sprint(i)); err != nil {
			t.Fatalf("with the server back: %v", err)
		}
		hears(t, a, there.Signals)
	}
}

// TestAcknowledgedSurvivesACrash: what was answered is there after the server
// was killed under load; with every image its task.
func TestAcknowledgedSurvivesACrash(t *testing.T) {
	own, err := pgtest.Start()
	if errors.Is(err, pgtest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	address, err := own.Database("")
	if err != nil {
		t.Fatal(err)
	}
	q := openQueue(t, config(address), tasksConfig())
	const writers, enough = 8, 200
	var acknowledged sync.Map
	var count atomic.Int64
	ready := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; ; i++ {
				n := catalogtest.NewImage("main", uint64(w*100_000+i), fmt.Sprintf("%d/%d", w, i))
				n.Tasks = []task.New{{Function: "x"}}
				results, err := q.db.Commit(context.Background(), catalog.Change{Images: []catalog.NewImage{n}})
				if err != nil {
					if fault.Of(err) != fault.Unavailable {
						t.Errorf("a change that the server did not survive gave %v", err)
					}
					return
				}
				acknowledged.Store(results[0].Image.Key, results[0].Tasks[0].ID)
				if count.Add(1) == enough {
					close(ready)
				}
			}
		})
	}
	<-ready
	if err := own.Kill(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := own.Resume(); err != nil {
		t.Fatal(err)
	}
	acknowledged.Range(func(key, id any) bool {
		if _, err := q.db.Resolve(t.Context(), "main", key.(string)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := q.Task(t.Context(), "main", id.(asset.ID)); err != nil {
			t.Errorf("the task of %s: %v", key, err)
		}
		return true
	})
}

// TestReadOnlyServer: a server that takes no changes any more, as after a
// failover, is unavailable to them, and its connections are given up.
func TestReadOnlyServer(t *testing.T) {
	cfg := config(fresh(t))
	cfg.MinConns = 0
	db := open(t, cfg)
	if err := add(db, 1, "a"); err != nil {
		t.Fatal(err)
	}
	var before, after int
	if err := db.Pool().QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&before); err != nil {
		t.Fatal(err)
	}
	name := databaseOf(string(cfg.URL))
	if _, err := db.Pool().Exec(t.Context(), `SET default_transaction_read_only = on`); err != nil { // of this connection only
		t.Fatal(err)
	}
	if err := add(db, 2, "b"); err != nil {
		t.Fatalf("with another connection: %v", err)
	}
	if err := db.Pool().QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&after); err != nil || before == after {
		t.Errorf("the connection to a server that takes no changes was kept, %v", err)
	}
	if err := server.Exec("postgres", `ALTER DATABASE `+name+` SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	db.Pool().Reset()
	if err := add(db, 3, "c"); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a server that takes no changes gave %v", err)
	}
	if _, err := db.Resolve(t.Context(), "main", "a"); err != nil {
		t.Errorf("a read gave %v", err)
	}
	if err := server.Exec("postgres", `ALTER DATABASE `+name+` RESET default_transaction_read_only`); err != nil {
		t.Fatal(err)
	}
	db.Pool().Reset()
	if err := add(db, 3, "c"); err != nil {
		t.Errorf("when it takes changes again: %v", err)
	}
}

// TestFailover: when the server is lost and its standby takes over, calls work
// again by themselves, and what the standby had is there.
func TestFailover(t *testing.T) {
	primary, err := pgtest.Start("fsync=off")
	if errors.Is(err, pgtest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer primary.Close()
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	defer standby.Close()
	if err := primary.Exec("postgres", `ALTER SYSTEM SET synchronous_standby_names = '*'`, `ALTER SYSTEM SET synchronous_commit = remote_apply`, `SELECT pg_reload_conf()`); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); primary.Exec("postgres", `SELECT 1 / count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`) != nil; {
		if time.Now().After(end) {
			t.Fatal("the standby does not follow")
		}
	}
	address, err := primary.Database("")
	if err != nil {
		t.Fatal(err)
	}
	here, there := tasksConfig(), tasksConfig()
	cfg := config(strings.Replace(address, "@", fmt.Sprintf("@127.0.0.1:%d,", standby.Port), 1)) // the standby first
	a := openQueue(t, cfg, here)
	openQueue(t, cfg, there)
	if err := add(a.db, 1, "before"); err != nil {
		t.Fatal(err)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := add(a.db, 2, "meanwhile"); fault.Of(err) != fault.Unavailable {
		t.Errorf("without a primary a change gave %v", err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	if err := add(a.db, 3, "after"); err != nil {
		t.Errorf("after the failover: %v", err)
	}
	if _, err := a.db.Resolve(t.Context(), "main", "before"); err != nil {
		t.Errorf("what was acknowledged before: %v", err)
	}
	hears(t, a, there.Signals)
}

// hears waits until a node's tasks wake who waits on another.
func hears(t *testing.T, a *queue, signals *task.Signals) {
	t.Helper()
	w := signals.Wait([]string{"f"})
	defer signals.Leave(w)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := a.Submit(t.Context(), []task.New{{Owner: "main", Function: "f"}}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.C:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("no notification came after the server was back")
}

// TestNoConnectionLeft: a call that gets no connection in time says which
// settings bound it.
func TestNoConnectionLeft(t *testing.T) {
	cfg := config(fresh(t))
	cfg.MaxConns, cfg.MinConns, cfg.AcquireTimeout = 1, 0, 300*time.Millisecond
	var log bytes.Buffer
	db, err := postgres.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Resolve(t.Context(), "main", "a")
	if fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "database.acquire_timeout") || !strings.Contains(err.Error(), "database.max_conns is 1") {
		t.Errorf("a call without a connection gave %v", err)
	}
	s := db.Stats()
	if s.Acquired != 1 || s.Max != 1 || s.Timeouts != 1 || s.Acquires < 1 {
		t.Errorf("the pool is %+v", s)
	}
	held.Release()
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "wait for a connection") || strings.Contains(text, pgtest.Password) {
		t.Errorf("the log is %s", text)
	}
}

// TestSecretsStaySecret: neither errors nor the printed address have the
// password.
func TestSecretsStaySecret(t *testing.T) {
	for _, address := range []string{
		"postgres://u:hidden@127.0.0.1:1/db", "postgres://u:hid%den@127.0.0.1:1/db", "postgres://u:hidden@[::1/db", "postgres://127.0.0.1:1/db?password=hidden&user=u",
		"postgres://u:hidden@127.0.0.1:1/db?sslmode=what", "postgres://u:hidden@127.0.0.1:x/db",
	} {
		cfg := postgres.DefaultConfig()
		cfg.URL = postgres.URL(address)
		_, err := postgres.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if text := fmt.Sprintf("%v %+v %#v %v", err, cfg, cfg, cfg.Validate()); err == nil || strings.Contains(text, "hidden") || strings.Contains(text, "hid%den") {
			t.Errorf("%s gave %s", address, text)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, change := range map[string]func(*postgres.Config){
		"database.url":                 func(c *postgres.Config) { c.URL = "mysql://x" },
		"database.max_conns":           func(c *postgres.Config) { c.MaxConns = 0 },
		"database.min_conns":           func(c *postgres.Config) { c.MinConns = 21 },
		"database.max_conn_lifetime":   func(c *postgres.Config) { c.MaxConnLifetime = 0 },
		"database.max_conn_idle_time":  func(c *postgres.Config) { c.MaxConnIdleTime = 0 },
		"database.health_check_period": func(c *postgres.Config) { c.HealthCheckPeriod = 0 },
		"database.acquire_timeout":     func(c *postgres.Config) { c.AcquireTimeout = 0 },
		"database.poll_interval":       func(c *postgres.Config) { c.PollInterval = 0 },
	} {
		c := postgres.DefaultConfig()
		c.URL = "postgres://u:p@h1,h2:5433/db"
		if err := c.Validate(); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (postgres.Config{}).Validate(); err != nil {
		t.Errorf("no database: %v", err)
	}
}

// TestSeveralHosts: of several servers that one is used which takes changes,
// unless the address says otherwise.
func TestSeveralHosts(t *testing.T) {
	for address, expected := range map[string]bool{
		"postgres://u:p@h1,h2/db": true, "postgres://u:p@h1:1,h1:2/db?sslmode=disable": true, "postgres://u:p@h1/db?target_session_attrs=read-write": true,
		"postgres://u:p@h1/db": false, "postgres://u:p@h1,h2/db?target_session_attrs=any": false,
	} {
		cfg := postgres.DefaultConfig()
		cfg.URL = postgres.URL(address)
		if got, err := cfg.OnlyPrimaries(); got != expected || err != nil {
			t.Errorf("%s: %v, %v; expected %v", address, got, err, expected)
		}
	}
	if server == nil {
		t.Skip(pgtest.ErrMissing)
	}
	cfg := config(fresh(t)) // the first host does not answer
	cfg.URL = postgres.URL(strings.Replace(string(cfg.URL), "@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:", 1))
	if err := add(open(t, cfg), 1, "a"); err != nil {
		t.Error(err)
	}
}

// TestTextThatNoRowCanHave: looking for it finds nothing, and storing it is
// refused.
func TestTextThatNoRowCanHave(t *testing.T) {
	q := openQueue(t, config(fresh(t)), tasksConfig())
	for _, bad := range []string{"a\x00b", "a\xffb"} {
		if _, err := q.db.Resolve(t.Context(), "main", bad); fault.Of(err) != fault.NotFound {
			t.Errorf("Resolve(%q) gave %v", bad, err)
		}
		for _, query := range []catalog.Query{{Prefix: bad}, {Tag: bad}} {
			query.Owner, query.Limit = "main", 10
			if page, err := q.db.List(t.Context(), query); err != nil || len(page.Images) != 0 {
				t.Errorf("List(%+v) gave %+v, %v", query, page, err)
			}
		}
		if page, err := q.Tasks.List(t.Context(), task.Query{Filter: task.Filter{Name: bad}, Limit: 10}); err != nil || len(page.Tasks) != 0 {
			t.Errorf("List of tasks gave %+v, %v", page, err)
		}
		if names, err := q.db.UnknownNames(t.Context(), "d", []string{"x", bad}); err != nil || len(names) != 2 {
			t.Errorf("UnknownNames gave %q, %v", names, err)
		}
		n := catalogtest.NewImage("main", 1, "k")
		n.Replay.Token = bad // a header's value
		if _, err := q.db.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}}); bad[1] != 0 && err != nil {
			t.Errorf("the token %q gave %v", bad, err)
		}
		n = catalogtest.NewImage("main", 1, bad)
		if _, err := q.db.Commit(t.Context(), catalog.Change{Images: []catalog.NewImage{n}}); fault.Of(err) != fault.Invalid {
			t.Errorf("the key %q gave %v", bad, err)
		}
		if err := q.db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := q.db.Commit(t.Context(), catalog.Change{Deletes: []catalog.Delete{{Owner: "main", ID: mustResolve(t, q.db, "k")}}}); err != nil {
			t.Error(err)
		}
	}
}

func mustResolve(t *testing.T, db *postgres.DB, key string) asset.ID {
	t.Helper()
	img, err := db.Resolve(t.Context(), "main", key)
	if err != nil {
		t.Fatal(err)
	}
	return img.ID
}

func TestClosed(t *testing.T) {
	db := open(t, config(fresh(t)))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, read := db.Resolve(t.Context(), "main", "0")
	for what, err := range map[string]error{"a change": add(db, 1, "late"), "a read": read, "Ping": db.Ping(t.Context())} {
		if fault.Of(err) != fault.Unavailable {
			t.Errorf("%s after Close gave %v", what, err)
		}
	}
}

// TestHeaderIsStoredWhole fails when format.Header gets a field that the
// database does not know.
func TestHeaderIsStoredWhole(t *testing.T) {
	h := format.Header{Format: format.JPEG, Width: 1, Height: 2, Pages: 3, Orientation: 4, Alpha: true, Animated: true, Color: format.CMYK,
		Bands: 5, BitDepth: 6, ICC: true, Location: true, Scans: 7, MaxPixels: 8}
	if got, err := postgres.RoundTrip(h); err != nil || got != h {
		t.Fatalf("stored %+v, read %+v, %v", h, got, err)
	}
}

func TestPrefixRange(t *testing.T) {
	for _, c := range []struct {
		prefix, first, end string
		ok                 bool
	}{
		{"a", "a", "b", true}, {"a/é", "a/é", "a/ê", true}, {"a\U0010ffff", "a\U0010ffff", "b", true}, {"\ud7ff", "\ud7ff", "\ue000", true},
		{"a\xc3", "a\u00c0", "a\u0100", true}, {"\xe2\x82", "\u2080", "\u20c0", true}, {"\xe0", "\u0800", "\u1000", true},
		{"\xed", "\ud000", "\ue000", true}, {"\xf0", "\U00010000", "\U00040000", true}, {"\xf4", "\U00100000", "", true},
		{"\xff", "", "", false}, {"a\x00", "", "", false}, {"\xc3a", "", "", false},
	} {
		if first, end, ok := postgres.PrefixRange(c.prefix); first != c.first || end != c.end || ok != c.ok {
			t.Errorf("%q gave %q, %q, %v; expected %q, %q, %v", c.prefix, first, end, ok, c.first, c.end, c.ok)
		}
	}
}
