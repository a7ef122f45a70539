// Package sqlite is the catalog and the queue of tasks in one SQLite file:
// what an installation without a database server uses.
//
// All changes go through one goroutine, which carries out whatever is waiting
// in a single transaction (see writer.go), so that many small commits share
// one fsync. Reads have connections of their own and never wait for it. The
// file is in WAL mode with synchronous=FULL: what was answered survives a
// power loss.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"

	"safelight/internal/catalog"
	"safelight/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where the database lies.
type Config struct {
	// Path is the file; its directory must exist. Beside it SQLite keeps
	// files with the endings -wal and -shm.
	Path string
	// Readers is how many reads run at the same time; 0 is twice the
	// number of processors, at least 4.
	Readers int
	// BusyTimeout is how long to wait for a lock that another process
	// holds, such as a backup; 0 is 10 s.
	BusyTimeout time.Duration
}

// Validate refuses a configuration that can't work.
func (c Config) Validate() error {
	if c.Path == "" {
		return fault.New(fault.Invalid, "the database path is not set")
	}
	if c.Readers < 0 || c.BusyTimeout < 0 {
		return fault.New(fault.Invalid, "the database's number of readers and its busy timeout can't be negative")
	}
	return nil
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	writing *sql.DB // one connection, held by writer
	reading *sql.DB
	writer  *writer
	reads   map[string]*sql.Stmt // by SQL text; never changes after Open
	tasks   *Tasks               // nil until Tasks is called
}

var (
	_ catalog.Catalog = (*DB)(nil)
	_ catalog.Janitor = (*DB)(nil)

	_ catalog.Renditions     = (*DB)(nil)
	_ catalog.Publications   = (*DB)(nil)
	_ catalog.Expiry         = (*DB)(nil)
	_ catalog.Reconciliation = (*DB)(nil)
)

// Open opens the database, making it or bringing its schema up to date where
// that is needed.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Readers == 0 {
		cfg.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if cfg.BusyTimeout == 0 {
		cfg.BusyTimeout = 10 * time.Second
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, classify(err, "opening the database")
	}
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	db := &DB{
		writing: sql.OpenDB(connector(path, cfg, "rwc")),
		reading: sql.OpenDB(connector(path, cfg, "ro")),
		reads:   map[string]*sql.Stmt{},
	}
	db.writing.SetMaxOpenConns(1)
	db.reading.SetMaxOpenConns(cfg.Readers)
	db.reading.SetMaxIdleConns(cfg.Readers)
	if err := db.start(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// makePrivate makes a missing database file that only its owner can read, as it
// holds secrets; SQLite gives its other files the same mode. A file that exists
// must not be opened here: closing it would free SQLite's locks on it.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrExist):
		return nil
	}
	return classify(err, "making the database")
}

func (db *DB) start(ctx context.Context) error {
	if err := migrate(ctx, db.writing); err != nil {
		return err
	}
	for _, text := range append([]string{
		selectImage, selectByKey, selectSecret, listAll, listTag, listPrefix, listPrefixTag,
		selectReleased, selectBlob, selectUse, countImages, selectPing,
		selectTask, selectReady, selectDue, selectLease, selectOutput, selectAnnounced, selectCounts,
	}, publishReads...) {
		stmt, err := db.reading.PrepareContext(ctx, text)
		if err != nil {
			return classify(err, "preparing the database's statements")
		}
		db.reads[text] = stmt
	}
	w, err := newWriter(ctx, db.writing)
	db.writer = w
	return err
}

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return classify(err, "reading the database's migrations")
	}
	if _, err := provider.Up(ctx); err != nil {
		return classify(err, "bringing the database's schema up to date")
	}
	return nil
}

// Close finishes what is queued and closes the file. Later calls fail with
// fault.Unavailable.
func (db *DB) Close() error {
	if db.writer != nil {
		db.writer.close()
	}
	err := db.reading.Close() // before the writer's, which then tidies up the file
	return errors.Join(err, db.writing.Close())
}

type connection struct {
	driver sqlite3.SQLiteDriver
	dsn    string
}

// connector opens connections to path in a mode of SQLite's URI ("rwc", "ro").
func connector(path string, cfg Config, mode string) driver.Connector {
	query := url.Values{
		"mode":          {mode},
		"_foreign_keys": {"on"},
		"_busy_timeout": {fmt.Sprint(cfg.BusyTimeout.Milliseconds())},
		"_cache_size":   {"-16000"}, // KiB
	}
	// A checkpoint every 16 MiB instead of 4 halves its share in a busy
	// writer's time; journal_size_limit gives the room back after a burst.
	setup := `PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864`
	if mode == "ro" {
		query.Set("_query_only", "on")
		setup = `PRAGMA temp_store = MEMORY`
	} else {
		query.Set("_journal_mode", "WAL")
		query.Set("_synchronous", "FULL")
	}
	return &connection{
		driver: sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
			_, err := c.Exec(setup, nil)
			return err
		}},
		dsn: (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String(),
	}
}

// Connect implements driver.Connector.
func (c *connection) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

// Driver implements driver.Connector.
func (c *connection) Driver() driver.Driver { return &c.driver }

// Ping implements catalog.Catalog.
func (db *DB) Ping(ctx context.Context) error {
	if db.writer.closed() {
		return errClosed
	}
	var n int
	return classify(db.reads[selectPing].QueryRowContext(ctx).Scan(&n), "asking the database")
}
