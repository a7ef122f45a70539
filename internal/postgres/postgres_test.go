package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"safelight/internal/asset"
	"safelight/internal/catalog"
	"safelight/internal/catalog/catalogtest"
	"safelight/internal/postgres"
	"safelight/internal/postgres/pgtest"
	"safelight/internal/task"
	"safelight/internal/task/tasktest"
)

// server is one for all tests of this package; nil where PostgreSQL is not
// installed. template is a database with the schema.
var (
	server   *pgtest.Server
	template string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	settings := []string{"fsync=off", "full_page_writes=off"}
	if os.Getenv("SAFELIGHT_PG_FSYNC") != "" { // for honest numbers of benchmarks
		settings = nil
	}
	server, err = pgtest.Start(settings...)
	if errors.Is(err, pgtest.ErrMissing) {
		fmt.Fprintln(os.Stderr, "tests that need a server are skipped:", err)
		return m.Run(), nil
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	address, err := server.Database("")
	if err != nil {
		return 1, err
	}
	db, err := postgres.Open(context.Background(), config(address), slog.New(slog.DiscardHandler))
	if err != nil {
		return 1, err
	}
	if err := db.Close(); err != nil {
		return 1, err
	}
	template = databaseOf(address)
	if code = m.Run(); code == 0 {
		err = goleak.Find()
	}
	return code, err
}

// config is that of most tests. Nothing is looked for without a notification,
// so that every signal has a reason.
func config(address string) postgres.Config {
	cfg := postgres.DefaultConfig()
	cfg.URL, cfg.PollInterval = postgres.URL(address), time.Hour
	return cfg
}

func databaseOf(address string) string {
	name, _, _ := strings.Cut(path.Base(address), "?")
	return name
}

// fresh makes a database with an empty schema, which goes with the test.
func fresh(t testing.TB) string {
	t.Helper()
	if server == nil {
		t.Skip(pgtest.ErrMissing)
	}
	address, err := server.Database(template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Drop(databaseOf(address)); err != nil {
			t.Error(err)
		}
	})
	return address
}

func open(t testing.TB, cfg postgres.Config) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// queue is a queue with its database.
type queue struct {
	*postgres.Tasks
	db  *postgres.DB
	cfg postgres.Config
}

func openQueue(t testing.TB, cfg postgres.Config, tasks task.Config) *queue {
	t.Helper()
	db := open(t, cfg)
	q, err := db.Tasks(context.Background(), tasks)
	if err != nil {
		t.Fatal(err)
	}
	return &queue{q, db, cfg}
}

// Reopen implements tasktest.Reopener.
func (q *queue) Reopen(t *testing.T, cfg task.Config) tasktest.Queue {
	t.Helper()
	if err := q.db.Close(); err != nil {
		t.Fatal(err)
	}
	return openQueue(t, q.cfg, cfg)
}

// withTasks is a catalog that shows its tasks.
type withTasks struct {
	*postgres.DB
	tasks *postgres.Tasks
}

// Queue implements catalogtest.Queued.
func (c withTasks) Queue() task.Queue { return c.tasks }

func tasksConfig() task.Config {
	return task.Config{
		Mint: asset.NewMint([]byte("a secret for tests")), Signals: task.NewSignals(), Policies: task.Policies{Default: task.DefaultPolicy()},
	}
}

func TestConformance(t *testing.T) {
	catalogtest.Run(t, func(t *testing.T) catalog.Catalog {
		q := openQueue(t, config(fresh(t)), tasksConfig())
		return withTasks{q.db, q.Tasks}
	})
}

func TestTasksConformance(t *testing.T) {
	tasktest.Run(t, func(t *testing.T, cfg task.Config) tasktest.Queue { return openQueue(t, config(fresh(t)), cfg) })
}
