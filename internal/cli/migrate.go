package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"safelight/internal/app"
	"safelight/internal/carry"
	"safelight/internal/config"
	"safelight/internal/postgres"
	"safelight/internal/sqlite"
	"safelight/internal/telemetry"
)

// migrateCommand moves an installation from one database to another.
type migrateCommand struct {
	settings `embed:""`
	From     string `help:"The catalog to read, such as sqlite:///var/lib/safelight/catalog.db (default: that of the data directory)." placeholder:"URL"`
	To       string `help:"The empty database to fill, such as postgres://user:password@host/database (default: database.url)." placeholder:"URL"`
	JSON     bool   `help:"Write the report as JSON." name:"json"`
}

// Help says how it is meant to go.
func (migrateCommand) Help() string {
	return `Everything that the catalog has is carried over as it is: images, keys, tags, renditions, publications, tasks in every state, and the secret from which ids are made. Pictures stay where they are. The source is only read.

The server may go on running meanwhile. If it has written anything, the command says so at the end and exits with 1: stop the server and run the command again. That carries over what has changed since and takes a part of the time. It says so too if a server runs on the data directory still, as that may write more. An interrupted run goes on in the same way. No server starts on a database that is not finished.

  safelight migrate --data /var/lib/safelight --to postgres://safelight:secret@db/safelight
  systemctl stop safelight
  safelight migrate --data /var/lib/safelight --to postgres://safelight:secret@db/safelight
  # set database.url
  systemctl start safelight

SAFELIGHT_DATABASE_URL in the place of --to keeps the password out of lists of processes. The exit status is 0 when everything was carried over and verified; 1 when it was not, or the source was changed meanwhile; 2 when the command line makes no sense; 130 when it was interrupted.`
}

// ends are the two databases that the flags name.
func (c *migrateCommand) ends() (path string, to postgres.Config, cfg config.Config, err error) {
	if cfg, err = c.load(); err != nil {
		return "", to, cfg, err
	}
	path, to = filepath.Join(cfg.Data, "catalog.db"), cfg.Database
	if c.From != "" {
		u, err := url.Parse(c.From)
		if err != nil || u.Scheme != "sqlite" || u.Host != "" || u.Path == "" || u.RawQuery != "" {
			return "", to, cfg, misuse("--from: expected sqlite:///path/to/catalog.db but received %s", plain(cut(c.From, 80)))
		}
		path = u.Path
	}
	if c.To != "" {
		to.URL = postgres.URL(c.To)
	}
	if to.URL == "" {
		return "", to, cfg, misuse("give the database to fill with --to postgres://…, or set database.url")
	}
	return path, to, cfg, to.Validate()
}

// Run carries the catalog over.
func (c *migrateCommand) Run() error {
	path, to, cfg, err := c.ends()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := telemetry.Logger(os.Stderr, telemetry.LogConfig{Level: slog.LevelWarn.String(), Format: cfg.Log.Format})
	line := newMeter(c.JSON)
	report, err := c.carry(ctx, path, to, log, line)
	line.clear()
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "safelight: interrupted; run it again to go on")
		return ended(130)
	case err != nil:
		return err
	}
	return c.tell(report, to, filepath.Dir(path))
}

func (c *migrateCommand) carry(ctx context.Context, path string, cfg postgres.Config, log *slog.Logger, line *meter) (report carry.Report, err error) {
	from, err := sqlite.OpenSnapshot(ctx, path)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := postgres.OpenFilling(ctx, cfg, log)
	if err != nil {
		return report, err
	}
	defer to.Close()
	return carry.Run(ctx, from, to, func(step string, done, total int64) {
		line.show(step, done, total, fmt.Sprintf("%s: %d of %d rows", step, done, total))
	})
}

// tell writes the report. dir is the data directory that the source lies in.
func (c *migrateCommand) tell(r carry.Report, to postgres.Config, dir string) error {
	if c.JSON {
		if err := writeLine(r); err != nil {
			return err
		}
	} else {
		rows := [][]string{{"TABLE", "ROWS", "ADDED", "CHANGED", "REMOVED", "SHA-256 ON BOTH SIDES"}}
		for _, t := range r.Tables {
			rows = append(rows, []string{t.Name, fmt.Sprint(t.Rows), fmt.Sprint(t.Added), fmt.Sprint(t.Changed), fmt.Sprint(t.Removed), t.SHA256[:16]})
		}
		width, _ := terminal(os.Stdout)
		if err := columns(os.Stdout, rows, width); err != nil {
			return err
		}
		sum := r.Sum()
		fmt.Printf("\n%d rows are the same on both sides; %d were added, %d changed and %d removed, in %s.\n", sum.Rows, sum.Added, sum.Changed, sum.Removed, r.Took.Round(time.Millisecond))
	}
	if r.Altered > 0 {
		fmt.Fprintf(os.Stderr, "safelight: %d texts were not UTF-8, or had NUL bytes; U+FFFD stands in their place\n", r.Altered)
	}
	if r.Stale {
		fmt.Fprintf(os.Stderr, "safelight: something was written to the catalog meanwhile, so this is not finished: stop the server and run it again; that will take about %s\n", r.Again.Round(time.Second))
		return ended(1)
	}
	if !stillRunning(dir) && !c.JSON {
		fmt.Printf("Set database.url to %s and start the server; pictures are where they were.\n", to.URL)
	}
	return nil
}

// stillRunning says so where a server has a data directory open: what is uploaded to
// it from now on would be left behind.
func stillRunning(dir string) bool {
	if !app.Running(dir) {
		return false
	}
	fmt.Fprintf(os.Stderr, "safelight: a server is running on %s: stop it and run this once more before you switch\n", dir)
	return true
}
