package postgres

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"safelight/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the key of the advisory lock under which the schema is
// changed.
const migrationLock int64 = 0x5afe_1197_0001

// migrate brings the schema up to date. Nodes that start at the same time wait
// for each other. Then it calls then, under the same lock.
func migrate(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger, then func(context.Context, *pgx.Conn) error) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return classify(err, "connecting to the database")
	}
	defer func() { // which gives the lock back
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if err := checkServer(ctx, conn, log); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return classify(err, "waiting for other nodes that change the schema")
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return classify(err, "reading the database's migrations")
	}
	stored, known, err := provider.GetVersions(ctx)
	if err != nil {
		return classify(err, "reading the version of the database's schema")
	}
	if stored > known {
		return fault.New(fault.Unavailable, "the database has the schema %d of a newer version of Safelight; this one knows %d at most and must be updated", stored, known)
	}
	if _, err := provider.Up(ctx); err != nil {
		return classify(err, "bringing the database's schema up to date")
	}
	return then(ctx, conn)
}

// checkServer refuses a database that text can't be stored in, and warns of
// settings with which what was answered is lost in a power failure.
func checkServer(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	var encoding, fsync, commits string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit')`).Scan(&encoding, &fsync, &commits)
	if err != nil {
		return classify(err, "reading the database's settings")
	}
	if encoding != "UTF8" {
		return fault.New(fault.Unavailable, "the database has the encoding %s; it must be made with ENCODING 'UTF8'", encoding)
	}
	if fsync == "off" || commits == "off" {
		log.Warn("the database server does not wait for its disk: what was answered can be lost in a power failure", "fsync", fsync, "synchronous_commit", commits)
	}
	return nil
}
